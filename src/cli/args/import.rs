//! Options of `treevisor import`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Makes a tree's file of another supervisor's
///
/// Reads a supervisord.conf, a Procfile, or units of systemd, and prints a TOML file that means the same. What could not
/// be carried over is named on stderr with its line, and in comments where it would stand.
#[derive(Debug, Args)]
#[command(after_long_help = "\
By the name of the first FILE: *.service and *.target are units of systemd, *.conf and *.ini are
supervisord's, Procfile* and *.procfile are Procfiles.

Examples:
  treevisor import /etc/supervisor/supervisord.conf -o supervisors.toml
  treevisor import Procfile --formation web=2,worker=4
  treevisor import /etc/systemd/system/shop-*.service > shop.toml

Exit codes:
  0  all is carried over, or named
  1  a file cannot be read or written, or there is nothing in it to start
  2  wrong usage: what kind of file it is cannot be told
")]
pub struct Import {
    /// What to read; several only of systemd
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write over an output file that is there
    #[arg(short, long, requires = "output")]
    pub force: bool,
    /// What the files are, where their names do not tell: supervisord, procfile or systemd
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    pub format: Option<Format>,
    /// Of a Procfile: how many of each process, as in web=2,worker=4; those that are not named run once
    #[arg(long, short = 'm', value_name = "LIST", value_delimiter = ',', value_parser = formation)]
    pub formation: Vec<(String, u32)>,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Format {
    /// supervisord.conf
    Supervisord,
    /// Procfile, as of foreman and its kin
    Procfile,
    /// Units of systemd
    Systemd,
}

fn formation(text: &str) -> Result<(String, u32), String> {
    let pair = text.split_once('=').and_then(|(name, count)| Some((name.trim(), count.trim().parse().ok()?)));
    match pair {
        Some((name, count)) if !name.is_empty() => Ok((name.to_owned(), count)),
        _ => Err("a name and a number are expected, as in web=2".into()),
    }
}
