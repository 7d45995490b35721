//! The program `treevisor-host`, which is the agent and has the keys and the store of a host.

use crate::cli::failure::{ExitCode, Failure};
use crate::cli::options::ColorMode;
use crate::cli::out;
use crate::error::plain;
use crate::os::process;
use crate::wire::member::{MemberReply, MemberRequest};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The agent's program.
const AGENT: &str = "treevisor-host";

/// The path of the agent's program, which lies beside this one. `doing` is what it is needed for, for the message.
pub(super) fn program(doing: &str) -> Result<PathBuf, Failure> {
    let program = process::self_exe_name().with_file_name(AGENT);
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::new(ExitCode::Failed, format!("cannot {doing}: there is no {}", program.display())).hint(
        "the package of treevisor has it beside `treevisor`; a build of one's own makes it with the feature `hosts`",
    ))
}

/// Has `treevisor-host` carry out a request, and prints the result.
pub(super) fn tell(doing: &str, question: &MemberRequest, when: ColorMode) -> Result<(), Failure> {
    told(doing, question, when).map(drop)
}

/// As [`tell`]. Returns the hosts that the request waits for, if it is not complete.
pub(super) fn told(doing: &str, ask: &MemberRequest, when: ColorMode) -> Result<Option<Vec<String>>, Failure> {
    let failed = |why: String| Failure::new(ExitCode::Failed, format!("cannot {doing}: {why}"));
    let program = program(doing)?;
    let answer = || -> Result<MemberReply, String> {
        let mut child = Command::new(&program)
            .arg("member")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {}", program.display(), plain(&error)))?;
        let question = serde_json::to_vec(ask).map_err(|error| error.to_string())?;
        // A write error is ignored: if the program has ended already, its exit status shows why.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(&question));
        let output = child.wait_with_output().map_err(|error| plain(&error))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|_| format!("{} has ended without an answer: {}", program.display(), output.status))
    };
    match answer().map_err(failed)? {
        MemberReply::Done { lines } => {
            lines.iter().for_each(|line| out::say(when, line));
            Ok(None)
        }
        MemberReply::Waiting { lines, hosts } => {
            lines.iter().for_each(|line| out::say(when, line));
            Ok(Some(hosts))
        }
        MemberReply::Failed { message, hint, is_done } => Err(failure(doing, &message, hint, is_done)),
    }
}

/// `is_done`: the machine is a host, and is of no use before the store answers.
fn failure(doing: &str, message: &str, hint: Option<String>, is_done: bool) -> Failure {
    let code = if is_done { ExitCode::NoAnswer } else { ExitCode::Failed };
    let failure = Failure::new(code, format!("cannot {doing}: {message}"));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_whose_store_does_not_answer_is_told_from_one_that_is_none() {
        let code = |is_done| failure("join", "why", Some("do".into()), is_done).code;
        assert_eq!((code(false), code(true)), (ExitCode::Failed.number(), ExitCode::NoAnswer.number()));
    }
}
