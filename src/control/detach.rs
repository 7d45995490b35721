//! Starts a root in the background and waits for its report whether the tree is up.
//!
//! The tool opens a pipe and starts itself again with the pipe's path below its own `/proc` entry; the root opens that,
//! and writes one line when its tree is up or has failed. So no descriptor has to be passed on through an exec.

use crate::files;
use crate::os::clock::{self, Clock};
use crate::os::opening::{self, Missing};
use crate::os::{fd, process};
use crate::time::{Span, Time};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

/// How often the waiting tool checks whether the root still runs.
const LOOK_EVERY: Span = Span::from_millis(20);

/// Lines of output that are shown when a root ended before its tree was up.
const LAST_LINES: usize = 20;

/// Bytes at the end of the output that are searched for these lines.
const TAIL_BYTES: u64 = 16 * 1024;

/// How a start in the background came out.
#[derive(Debug)]
pub enum Outcome {
    /// The tree is up.
    Up {
        /// The process id of the root.
        pid: u32,
    },
    /// The root has ended before its tree was up.
    Ended {
        /// Its exit status; `None` when a signal ended it.
        code: Option<i32>,
        /// Its error output; may be empty.
        reason: String,
        /// The last lines of its output.
        output: Vec<String>,
    },
    /// The tree was neither up nor down when the limit was over. The root runs on.
    NotYet {
        /// The process id of the root.
        pid: u32,
    },
}

/// Starts this program again in the background with `arguments`, its output going to `output`, and waits up to `limit`
/// until its tree is up. `arguments` gets the path of the pipe appended.
///
/// # Errors
/// [`DetachError`] if the root could not be started.
pub fn start(mut arguments: Vec<OsString>, output: &Path, limit: Span) -> Result<Outcome, DetachError> {
    let failed = |what| move |cause| DetachError { what, path: output.to_owned(), cause };
    let (_, file) = opening::append_own(output, Missing::Fails).map_err(failed("open the file for its output,"))?;
    let begun_at = file.metadata().map_err(failed("look at the file for its output,"))?.len();
    let errors = file.try_clone().map_err(failed("open the file for its output,"))?;
    let (reader, writer) = io::pipe().map_err(failed("open a pipe; its output would go to"))?;
    arguments.push(format!("/proc/{}/fd/{}", std::process::id(), writer.as_raw_fd()).into());
    // Inherited descriptors, such as the pipe of a shell's `$(…)`, must not stay open as long as the tree runs: a
    // process that reads such a pipe to its end would wait that long.
    fd::keep_to_ourselves().map_err(failed("close what was inherited; its output would go to"))?;
    let mut root = Command::new("/proc/self/exe")
        // The root cannot find this path anywhere else.
        .arg0(process::start_path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .map_err(failed("start it; its output would go to"))?;
    let (tell, told) = mpsc::channel();
    // A thread, since a pipe cannot be read with a limit. It ends with this program at the latest.
    thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(reader).read_line(&mut line).is_ok() {
            let _ = tell.send(line);
        }
    });
    let clock = Clock::start();
    let end = Time::ZERO + limit;
    let mut failed: Option<String> = None;
    loop {
        match told.recv_timeout(LOOK_EVERY.as_duration()) {
            Ok(line) => match line.trim_end().strip_prefix("failed") {
                None => return Ok(Outcome::Up { pid: root.id() }),
                Some(why) => failed = Some(why.trim().to_owned()),
            },
            Err(RecvTimeoutError::Timeout) => {}
            // The root has closed the pipe and is about to exit.
            Err(RecvTimeoutError::Disconnected) => clock::pause(LOOK_EVERY),
        }
        if let Ok(Some(status)) = root.try_wait() {
            // The root's last line may have arrived after the receive above.
            if let (None, Ok(line)) = (&failed, told.recv_timeout(LOOK_EVERY.as_duration())) {
                failed = line.trim_end().strip_prefix("failed").map(|why| why.trim().to_owned());
            }
            // `writer` is kept open until here, so that the path below `/proc` stays valid.
            drop(writer);
            let (code, reason) = (status.code(), failed.unwrap_or_default());
            return Ok(Outcome::Ended { code, reason, output: tail(output, begun_at) });
        }
        if clock.now() >= end {
            return Ok(Outcome::NotYet { pid: root.id() });
        }
    }
}

/// The last lines that were written after `begun_at`.
fn tail(output: &Path, begun_at: u64) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> io::Result<String> {
        let mut file = files::open_regular(output)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(begun_at.max(length.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

/// In the root that was started in the background: leaves the terminal's session, and opens the pipe at `path`. If the
/// tool has ended, since its limit was over, the report goes into a pipe without a reader.
///
/// # Errors
/// The system's.
pub fn settle(path: &Path) -> io::Result<OwnedFd> {
    // In a session of its own, the root gets no SIGHUP when the terminal closes.
    process::new_session()?;
    report_to(path)
}

fn report_to(path: &Path) -> io::Result<OwnedFd> {
    let pipe = fs::OpenOptions::new().write(true).open(path);
    // The tool is the parent of this process as long as it runs. After its end, another process may have its number.
    if path.starts_with(format!("/proc/{}", process::parent())) {
        return Ok(pipe?.into());
    }
    let (_, writer) = io::pipe()?;
    Ok(writer.into())
}

/// Why no root was started.
#[derive(Debug)]
pub struct DetachError {
    what: &'static str,
    path: PathBuf,
    cause: io::Error,
}

impl fmt::Display for DetachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start in the background: cannot {} {}", self.what, self.path.display())
    }
}

impl std::error::Error for DetachError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn the_tail_holds_the_last_lines_of_this_run_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output.log");
        let mut file = File::create(&path).unwrap();
        writeln!(file, "of an earlier run").unwrap();
        let begun_at = file.metadata().unwrap().len();
        assert!(tail(&path, begun_at).is_empty());
        for n in 0..100 {
            writeln!(file, "line {n}").unwrap();
        }
        let lines = tail(&path, begun_at);
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines.last().unwrap(), "line 99");
        assert!(tail(&dir.path().join("missing"), 0).is_empty());
    }

    #[test]
    fn a_tool_that_is_gone_is_reported_to_in_vain() {
        let mut tool = Command::new("true").spawn().unwrap();
        let gone = format!("/proc/{}/fd/1", tool.id());
        assert!(tool.wait().unwrap().success());
        let error = File::from(report_to(Path::new(&gone)).unwrap()).write_all(b"up\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        // One that runs is reported to, or it is an error.
        let there = format!("/proc/{}/fd/1000000", process::parent());
        assert!(report_to(Path::new(&there)).is_err());
    }

    /// Needs root, as it creates files of another user.
    #[test]
    fn a_link_of_another_user_is_no_place_for_the_output() {
        use std::os::unix::fs::{chown, lchown, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (theirs, secret) = (dir.path().join("theirs"), dir.path().join("secret"));
        fs::create_dir(&theirs).unwrap();
        let link = theirs.join("output.log");
        symlink(&secret, &link).unwrap();
        if chown(&theirs, Some(65_533), None).and_then(|()| lchown(&link, Some(65_533), None)).is_err() {
            return;
        }
        let error = start(Vec::new(), &link, Span::ZERO).unwrap_err();
        assert!(error.to_string().ends_with(&format!("for its output, {}", link.display())), "{error}");
        assert!(error.cause.to_string().contains("output.log is a link of user 65533"), "{}", error.cause);
        assert!(!secret.exists());
    }
}
