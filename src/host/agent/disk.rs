//! What the agent does on its disk. A thread does it, as the disk may block.

use super::bundles::{Bundles, Kept};
use super::fetches::part_of;
use super::pages::{self, Reader};
use crate::error::Chain;
use crate::files;
use crate::host::identity::Keys;
use crate::hosts::RunId;
use crate::hosts::record::{Choice, Placement};
use crate::ids::{self, Name};
use crate::instance::runtime::RuntimeDir;
use crate::instance::state::StateDir;
use crate::os::lock::LockFile;
use crate::os::thread;
use crate::os::wake::Wake;
use crate::spec;
use crate::spec::tree::{ChildKind, PlacementSpec};
use crate::time::Span;
use crate::wire::hosts::Bundle;
use crate::wire::look::{Kept as OnDisk, Page, RecordCursor};
use crate::wire::tvh1::header::BundleWhat;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

/// The size in bytes at which the journal's file is replaced by a new one; one former file is kept.
const JOURNAL_MAX: u64 = 2 << 20;

/// How many jobs may wait for a disk that does not respond; further ones are refused.
const WAITING_MAX: usize = 10_000;

/// How long a run waits for its job before it counts as one that cannot be started: another host is tried then.
pub(super) const START: Span = Span::from_secs(30);

/// Why such a run cannot be started.
pub(super) const HANGS: &str = "the disk does not respond";

/// What is added to the environment of everything that is started here.
pub(super) type Env = BTreeMap<String, String>;

/// The directories: the state of this host, below `base` the state of instances, and below `runtime` their runtime
/// directories.
pub(super) struct Places {
    pub(super) state: StateDir,
    pub(super) base: PathBuf,
    pub(super) runtime: PathBuf,
}

/// A job for the thread.
pub(super) enum Job {
    /// Write a bundle to the disk; the contents of its files are in their order.
    Keep(KeepReason, Bundle, Vec<Vec<u8>>),
    /// Read this part of a bundle, for the host of this name.
    Part(String, Kept, u32),
    /// Change the link of an instance to this bundle, before this run starts from it or reloads it.
    Point(RunId, Kept, PointReason),
    /// Create the state directory of this instance, in which this run of a placed subtree is to start.
    Lay(RunId, String),
    /// Remove what a root has left in the runtime directory of this instance; `None`: of all instances that have run
    /// here.
    Sweep(Option<String>),
    /// Read the keys of this host.
    Keys(PathBuf),
    /// Append a line to the journal of the agent.
    Line(String),
    /// Read a page of a journal.
    Page(Reader, OnDisk, RecordCursor),
    /// Answered once all earlier jobs are done.
    Last,
}

/// Why a link is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PointReason {
    Start,
    Reload,
}

/// Why a bundle is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeepReason {
    /// For the deployment with this number.
    Deploy(u64),
    /// It was fetched from another host, and must have this digest.
    Fetch(String),
}

pub(super) enum JobResult {
    /// All bundles on the disk.
    Bundles(Vec<Kept>),
    Kept(KeepReason, Result<Kept, String>),
    /// The receiving host and the digest; the header's part and the frame, or why there is none.
    Part(String, String, Result<(BundleWhat, Vec<u8>), String>),
    Pointed(RunId, PointReason, Result<PathBuf, String>),
    Laid(RunId, Result<PathBuf, String>),
    Keys(Result<Box<Keys>, String>),
    Page(Reader, Result<Page, String>),
    /// The journal cannot be written, or can be again: as text for the log.
    Journal(String),
    Last,
}

/// The loop's side of the thread.
pub(super) struct Disk {
    bundles: Bundles,
    jobs: mpsc::SyncSender<Job>,
    done: Receiver<JobResult>,
    wake: Arc<Wake>,
}

