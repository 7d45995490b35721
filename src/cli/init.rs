//! `treevisor init`: writes a first file.

use super::failure::{ExitCode, Failure};
use super::file::write_new;
use super::options::ColorMode;
use super::out::{self, Out};
use crate::spec::schema;
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

const STARTER: &str = include_str!("init.toml");

/// The file of the schema, beside the tree's file.
const SCHEMA: &str = "treevisor.schema.json";

pub(super) fn run(args: Init, when: ColorMode) -> Result<ExitCode, Failure> {
    let head = if args.schema { format!("#:schema ./{SCHEMA}\n\n") } else { String::new() };
    let text = format!("{head}{}", STARTER.replace(" FILE ", &format!(" {} ", shown(&args.file))));
    if args.file == Path::new("-") {
        Out::open().write(&text)?;
        return Ok(ExitCode::Done);
    }
    write_new(&args.file, &text, args.force)?;
    if args.schema {
        let beside = args.file.with_file_name(SCHEMA);
        // The schema is the same for every tree of this version, so overwriting an existing one loses nothing.
        write_new(&beside, &schema::text(), true)?;
        out::say(when, &format!("wrote {}", beside.display()));
    }
    out::say(when, &format!("wrote {0}; look at it, then `treevisor start {0}`", args.file.display()));
    Ok(ExitCode::Done)
}

/// The name of the file for the examples in its comments; a name with control characters is not used, as a line break
/// would end the comment.
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
        // Commented keys become active without `# `.
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
