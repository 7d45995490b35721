//! The keeper's own process: what it does until the root ends, and then.

use crate::ids::{Mark, Path};
use crate::instance::runtime::RuntimeDir;
use crate::logs::stream_file::{self, StreamFile};
use crate::node::root::segments::{Change, JournalRecord, Segments};
use crate::os::cgroup::Group;
use crate::os::clock;
use crate::os::descendants::Scope;
use crate::os::lock::LockFile;
use crate::os::pidfd::{self, PidFd};
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

/// Where the keeper finds its record, the pipes from the root, for its dismissal and for the journal, and the keeper
/// before.
pub(super) const RECORD_FD: RawFd = 3;
pub(super) const DISMISSAL_FD: RawFd = 4;
pub(super) const JOURNAL_FD: RawFd = 5;
pub(super) const BEFORE_FD: RawFd = 6;

/// What is written to the journal in one go. A longer read would cost memory in every tree.
const CHUNK: usize = 16 * 1024;

/// After the write that emptied the pipe the journal rests for so long, or until the root ends: many events come close
/// together, and a write for each would cost a core. While there is more, it is written as fast as the disk takes it: a
/// burst must not wait in a pipe that is full, least of all the one at the end of the tree.
const REST: Span = Span::from_millis(20);

/// When no event comes for so long, this process gives its memory back until the next one.
const QUIET: Span = Span::from_secs(1);

/// How often it is looked whether the root is there, where it cannot be watched.
const LOOKING_AGAIN: Span = Span::from_millis(100);

/// What SIGKILL has not ended after this long cannot be killed by us.
const PATIENCE: Span = Span::from_secs(5);

/// What the keeper is given.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub root: u32,
    pub runtime: PathBuf,
    pub mark: String,
    #[serde(with = "crate::files::exact::option")]
    pub cgroup: Option<PathBuf>,
    pub output: Option<StreamFile>,
    pub journal: Option<JournalRecord>,
    /// It takes the place of one that was killed.
    pub again: bool,
    /// That one was dismissed, and the journal is its own until it has ended. Only in what the keeper itself is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
}

/// The keeper's own life. Returns its exit status.
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
    // A signal that is sent to all processes of the tree must not stop the one that cleans up.
    signals::ignore_all_stopping();
    process::set_name("tv-keeper");
    // Opened while the pipe is open at the other end, so it is the root and not a later process with its number.
    let root = PidFd::open(record.root);
    let writer = match &record.journal {
        Some(journal) => {
            let before = record.behind.then(|| fd::inherited(BEFORE_FD)).transpose()?;
            Some(Writer::start(journal, record.again, dismissal.try_clone()?, before)?)
        }
        None => None,
    };
    if writer.is_none() {
        // It does nothing from here on, for as long as the tree lives.
        process::release_memory();
    }

    if is_dismissed(&root, &dismissal, record.root)? {
        if let Some(writer) = writer {
            writer.end(None);
            writer.wait(PATIENCE);
        }
        return Ok(());
    }

    let runtime = RuntimeDir::at(record.runtime);
    // Only in order to name what is left.
    let file = runtime.read_instance().ok().filter(|file| file.mark == record.mark);
    let paths = file.map(|file| file.paths()).unwrap_or_default();
    let left = clear_tree(record.cgroup.as_deref(), &record.mark, &paths);
    if !left.is_none() {
        complain(format!("treevisor: the root has ended, and of its tree is left what cannot be killed: {left}"));
    }
    if let (Some(writer), Some(journal)) = (&writer, &record.journal) {
        writer.end(Some(root_was_killed(journal, root.as_ref().ok())));
        // A new run of the instance writes behind us, but does not wait for a disk that hangs.
        writer.wait(Span::from_millis(500));
    }
    remove_files(&runtime, &record.mark, &left);
    if let Some(writer) = writer {
        writer.wait(PATIENCE);
    }
    Ok(())
}

