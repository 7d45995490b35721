//! `treevisor init`: a file to begin with.

use super::failure::{ExitCode, Failure};
use super::file::write_new;
use super::options::When;
use super::out::{self, Out};
use super::schema;
use clap::Args;
use std::path::{Path, PathBuf};

/// Write a starter file
///
/// Writes FILE with a small tree, and with comments on the keys that are needed most. It runs as it is.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor init && treevisor check supervisors.toml
  treevisor init --schema shop.toml    with its JSON schema, for editors
  treevisor init - | less

Exit codes:
  0  written
  1  it cannot be written, or is there already
")]
pub struct Init {
    /// Where to; - is stdout
    #[arg(value_name = "FILE", default_value = "supervisors.toml")]
    pub file: PathBuf,
    /// Write over a file that is there
    #[arg(short, long)]
    pub force: bool,
    /// Write treevisor.schema.json beside it too, and name it in the file's first line
    #[arg(long)]
    pub schema: bool,
}

/// The tree that a beginner gets.
const STARTER: &str = include_str!("init.toml");

/// The schema's file, beside the tree's.
const SCHEMA: &str = "treevisor.schema.json";

pub(super) fn run(args: Init, when: When) -> Result<ExitCode, Failure> {
    let head = if args.schema { format!("#:schema ./{SCHEMA}\n\n") } else { String::new() };
    let text = format!("{head}{}", STARTER.replace(" FILE ", &format!(" {} ", shown(&args.file))));
    if args.file == Path::new("-") {
        Out::open().write(&text)?;
        return Ok(ExitCode::Done);
    }
    write_new(&args.file, &text, args.force)?;
    if args.schema {
        let beside = args.file.with_file_name(SCHEMA);
        // It is the same for every tree of this version: nothing is lost when one that is there is written over.
        write_new(&beside, &schema::text(), true)?;
        out::say(when, &format!("wrote {}", beside.display()));
    }
    out::say(when, &format!("wrote {0}; look at it, then `treevisor start {0}`", args.file.display()));
    Ok(ExitCode::Done)
}

/// The file as it stands in the examples of its own comments; a name with line breaks would break out of them.
fn shown(file: &Path) -> String {
    match file.to_str() {
        Some(name) if name != "-" && !name.chars().any(char::is_control) => name.to_owned(),
        _ => "supervisors.toml".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::read_text;

    #[test]
    fn the_starter_has_nothing_to_complain_of() {
        let read = read_text("supervisors.toml", STARTER, &|_| None);
        assert!(read.diagnostics.is_empty(), "{:?}", read.diagnostics);
        assert_eq!(read.tree.unwrap().root.children.len(), 2);
    }

    #[test]
    fn what_it_shows_as_possible_is_possible() {
        // A key that is shown behind a `#` with a space may be written without it.
        let lines = STARTER.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split(' ').nth(1) == Some("=") => rest.to_owned(),
            _ => line.to_owned(),
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let read = read_text("supervisors.toml", &text, &|name| Some(format!("of {name}")));
        assert!(read.diagnostics.is_empty(), "{:?}", read.diagnostics);
        assert!(text.contains("\ncwd = ") && text.contains("\nname = \"shop\""));
    }
}