impl Disk {
    /// Starts the thread. Its first result is the list of the bundles on the disk.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(bundles: Bundles, places: Places, env: Env) -> io::Result<Disk> {
        let wake = Arc::new(Wake::new()?);
        let (jobs, todo) = mpsc::sync_channel(WAITING_MAX);
        let (did, done) = mpsc::channel();
        let (rings, theirs) = (Arc::clone(&wake), bundles.clone());
        thread::start_quiet("treevisor-disk", move || {
            work(&theirs, &places, &env, &todo, &did, &rings);
        })?;
        Ok(Disk { bundles, jobs, done, wake })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Queues a job. `false`: the queue is full.
    pub(super) fn ask(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// The path of the main file of a bundle.
    pub(super) fn file(&self, kept: &Kept) -> PathBuf {
        self.bundles.file(kept)
    }

    /// Waits until all queued jobs are done; it gives up when no result comes for `limit`.
    pub(super) fn finish(&self, limit: Span) {
        if self.ask(Job::Last) {
            while let Ok(did) = self.done.recv_timeout(limit.as_duration()) {
                if matches!(did, JobResult::Last) {
                    return;
                }
            }
        }
    }

    /// The results since the last call.
    pub(super) fn done(&self) -> Vec<JobResult> {
        self.wake.take();
        self.done.try_iter().collect()
    }
}

fn work(
    bundles: &Bundles,
    Places { state, base, runtime }: &Places,
    env: &Env,
    todo: &Receiver<Job>,
    did: &Sender<JobResult>,
    wake: &Wake,
) {
    let tell = |what| {
        // An error means that the loop has ended.
        let _ = did.send(what);
        wake.ring();
    };
    let mut journal = Journal { path: pages::of_agent(state.path()), lost: 0 };
    tell(JobResult::Bundles(bundles.all()));
    // The bundle that is being sent, kept in memory as it is requested part by part.
    let mut sending: Option<(String, Bundle, Vec<Vec<u8>>)> = None;
    while let Ok(job) = todo.recv() {
        match job {
            Job::Keep(whose, bundle, contents) => {
                let called = match &whose {
                    KeepReason::Deploy(_) => None,
                    KeepReason::Fetch(digest) => Some(digest.as_str()),
                };
                let kept = bundles.keep(&bundle, &contents, called).and_then(|kept| check(bundles, env, kept));
                tell(JobResult::Bundles(bundles.all()));
                tell(JobResult::Kept(whose, kept));
            }
            Job::Part(host, kept, part) => {
                if sending.as_ref().is_none_or(|(digest, ..)| *digest != kept.digest) {
                    sending = bundles.whole(&kept).ok().map(|(files, contents)| (kept.digest.clone(), files, contents));
                }
                let found = sending.as_ref().and_then(|(_, files, contents)| part_of(files, contents, part));
                let found = found.ok_or_else(|| format!("there is no part {part} of it"));
                tell(JobResult::Part(host, kept.digest, found));
            }
            Job::Point(run, kept, what) => {
                let place = place(base, &kept.instance).and_then(|()| bundles.point(&kept));
                tell(JobResult::Pointed(run, what, place.map_err(|error| error.to_string())));
            }
            Job::Lay(run, instance) => {
                let laid = place(base, &instance).map(|()| base.join(&instance));
                tell(JobResult::Laid(run, laid.map_err(|error| error.to_string())));
            }
            Job::Sweep(Some(instance)) => sweep(runtime, &instance),
            Job::Sweep(None) => bundles.instances().iter().for_each(|instance| sweep(runtime, instance)),
            Job::Keys(path) => {
                let none = || format!("there is no {}", path.display());
                let read = Keys::read(&path).map_err(|error| Chain(&error).to_string());
                tell(JobResult::Keys(read.and_then(|keys| keys.map(Box::new).ok_or_else(none))));
            }
            Job::Page(reader, kept, from) => {
                tell(JobResult::Page(reader, pages::page(state.path(), base, &kept, from)))
            }
            Job::Last => tell(JobResult::Last),
            Job::Line(line) => journal.append(&line).into_iter().for_each(|told| tell(JobResult::Journal(told))),
        }
    }
}

/// Reads a bundle on this host as its root will read it. A bundle with errors is removed, and returned as an error.
fn check(bundles: &Bundles, env: &Env, kept: Kept) -> Result<Kept, String> {
    let read =
        spec::read_at_once(&bundles.file(&kept), &|name| env.get(name).cloned().or_else(|| std::env::var(name).ok()));
    let named = read.tree.as_ref().is_some_and(|tree| tree.name.as_str() == kept.instance);
    let files = bundles.files(&kept);
    let wrong = read.errors().next().map(|error| error.to_string().replace(&*files.to_string_lossy(), ""));
    let wrong = wrong.or_else(|| outside(&files, &read));
    match wrong.or_else(|| (!named).then(|| format!("its file is not that of {}", kept.instance))) {
        None => {
            let placement = read.tree.and_then(|tree| tree.placement).map(in_the_cores_terms).unwrap_or_default();
            Ok(Kept { placement, ..kept })
        }
        Some(wrong) => {
            bundles.remove(&kept);
            Err(format!("on this host it has errors: {wrong}"))
        }
    }
}

/// Whether a tree would read files that are not part of the bundle (`include`), or name an `env-file` within the
/// bundle, which is not deployed.
fn outside(files: &Path, read: &spec::Read) -> Option<String> {
    let is_inside =
        |path: &Path| path.starts_with(files) && !path.components().any(|part| part == Component::ParentDir);
    if let Some(other) = read.sources.files().find(|path| !is_inside(path)) {
        return Some(format!("{} is no part of the bundle: write the include relative to the file", other.display()));
    }
    let mut beside = None;
    read.tree.as_ref()?.root.for_each_supervisor(&ids::Path::root(), &mut |_, supervisor| {
        for child in &supervisor.children {
            if let ChildKind::Worker(exec) = &child.kind {
                let within = exec.env_files.iter().find(|file| file.path.starts_with(files));
                beside = within.map(|file| file.path.clone()).or(beside.take());
            }
        }
    });
    let beside = beside?;
    let name = beside.strip_prefix(files).unwrap_or(&beside).display();
    Some(format!("`env-file` {name} is not brought along: write its whole path, where it lies on the hosts"))
}

fn in_the_cores_terms(PlacementSpec { hosts, require, .. }: PlacementSpec) -> Placement {
    let rank = |mut names: Vec<String>| match names.len() {
        1 => Choice::One(names.remove(0)),
        _ => Choice::Equals(names),
    };
    Placement { hosts: hosts.into_iter().map(rank).collect(), require }
}

/// Removes what a root has left that was killed together with its keeper. While another process holds the lock, nothing
/// is removed.
fn sweep(runtime: &Path, instance: &str) {
    let directory = Name::parse(instance).ok().and_then(|name| RuntimeDir::of(runtime, &name).ok());
    let Some(directory) = directory.filter(|directory| directory.path().is_dir()) else { return };
    if let Ok(_lock) = LockFile::acquire_to_clean(&directory.lock_file()) {
        directory.remove();
    }
}

/// Creates the state directory of an instance, which is the start of the tree's relative paths.
fn place(base: &Path, instance: &str) -> io::Result<()> {
    StateDir::at(base.join(instance)).create()
}

/// The journal of the agent. Nothing depends on it but its readers.
struct Journal {
    path: PathBuf,
    /// Lines that could not be written since the last one that could.
    lost: u64,
}

impl Journal {
    /// Appends a line. Returns what is to be logged: that writing has begun to fail, or works again.
    fn append(&mut self, line: &str) -> Option<String> {
        match self.try_append(line) {
            Ok(()) => match std::mem::take(&mut self.lost) {
                0 => None,
                lost => Some(format!("reports are kept on disk again; {lost} are missing there")),
            },
            Err(error) => {
                self.lost += 1;
                let text = || format!("reports cannot be kept on disk: {}: {error}", self.path.display());
                (self.lost == 1).then(text)
            }
        }
    }

