//! `treevisor schema`: the JSON schema of the file, for editors.

use super::args::Schema;
use super::out::Out;
use super::{ExitCode, Failure};
use crate::spec::schema::schema;

pub(super) fn run(Schema {}: Schema) -> Result<ExitCode, Failure> {
    Out::open().write(&text())?;
    Ok(ExitCode::Done)
}

/// The schema as a file.
pub(super) fn text() -> String {
    // `{:#}` of a JSON value is the same value with line breaks.
    format!("{:#}\n", schema())
}
