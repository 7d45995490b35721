//! The keeper's own process: waits for the root's end, then cleans up.

use crate::ids::{Mark, Path};
use crate::instance::runtime::RuntimeDir;
use crate::logs::stream_file::{self, StreamFile};
use crate::node::root::segments::{Change, JournalRecord, Segments};
use crate::os::cgroup::Group;
use crate::os::clock;
use crate::os::descendants::Scope;
use crate::os::pidfd::{self, ExitStatus, PidFd};
use crate::os::sweep::{self, Survivors};
use crate::os::thread::briefly;
use crate::os::{fd, process, signals};
use crate::signal::full_name;
use crate::time::Span;
use crate::wire::journal::{EndNote, Note, looks_whole};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

/// The keeper's inherited descriptors: its record, the pipes from the root for the dismissal and for the journal, the
/// count of lost events, and the pidfd of the keeper before.
pub(super) const RECORD_FD: RawFd = 3;
pub(super) const DISMISSAL_FD: RawFd = 4;
pub(super) const JOURNAL_FD: RawFd = 5;
pub(super) const LOST_FD: RawFd = 6;
pub(super) const BEFORE_FD: RawFd = 7;

/// The most bytes that one write to the journal has. A larger buffer would cost memory in every tree.
const CHUNK: usize = 16 * 1024;

/// How long the journal rests after the write that has emptied the pipe, unless the root ends: events often come close
/// together, and a write for each would keep a CPU busy. While the pipe is not empty, events are written as fast as the
/// disk takes them: a burst must not wait in a full pipe, least of all the one at the end of the tree.
const REST: Span = Span::from_millis(20);

/// If no event arrives for so long, the keeper returns memory to the system until the next one.
const QUIET: Span = Span::from_secs(1);

/// How often the keeper checks whether the root still runs, where the root cannot be watched.
const LOOKING_AGAIN: Span = Span::from_millis(100);

/// What SIGKILL has not ended after so long is given up on.
const PATIENCE: Span = Span::from_secs(5);

/// The input of the keeper's process.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub root: u32,
    pub runtime: PathBuf,
    pub mark: String,
    #[serde(with = "crate::files::exact::option")]
    pub cgroup: Option<PathBuf>,
    pub output: Option<StreamFile>,
    pub journal: Option<JournalRecord>,
    /// This keeper replaces another one, which was killed or dismissed. The first line that it reads may lack its
    /// beginning.
    pub again: bool,
    /// The keeper before was dismissed, and writes the journal until it has exited. Set only in the record for the new
    /// process.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
}

/// Runs the keeper. Returns the exit status of its process.
pub fn run() -> i32 {
    match watch_root() {
        Ok(()) => 0,
        Err(error) => {
            fd::complain(format_args!("treevisor: the keeper cannot do its work: {error}"));
            1
        }
    }
}

fn watch_root() -> io::Result<()> {
    let mut text = String::new();
    std::fs::File::from(fd::inherited(RECORD_FD)?).read_to_string(&mut text)?;
    let record: Record = serde_json::from_str(&text)?;
    stream_file::set(record.output.clone());
    let dismissal = fd::inherited(DISMISSAL_FD)?;
    // A signal to all processes of the tree must not stop the process that cleans up.
    signals::ignore_all_stopping();
    process::set_name("tv-keeper");
    // Opened while the root holds the other end of the pipe, so the pid is the root's and was not reused.
    let root = PidFd::open(record.root);
    let writer = match &record.journal {
        Some(journal) => {
            let before = record.behind.then(|| fd::inherited(BEFORE_FD)).transpose()?;
            Some(Writer::start(journal, record.again, dismissal.try_clone()?, before)?)
        }
        None => None,
    };
    if writer.is_none() {
        // The keeper only waits from here on, for as long as the tree runs.
        process::release_memory();
    }

    if is_dismissed(&root, &dismissal, record.root)? {
        if let Some(writer) = writer {
            writer.end(None);
            writer.wait(PATIENCE);
        }
        return Ok(());
    }

    clean_up(&record, root.as_ref().ok(), writer.as_ref(), clear_tree);
    Ok(())
}