    fn try_append(&self, line: &str) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|there| there.len() >= JOURNAL_MAX) {
            fs::rename(&self.path, pages::before(&self.path))?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        // The disk was full, or the agent was killed, in the middle of the last line.
        let begin = if files::ends_within_line(&mut file)? { "\n" } else { "" };
        file.write_all(format!("{begin}{line}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hosts::BundleFile;

    /// The result of checking a bundle with this one file.
    fn checked(text: &str) -> Result<Kept, String> {
        let directory = tempfile::tempdir().unwrap();
        let bundles = Bundles::below(&StateDir::at(directory.path().join("host"))).unwrap();
        let file = "shop.toml".to_owned();
        let files = vec![BundleFile { path: file.clone(), bytes: text.len() }];
        let kept =
            bundles.keep(&Bundle { instance: "shop".into(), file, files }, &[text.as_bytes().to_vec()], None).unwrap();
        let checked = check(&bundles, &Env::new(), kept);
        assert_eq!(bundles.all().len(), usize::from(checked.is_ok()), "one with errors is not kept");
        checked
    }

    #[test]
    fn a_report_that_cannot_be_kept_is_logged_once_and_the_next_one_has_a_line_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.jsonl");
        let mut journal = Journal { path: path.clone(), lost: 0 };
        assert_eq!(journal.append("{}"), None);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"torn").unwrap();
        fs::rename(&path, directory.path().join("kept")).unwrap();
        // A file cannot be created where a directory is.
        fs::create_dir(&path).unwrap();
        assert!(journal.append("1").unwrap().contains("cannot be kept on disk"));
        assert_eq!(journal.append("2"), None);
        fs::remove_dir(&path).unwrap();
        fs::rename(directory.path().join("kept"), &path).unwrap();
        assert!(journal.append("3").unwrap().ends_with("again; 2 are missing there"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n{\"torn\n3\n");
    }

    const WORKER: &str = "[[child]]\nname = \"a\"\ncommand = \"true\"\n";

    #[test]
    fn what_is_started_is_what_was_deployed() {
        let kept = checked(&format!("placement = [\"a\", [\"b\", \"c\"]]\n{WORKER}")).unwrap();
        let equals = Choice::Equals(vec!["b".into(), "c".into()]);
        assert_eq!(kept.placement.hosts, [Choice::One("a".into()), equals]);
        let other = tempfile::tempdir().unwrap();
        let outside = other.path().join("web.toml");
        fs::write(&outside, WORKER).unwrap();
        let included = format!("include = \"{}\"\n", outside.display());
        assert!(checked(&included).unwrap_err().contains("is no part of the bundle"));
        for file in ["secrets.env", "-secrets.env"] {
            let beside = format!("{WORKER}env-file = \"{file}\"\n");
            assert!(checked(&beside).is_err(), "{file} would be looked for in the bundle");
        }
        assert!(checked(&format!("name = \"mill\"\n{WORKER}")).unwrap_err().contains("is not that of shop"));
    }
}
