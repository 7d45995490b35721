//! `treevisor help` and `treevisor version`: verbs that print the same as `--help` and `--version`.

use super::failure::{ExitCode, Failure};
use super::out::Out;
use clap::{Args, Command};

/// Print the help of treevisor, or of a verb
///
/// The same as `treevisor VERB --help`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor help
  treevisor help reload
")]
pub struct Help {
    /// The verb; treevisor as a whole without it
    #[arg(value_name = "VERB")]
    pub verb: Option<String>,
}

/// Print the version
///
/// The same as `treevisor --version`: the version, the commit that it was built from (`+` where the sources had
/// changes), the target, and the libzmq that it runs on. `treevisor -V` prints the first line.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor version
")]
pub struct Version {}

pub(super) fn run(args: Help, program: Command) -> Result<ExitCode, Failure> {
    let words = ["treevisor".into()].into_iter().chain(args.verb).chain(["--help".into()]);
    match program.try_get_matches_from(words) {
        Ok(_) => Ok(ExitCode::Done),
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done };
            // A missing reader is no error.
            let _ = error.print();
            Ok(code)
        }
    }
}

pub(super) fn version(Version {}: Version, program: &Command) -> Result<ExitCode, Failure> {
    Out::open().write(&program.render_long_version())?;
    Ok(ExitCode::Done)
}
