//! `treevisor import`: converts another supervisor's configuration into a tree's file.
//!
//! Each format is a function from text to a [`Draft`](draft::Draft), which holds TOML and notes; only this module reads
//! files. A setting is converted by its *effect*, not by its name; a setting whose effect does not exist here is
//! reported.

mod draft;
mod files;
mod procfile;
mod signals;
mod source;
mod supervisord;
mod systemd;
mod value;

use self::source::Machine;
use super::failure::{ExitCode, Failure};
use super::file::{count, write_new};
use super::options::ColorMode;
use super::out::{self, Out};
use crate::spec::print::basic;
use crate::spec::read_text;
use clap::{Args, ValueEnum};
use draft::Draft;
use std::fs;
use std::path::{Path, PathBuf};
use value::Value;

/// Convert another supervisor's configuration
///
/// Reads a supervisord.conf, a Procfile, or units of systemd, and prints a TOML file that means the same. What could
/// not be carried over is named on stderr with its line, and in comments where it would stand.
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
  2  wrong usage: unknown kind of file
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
    /// Format of the files, where their names do not show it: supervisord, procfile or systemd
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

pub(super) fn run(args: Import, when: ColorMode) -> Result<ExitCode, Failure> {
    let first = &args.files[0];
    let format = args.format.or_else(|| format_of(first)).ok_or_else(|| {
        Failure::new(ExitCode::Usage, format!("cannot import {}: unknown format", first.display()))
            .hint(match first.extension().and_then(|extension| extension.to_str()) {
                Some("yml" | "yaml") => {
                    "a compose file runs images, and treevisor programs of this machine: write the command of each service \
                     into a [[child]]; `treevisor init` makes a file to begin with"
                }
                _ => "set it: --format supervisord, procfile or systemd",
            })
    })?;
    if format != Format::Systemd && args.files.len() > 1 {
        return Err(Failure::new(ExitCode::Usage, "cannot import several files at once but units of systemd"));
    }
    if format != Format::Procfile && !args.formation.is_empty() {
        return Err(Failure::new(ExitCode::Usage, "--formation is for a Procfile alone"));
    }
    let env = |name: &str| std::env::var(name).ok();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "localhost".into());
    let machine = Machine { env: &env, host: host.trim().to_owned() };
    let here = files::directory(first);
    let mut tree = match format {
        Format::Procfile => of_procfile(&args, &here, &machine)?,
        Format::Supervisord => supervisord::read(&files::load(first)?, &here, &machine, &files::included),
        Format::Systemd => systemd::read(&files::units(&args.files)?, &machine),
    };
    let names: Vec<_> = args.files.iter().map(|file| file.display().to_string()).collect();
    tree.about
        .insert(0, format!("Made of {} by `treevisor import`. Look it over before it is started.", names.join(", ")));
    tree.make_names_unique();
    tree.keep_logs_apart();
    tree.sort_notes();
    if !tree.writes_something() {
        tell(&tree, when);
        return Err(Failure::new(
            ExitCode::Failed,
            format!("cannot import {}: nothing in it is to be started", names.join(", ")),
        ));
    }
    let text = tree.to_toml();
    match &args.output {
        Some(output) => {
            write_new(output, &text, args.force)?;
            out::say(when, &format!("wrote {0}; look it over, then `treevisor check {0}`", output.display()));
        }
        None => Out::open().write(&text)?,
    }
    tell(&tree, when);
    if !tree.starts_something() {
        out::say(
            when,
            "all of it is off, and written down in comments; take the `#` away from what is to be started: `check` asks for \
             one at least",
        );
        return Ok(ExitCode::Done);
    }
    // Each key was checked when it was set; conditions between keys are checked only here.
    let read = read_text("import", &text, &|_| Some(String::new()));
    for error in read.errors() {
        out::say(when, &format!("what came of it is not right yet: {error}"));
    }
    Ok(ExitCode::Done)
}

/// Converts a Procfile in the directory `here`, with the `.env` beside it.
fn of_procfile(args: &Import, here: &Path, machine: &Machine<'_>) -> Result<Draft, Failure> {
    let first = &args.files[0];
    let text = files::load(first)?;
    let env_file = first.with_file_name(".env");
    // Nothing is waited for, as with a fifo.
    let variables = env_file.is_file().then(|| files::load(&env_file)).and_then(Result::ok);
    let port = procfile::first_port(variables.as_ref().map(|text| &*text.text), machine.env);
    let mut tree = procfile::read(&text.name, &text.text, &args.formation, port);
    // A relative path of `env-file` is resolved from the directory of the tree's file, which is known if it is
    // written here.
    let lies_beside = args.output.as_ref().is_some_and(|output| files::directory(output) == here);
    let is_here = first.parent().is_none_or(|parent| parent.as_os_str().is_empty() || parent == Path::new("."));
    // foreman runs each line in the directory of the Procfile.
    if !(lies_beside && is_here) {
        tree.for_all("cwd", basic(&Value::plain(&here.display().to_string()).in_toml()));
    }
    if env_file.exists() {
        let name = if lies_beside { "-.env".into() } else { format!("-{}", here.join(".env").display()) };
        tree.for_all("env-file", basic(&Value::plain(&name).in_toml()));
    }
    Ok(tree)
}

/// Prints the notes on stderr.
fn tell(tree: &Draft, when: ColorMode) {
    let notes = tree.all_notes();
    for note in &notes {
        out::raw_error(&format!("{note}\n"));
    }
    if !notes.is_empty() && tree.writes_something() {
        let what = count(notes.len(), "difference");
        out::say(
            when,
            &format!(
                "{what} to what it was, named above and in the file's comments (`# \
             differs:`)"
            ),
        );
    }
}

/// The format of a file, by its name.
fn format_of(file: &Path) -> Option<Format> {
    let name = file.file_name()?.to_str()?;
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension {
        "service" | "target" | "socket" | "timer" => Some(Format::Systemd),
        "conf" | "ini" => Some(Format::Supervisord),
        "procfile" => Some(Format::Procfile),
        _ if name.to_ascii_lowercase().starts_with("procfile") => Some(Format::Procfile),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