/// Clears up by `clear` after a root that was killed. The journal first: a service manager that kills the whole service
/// when its main process ends kills this process too, and what is left of the tree with it.
fn clean_up(
    record: &Record,
    root: Option<&PidFd>,
    writer: Option<&Writer>,
    clear: impl FnOnce(Option<&std::path::Path>, &str, &[Path]) -> Survivors,
) {
    if let (Some(writer), Some(journal)) = (writer, &record.journal) {
        writer.end(Some(root_was_killed(journal, root.and_then(|root| root.told_exit(record.root)))));
    }
    let runtime = RuntimeDir::at(&record.runtime);
    // The paths are needed only to name what is left.
    let file = runtime.read_instance().ok().filter(|file| file.mark == record.mark);
    let paths = file.map(|file| file.paths()).unwrap_or_default();
    let left = clear(record.cgroup.as_deref(), &record.mark, &paths);
    if !left.is_none() {
        complain(format!("treevisor: the root has ended, and of its tree is left what cannot be killed: {left}"));
    }
    if let Some(writer) = writer {
        // A new run of the instance writes after this one, but does not wait for a disk that hangs.
        writer.wait(Span::from_millis(500));
    }
    runtime.clean_up(&record.mark, !left.is_none());
    if let Some(writer) = writer {
        writer.wait(PATIENCE);
    }
}

/// Waits for the end of the root, or for its message that the tree has ended in order. Returns whether that has come.
fn is_dismissed(root: &io::Result<PidFd>, dismissal: &OwnedFd, pid: u32) -> io::Result<bool> {
    let mut said_goodbye = false;
    match root {
        Ok(root) => {
            // The pipe ends with the root, but also if the root closes it for another reason: only the end of the
            // root's process counts.
            fd::wait_readable_any(&[root.as_fd(), dismissal.as_fd()], None)?;
            said_goodbye |= read_dismissal(dismissal);
            if !said_goodbye {
                root.wait_exit_forever();
                said_goodbye |= read_dismissal(dismissal);
            }
        }
        // The root has ended already.
        Err(error) if pidfd::is_gone(error) => said_goodbye |= read_dismissal(dismissal),
        // The root cannot be watched by a pidfd, for instance since the system call is refused. This process is its
        // child as long as the root runs.
        Err(_) => {
            fd::wait_readable_any(&[dismissal.as_fd()], None)?;
            said_goodbye |= read_dismissal(dismissal);
            while !said_goodbye && process::parent() == pid {
                clock::pause(LOOKING_AGAIN);
                said_goodbye |= read_dismissal(dismissal);
            }
        }
    }
    Ok(said_goodbye)
}

/// The last line of a run whose root was killed and has not written one.
fn root_was_killed(journal: &JournalRecord, exit: Option<ExitStatus>) -> Note {
    let run = match &journal.run {
        Note::Run(run) => run.run.clone(),
        Note::Lost { .. } | Note::Holds { .. } | Note::End(_) => String::new(),
    };
    let (code, signal) = exit.map_or((None, None), |exit| (exit.code, exit.signal));
    let text = match (code, signal) {
        (_, Some(signal)) => format!("the root was killed by {}", full_name(signal)),
        (Some(code), None) => format!("the root ended with exit code {code} in the middle of its work"),
        (None, None) => "the root was killed, or has crashed".into(),
    };
    Note::End(EndNote { at: clock::rfc3339_nanos(clock::wall()), run, killed: true, code, signal, text })
}

/// The thread that writes the journal: the channel for its last line, and the channel on which it reports that it is
/// done.
struct Writer {
    last: mpsc::Sender<Option<Note>>,
    done: mpsc::Receiver<()>,
}

impl Writer {
    fn start(journal: &JournalRecord, again: bool, dismissal: OwnedFd, before: Option<OwnedFd>) -> io::Result<Writer> {
        let (lines, lost) = (fd::inherited(JOURNAL_FD)?, fd::inherited(LOST_FD)?);
        let mut segments = Segments::new(journal);
        let ((last, get_last), (say_done, done)) = (mpsc::channel(), mpsc::channel());
        thread::Builder::new().name("tv-journal".into()).stack_size(128 << 10).spawn(move || {
            if let Some(before) = before {
                // Two readers would each get parts of lines.
                let _ = fd::wait_readable_any(&[before.as_fd()], None);
            }
            segments.count_in(lost.into());
            write_journal(&lines, &dismissal, &mut segments, again);
            segments.unlock();
            if let Ok(Some(note)) = get_last.recv() {
                let note: Note = note;
                report(segments.write(&note.to_line()));
            }
            let _ = say_done.send(());
        })?;
        Ok(Writer { last, done })
    }

    /// Lets the thread write all that the root has sent, then this last line, and end.
    fn end(&self, last: Option<Note>) {
        let _ = self.last.send(last);
    }

    /// Waits until the thread has ended, at most for `limit`.
    fn wait(&self, limit: Span) {
        let _ = self.done.recv_timeout(limit.as_duration());
    }
}

