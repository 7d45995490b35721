//! `treevisor schema`: the JSON schema of the file, for editors.

use super::failure::{ExitCode, Failure};
use super::out::Out;
use crate::spec::schema::text;
use clap::Args;

/// Print the JSON schema of the file, for editors
///
/// With it an editor completes the keys of a tree's file, shows what each of them means, and underlines what is wrong.
/// What values must be together is seen by `check` alone.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The first line of a file can name its schema, by a path from the file or a URL:
  #:schema ./treevisor.schema.json

Examples:
  treevisor schema > treevisor.schema.json
  treevisor init --schema                    a file to begin with, and its schema beside it
  taplo lint --schema file://$PWD/treevisor.schema.json supervisors.toml
")]
pub struct Schema {}

pub(super) fn run(Schema {}: Schema) -> Result<ExitCode, Failure> {
    Out::open().write(&text())?;
    Ok(ExitCode::Done)
}