/// Waits for the end of the root, or for its word that all has ended in order, which this returns.
fn is_dismissed(root: &io::Result<PidFd>, dismissal: &OwnedFd, pid: u32) -> io::Result<bool> {
    let mut said_goodbye = false;
    match root {
        Ok(root) => {
            // The pipe ends with the root as well, but it also ends when the root has closed it for any other reason:
            // only the process's own end counts.
            fd::wait_readable_any(&[root.as_fd(), dismissal.as_fd()], None)?;
            said_goodbye |= read_dismissal(dismissal);
            if !said_goodbye {
                root.wait_exit_forever();
                said_goodbye |= read_dismissal(dismissal);
            }
        }
        // It is gone already.
        Err(error) if pidfd::is_gone(error) => said_goodbye |= read_dismissal(dismissal),
        // There is no watching it by a descriptor, for instance where the call is refused. We are its child as long as
        // it runs.
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

/// Removes what a root that was killed has left in its directory; what is still needed to find survivors stays.
fn remove_files(runtime: &RuntimeDir, mark: &str, left: &Survivors) {
    // A new run of the instance has cleared the files itself.
    if let Ok(lock) = LockFile::acquire(&runtime.lock_file()) {
        // A root that was killed while it began has written nothing yet.
        let ours = match runtime.read_instance() {
            Ok(file) => file.mark == *mark,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if ours && left.is_none() {
            runtime.remove();
        } else if ours {
            // So that the next start, or `panic --force`, finds what is left.
            runtime.remove_sockets();
        }
        lock.release();
    }
}

/// The last line of a run whose root had no time for one.
fn root_was_killed(journal: &JournalRecord, root: Option<&PidFd>) -> Note {
    let run = match &journal.run {
        Note::Run(run) => run.run.clone(),
        Note::Lost { .. } | Note::Holds { .. } | Note::End(_) => String::new(),
    };
    let exit = root.and_then(PidFd::told_exit);
    let (code, signal) = exit.map_or((None, None), |exit| (exit.code, exit.signal));
    let text = match (code, signal) {
        (_, Some(signal)) => format!("the root was killed by {}", full_name(signal)),
        (Some(code), None) => format!("the root ended with exit code {code} in the middle of its work"),
        (None, None) => "the root was killed, or has crashed".into(),
    };
    Note::End(EndNote { at: clock::rfc3339_nanos(clock::wall()), run, killed: true, code, signal, text })
}

/// The thread that writes the journal: where it gets its last line, and where it reports that it is done.
struct Writer {
    last: mpsc::Sender<Option<Note>>,
    done: mpsc::Receiver<()>,
}

impl Writer {
    fn start(journal: &JournalRecord, again: bool, dismissal: OwnedFd, before: Option<OwnedFd>) -> io::Result<Writer> {
        let lines = fd::inherited(JOURNAL_FD)?;
        let mut segments = Segments::new(journal);
        let ((last, get_last), (say_done, done)) = (mpsc::channel(), mpsc::channel());
        thread::Builder::new().name("tv-journal".into()).stack_size(128 << 10).spawn(move || {
            if let Some(before) = before {
                // Two that read would have parts of lines.
                let _ = fd::wait_readable_any(&[before.as_fd()], None);
            }
            write_journal(&lines, &dismissal, &mut segments, again);
            if let Ok(Some(note)) = get_last.recv() {
                let note: Note = note;
                report(segments.write(&note.to_line()));
            }
            let _ = say_done.send(());
        })?;
        Ok(Writer { last, done })
    }

    /// Lets it end when all that the root had sent is written, with a last line of ours.
    fn end(&self, last: Option<Note>) {
        let _ = self.last.send(last);
    }

    /// Waits until it has ended, as far as the disk lets it.
    fn wait(&self, limit: Span) {
        let _ = self.done.recv_timeout(limit.as_duration());
    }
}

/// Writes what comes until the pipe has no writer left: the other end is the root's alone. One that was dismissed while
/// the root goes on ends behind a whole line, with nothing unread.
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
            // Our predecessor has read the beginning of this line, and was killed before it had the rest.
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
            // It ends with the root, too.
            let _ = fd::wait_readable_any(&[dismissal.as_fd()], Some(REST));
        }
    }
}

/// Waits until there is something to read, or the pipe has ended. False where the root has closed the other pipe, and
/// there is nothing.
fn comes(lines: &OwnedFd, dismissal: &OwnedFd) -> bool {
    let both = [lines.as_fd(), dismissal.as_fd()];
    if let Ok(false) = fd::wait_readable_any(&both, Some(QUIET)) {
        process::release_memory();
        let _ = fd::wait_readable_any(&both, None);
    }
    !matches!(fd::wait_readable_any(&[lines.as_fd()], Some(Span::ZERO)), Ok(false))
}

/// Reports on stderr what the journal's writer has met: a reader of the tree's log is to see that it has gaps.
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

/// Writes a line to the tree's log as it is now. Neither to find that nor to write to it is waited for long.
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

/// Kills what is left of a tree and removes its cgroups. Blocks, but not for much longer than [`PATIENCE`]. Gives what
/// cannot be killed, with that of the `paths` to which it belongs.
pub(in crate::node) fn clear_tree(cgroup: Option<&std::path::Path>, mark: &str, paths: &[Path]) -> Survivors {
    let mark = match Mark::parse(mark) {
        Ok(mark) => mark,
        Err(error) => return Survivors { unseen: Some(error.to_string()), ..Survivors::default() },
    };
    let root = Path::root();
    let scope = Scope { root_pid: None, mark: &mark, within: &root, paths, spare: &[std::process::id()] };
    let left = sweep::kill_all(cgroup, &scope, PATIENCE);
    if let Some(Ok(group)) = cgroup.map(Group::open) {
        group.remove_all();
    }
    left
}