/// Writes all events until the pipe has no writer left; the root alone has the other end. If the keeper is dismissed
/// while the root goes on, ends after a whole line, with nothing left to read.
fn write_journal(lines: &OwnedFd, dismissal: &OwnedFd, segments: &mut Segments, again: bool) {
    let Ok(mut source) = lines.try_clone().map(std::fs::File::from) else { return };
    let mut buffer = Vec::with_capacity(2 * CHUNK);
    let mut whole_lines_only = again;
    loop {
        if buffer.is_empty() && !comes(lines, dismissal) {
            return;
        }
        let begun = buffer.len();
        buffer.resize(begun + CHUNK, 0);
        let read = source.read(&mut buffer[begun..]);
        let there_is_more = matches!(read, Ok(CHUNK));
        buffer.truncate(begun + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1) else { continue };
        let mut begin = 0;
        if std::mem::take(&mut whole_lines_only) {
            // The keeper before has read the beginning of this line, and was killed before it had read the rest.
            let first = buffer.iter().position(|byte| *byte == b'\n').unwrap_or(0);
            if !looks_whole(&buffer[..first]) {
                segments.lose(1);
                begin = first + 1;
            }
        }
        if begin < end {
            report(segments.write(&buffer[begin..end]));
        }
        buffer.drain(..end);
        if !there_is_more {
            // Wakes up at once when the root ends.
            let _ = fd::wait_readable_any(&[dismissal.as_fd()], Some(REST));
        }
    }
}

/// Waits until the journal's pipe has input or has ended. Returns false if the other pipe was closed or has a message,
/// and the journal's pipe is empty.
fn comes(lines: &OwnedFd, dismissal: &OwnedFd) -> bool {
    let both = [lines.as_fd(), dismissal.as_fd()];
    if let Ok(false) = fd::wait_readable_any(&both, Some(QUIET)) {
        process::release_memory();
        let _ = fd::wait_readable_any(&both, None);
    }
    !matches!(fd::wait_readable_any(&[lines.as_fd()], Some(Span::ZERO)), Ok(false))
}

/// Reports on stderr when writing the journal fails, and when it works again, so that gaps are visible in the tree's
/// log.
fn report(change: Option<Change>) {
    match change {
        None => {}
        Some(Change::Stopped(why)) => {
            complain(format!("treevisor: events cannot be kept on disk; the tree goes on: {why}"));
        }
        Some(Change::WorksAgain(lost)) => {
            complain(format!("treevisor: events are kept on disk again; {lost} are missing there"));
        }
    }
}

/// Writes a line to the tree's log file. Neither opening the file nor writing to it may take longer than a second.
fn complain(line: String) {
    briefly(Span::from_secs(1), move || {
        stream_file::refresh_stderr();
        fd::complain(line);
    });
}

/// Whether the root has announced an orderly end.
fn read_dismissal(pipe: &OwnedFd) -> bool {
    if fd::set_nonblocking(pipe.as_fd(), true).is_err() {
        return false;
    }
    let mut byte = [0];
    pipe.try_clone().map(std::fs::File::from).is_ok_and(|mut file| matches!(file.read(&mut byte), Ok(1)))
}

/// Kills what is left of a tree and removes its cgroups. Blocks, but not for much longer than [`PATIENCE`]. Returns the
/// processes that cannot be killed, each with the one of `paths` that it belongs to.
pub(in crate::node) fn clear_tree(cgroup: Option<&std::path::Path>, mark: &str, paths: &[Path]) -> Survivors {
    let mark = match Mark::parse(mark) {
        Ok(mark) => mark,
        Err(error) => return Survivors { unseen: Some(error.to_string()), ..Survivors::default() },
    };
    let root = Path::root();
    let scope = Scope { root_pid: None, mark: &mark, within: &root, paths, spare: &[std::process::id()] };
    let left = sweep::kill_all(cgroup.map(Into::into).as_slice(), &scope, PATIENCE);
    if let Some(Ok(group)) = cgroup.map(Group::open) {
        group.remove_all();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_killed_root_goes_to_the_journal_before_anything_is_cleared() {
        let (last, get_last) = mpsc::channel();
        let (_, done) = mpsc::channel();
        let directory = tempfile::tempdir().unwrap();
        let record = Record {
            root: 0,
            runtime: directory.path().join("shop"),
            mark: "mark".into(),
            cgroup: None,
            output: None,
            journal: Some(JournalRecord {
                directory: directory.path().to_owned(),
                max_size: 0,
                keep: 0,
                run: Note::Holds { at: String::new(), holds: Vec::new() },
            }),
            again: false,
            behind: false,
        };
        let mut cleared = false;
        clean_up(&record, None, Some(&Writer { last, done }), |_, mark, _| {
            assert!(matches!(get_last.try_recv(), Ok(Some(Note::End(EndNote { killed: true, .. })))));
            cleared = mark == "mark";
            Survivors::default()
        });
        assert!(cleared);
    }
}
