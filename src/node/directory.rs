//! The runtime directory of a running tree: the files of this node in it, and their restoration.
//!
//! Other programs remove files in `/tmp` and in `/run/user`: cleaners of old files (systemd-tmpfiles), and logind at a
//! logout. No new connection reaches a node whose socket file is gone, and no tool finds a root whose lock file is
//! gone. So each node checks its socket files before it starts a child and once a second while it is awake, and binds
//! missing ones anew; established connections are not affected. The root watches its files by inotify, so that a tree
//! in which nothing happens can sleep. Every four hours the root renews the timestamps of all files, and it holds the
//! directory locks that cleaners respect.

use super::context::Context;
use super::luggage::{Number, Packing, Unpacking};
use super::reactor::{Reactor, Source};
use crate::error::Chain;
use crate::files::FileId;
use crate::instance::runtime::{InstanceFile, RuntimeDir};
use crate::link::Router;
use crate::os::claim::Claim;
use crate::os::cleaners::{DirectoryLock, Watch, touch};
use crate::os::lock::{LockError, LockFile};
use crate::time::{Span, Time};
use crate::wire::snapshot::Kind;
use serde::{Deserialize, Serialize};
use slog::{debug, warn};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How often a node that is awake checks its files, and the time to the next attempt when one could not be restored.
const LOOK_EVERY: Span = Span::from_secs(1);

/// How long a cleaner is given to finish, since it cannot remove a directory that fills again at once.
const SETTLE: Span = Span::from_millis(250);

/// How often the sockets of workers are checked where there are more than [`MANY`] children; with fewer, at each check.
const LOOK_AT_MANY_EVERY: Span = Span::from_secs(10);
const MANY: usize = 1_000;

/// How often timestamps are renewed. The XDG Base Directory Specification asks for at least every six hours.
const TOUCH_EVERY: Span = Span::from_secs(4 * 3600);

/// The node's part of the runtime directory.
pub(super) struct Directory {
    /// Whether workers of other users may connect to the socket for children.
    open: bool,
    /// The lock and the other files that only the root has.
    root: Option<Held>,
    next_look: Time,
    next_look_at_workers: Time,
    /// The kernel has reported a change in the directory.
    marked: bool,
    /// Since when a file is known to be missing.
    missing_since: Option<Time>,
    /// When to try a failed restoration again.
    retry: Option<Time>,
    told: Option<String>,
}

/// What is checked and restored, besides the root's own files and the sockets of workers.
pub(super) struct Kept<'a> {
    pub context: &'a Context,
    /// The socket to which the node's children connect.
    pub children: &'a mut Router,
    /// The operators' socket. Only the root has it.
    pub control: Option<&'a mut Router>,
    /// The content of `instance.json`. Only the root has it.
    pub instance: Option<&'a InstanceFile>,
}

pub(super) struct Restored {
    /// The names of the files.
    pub files: Vec<String>,
    /// What could not be restored, and why.
    failure: Option<String>,
    /// The socket of a worker could not be bound, so it is tried again soon.
    pub tries_again: bool,
}

/// The files that show that the instance is running, and the locks that keep cleaners away.
pub(super) struct Held {
    lock: LockFile,
    claim: Option<Claim>,
    guards: Vec<DirectoryLock>,
    watch: Option<Watch>,
    /// The directory that is locked and watched now.
    guarded: Option<FileId>,
    touch_at: Time,
    /// A symbolic link that is kept in place, and its target.
    link: Option<(PathBuf, PathBuf)>,
}

/// The part of it in the snapshot of a hot upgrade. The lock belongs to the open file description, so it stays held.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedDirectory {
    open: bool,
    root: Option<CarriedHeld>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedHeld {
    lock: Number,
    claim: Option<Number>,
    touch_at: Time,
    /// The symbolic link, and its target.
    link: Option<(String, String)>,
}

impl Held {
    fn pack(&self, packing: &mut Packing<'_>) -> CarriedHeld {
        let Held { lock, claim, guards: _, watch: _, guarded: _, touch_at, link } = self;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        CarriedHeld {
            lock: packing.descriptor(lock, Kind::File, "the lock"),
            claim: claim.as_ref().map(|claim| packing.descriptor(claim, Kind::Listener, "the name of the instance")),
            touch_at: *touch_at,
            link: link.as_ref().map(|(link, target)| (text(link), text(target))),
        }
    }

    fn unpack(carried: CarriedHeld, unpacking: &mut Unpacking<'_>) -> Held {
        let CarriedHeld { lock, claim, touch_at, link } = carried;
        let claim = claim.map(|claim| Claim::held_by(unpacking.take(claim)));
        let link = link.map(|(link, target)| (link.into(), target.into()));
        Held { touch_at, link, ..Held::new(LockFile::held_by(unpacking.take(lock)), claim) }
    }

    pub(super) fn new(lock: LockFile, claim: Option<Claim>) -> Held {
        let touch_at = Time::ZERO + TOUCH_EVERY;
        Held { lock, claim, guards: Vec::new(), watch: None, guarded: None, touch_at, link: None }
    }

    /// Sets the symbolic link that is kept in place, and its target.
    pub(super) fn keep_link(&mut self, link: Option<(PathBuf, PathBuf)>) {
        self.link = link;
    }

    /// Releases the instance, as the last step of a root: the next holder of the lock may create the directory anew.
    pub(super) fn release(self) {
        self.lock.release();
        drop(self.claim);
    }

    /// Locks the directory and watches it, unless that is done already. Neither is necessary, so errors are ignored.
    fn guard(&mut self, runtime: &RuntimeDir) {
        let there = FileId::at(runtime.path());
        if there.is_none() || there == self.guarded {
            return;
        }
        self.guarded = there;
        let directories = [runtime.path().parent(), Some(runtime.path())];
        self.guards = directories.iter().flatten().filter_map(|path| DirectoryLock::take(path).ok()).collect();
        if let Some(watch) = &self.watch {
            // The limit of inotify watches may be reached. The check of each second has to do then.
            let _ = watch.add(runtime.path());
        }
    }
}

impl Directory {
    /// `open`: workers of other users may connect to the socket of the node's children.
    pub(super) fn new(open: bool) -> Directory {
        Directory {
            open,
            root: None,
            next_look: Time::ZERO,
            next_look_at_workers: Time::ZERO,
            marked: false,
            missing_since: None,
            retry: None,
            told: None,
        }
    }

    /// Writes the state into the snapshot of a hot upgrade. The next image checks everything at once.
    pub(super) fn pack(&self, packing: &mut Packing<'_>) -> CarriedDirectory {
        let Directory {
            open,
            root,
            next_look: _,
            next_look_at_workers: _,
            marked: _,
            missing_since: _,
            retry: _,
            told: _,
        } = self;
        CarriedDirectory { open: *open, root: root.as_ref().map(|held| held.pack(packing)) }
    }

    /// Takes the state over from the snapshot.
    pub(super) fn unpack(carried: CarriedDirectory, unpacking: &mut Unpacking<'_>) -> Directory {
        let CarriedDirectory { open, root } = carried;
        Directory { root: root.map(|held| Held::unpack(held, unpacking)), ..Directory::new(open) }
    }

    /// Takes what shows that the root's instance is running. Protects the root's two sockets from cleaners.
    pub(super) fn hold(&mut self, runtime: &RuntimeDir, held: Held, sockets: [&Path; 2]) {
        let [children, control] = sockets;
        protect(runtime, children, self.open);
        protect(runtime, control, false);
        self.root = Some(held);
    }

    /// Gives back what shows that the instance is running. The root releases it as its last step.
    pub(super) fn give_up(&mut self) -> Option<Held> {
        self.root.take()
    }

    /// From now on workers of other users may connect to the socket for children.
    pub(super) fn opened(&mut self) {
        self.open = true;
    }

    /// The kernel has reported a change in the directory: the next check covers everything.
    pub(super) fn mark_changed(&mut self) {
        self.marked = true;
        if let Some(watch) = self.root.as_ref().and_then(|root| root.watch.as_ref()) {
            watch.drain();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        [self.retry, self.root.as_ref().map(|root| root.touch_at)].into_iter().flatten().min()
    }
}

impl Directory {
    /// Begins to watch the root's directory by inotify.
    pub(super) fn guard(&mut self, runtime: &RuntimeDir, reactor: &mut Reactor) {
        let watch = Watch::new().ok();
        let watched = watch.as_ref().is_some_and(|watch| reactor.watch(watch.fd(), Source::Directory).is_ok());
        let Some(held) = &mut self.root else { return };
        held.watch = watch.filter(|_| watched);
        held.guard(runtime);
    }

    /// Begins a check of the files, if one is due. Returns whether it covers the sockets of workers too.
    pub(super) fn begin_look(&mut self, now: Time, children: usize) -> Option<bool> {
        if self.missing_since.is_some() && self.retry.is_some_and(|at| at > now) {
            return None;
        }
        if now < self.next_look && !self.marked && self.retry.is_none_or(|at| at > now) {
            return None;
        }
        let workers = std::mem::take(&mut self.marked) || now >= self.next_look_at_workers;
        if workers {
            self.next_look_at_workers = if children > MANY { now + LOOK_AT_MANY_EVERY } else { now };
        }
        self.retry = None;
        self.next_look = now + LOOK_EVERY;
        Some(workers)
    }

    /// The check has found a missing file. Returns whether the cleaner has had time to finish; otherwise the check is
    /// taken again later, with those sockets of `workers` that this one covers.
    pub(super) fn has_settled(&mut self, now: Time, workers: bool) -> bool {
        let since = *self.missing_since.get_or_insert(now);
        let settled = now >= since + SETTLE;
        if !settled {
            self.retry = Some(since + SETTLE);
            self.marked |= workers;
        }
        settled
    }

    /// Whether a file is missing, apart from the sockets of workers.
    pub(super) fn misses_a_file(&self, kept: &Kept<'_>) -> bool {
        let runtime = &kept.context.place.runtime;
        !kept.children.is_in_place()
            || kept.control.as_ref().is_some_and(|control| !control.is_in_place())
            || self.root.as_ref().is_some_and(|held| {
                !held.lock.is_at(&runtime.lock_file())
                    || FileId::at(&runtime.instance_file()).is_none()
                    || held.link.as_ref().is_some_and(|(link, _)| FileId::at(link).is_none())
            })
    }

    /// Restores what is missing of the root's files and of the node's own sockets.
    pub(super) fn put_back(&mut self, now: Time, kept: &mut Kept<'_>) -> Restored {
        self.missing_since = None;
        let mut files = Vec::new();
        let restored = self.restore_files(now, kept, &mut files).and_then(|()| self.restore_sockets(kept, &mut files));
        Restored { files, failure: restored.err(), tries_again: false }
    }

    /// Logs what was restored, or why that was not possible.
    pub(super) fn report(&mut self, now: Time, restored: Restored, context: &Context) {
        let Restored { files, failure, tries_again } = restored;
        if tries_again {
            self.retry = Some(now + LOOK_EVERY);
        }
        let directory = context.place.runtime.path().display();
        match failure {
            None => {
                self.told = None;
                if files.is_empty() {
                    return;
                }
                let missing = files.join(", ");
                if self.root.is_some() {
                    warn!(context.logger, "runtime files removed by another program; restored";
                        "directory" => %directory, "files" => missing);
                } else {
                    debug!(context.logger, "socket removed by another program; bound again"; "file" => missing);
                }
            }
            Some(error) => {
                self.retry = Some(now + LOOK_EVERY);
                if self.told.as_ref() != Some(&error) {
                    warn!(context.logger, "runtime files removed by another program; cannot be restored";
                        "directory" => %directory, "error" => &error);
                    self.told = Some(error);
                }
            }
        }
    }

    /// Restores the root's files, and renews timestamps if that is due.
    fn restore_files(&mut self, now: Time, kept: &Kept<'_>, missing: &mut Vec<String>) -> Result<(), String> {
        let runtime = &kept.context.place.runtime;
        let Some(held) = &mut self.root else { return Ok(()) };
        if let Some(claim) = &held.claim {
            claim.answer();
        }
        if now >= held.touch_at {
            held.touch_at = now + TOUCH_EVERY;
            touch_all(runtime);
        }
        if !held.lock.is_at(&runtime.lock_file()) {
            runtime.create().map_err(|error| Chain(&error).to_string())?;
            held.lock = match LockFile::acquire(&runtime.lock_file()) {
                Ok(lock) => lock,
                Err(LockError::Held { .. }) => return Err("another process holds the lock there by now".into()),
                Err(error) => return Err(Chain(&error).to_string()),
            };
            missing.push("lock".into());
        }
        held.guard(runtime);
        if let Some(file) = kept.instance
            && FileId::at(&runtime.instance_file()).is_none()
        {
            runtime.write_instance(file).map_err(|error| format!("instance.json: {error}"))?;
            missing.push("instance.json".into());
        }
        if let Some((link, target)) = &held.link
            && FileId::at(link).is_none()
        {
            std::os::unix::fs::symlink(target, link).map_err(|error| format!("{}: {error}", link.display()))?;
        }
        Ok(())
    }

    fn restore_sockets(&self, kept: &mut Kept<'_>, missing: &mut Vec<String>) -> Result<(), String> {
        let runtime = &kept.context.place.runtime;
        let children = (Some(&mut *kept.children), self.open);
        for (socket, open) in [children, (kept.control.as_deref_mut(), false)] {
            let Some(socket) = socket.filter(|socket| !socket.is_in_place()) else { continue };
            // The root creates the directory as well; either may be first.
            runtime.create().map_err(|error| Chain(&error).to_string())?;
            socket.bind_again().map_err(|error| Chain(&error).to_string())?;
            protect(runtime, socket.path(), open);
            missing.extend(socket.path().file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        Ok(())
    }
}

/// Marks a bound socket so that cleaners keep it; `open` lets other users connect to it.
fn protect(runtime: &RuntimeDir, socket: &Path, open: bool) {
    let kept = if open { runtime.open_to_others(socket) } else { runtime.keep(socket) };
    // Such an error was reported when the socket was opened for the first time.
    drop(kept);
}

/// Sets the timestamps of all files to now, so that no cleaner takes them for old ones.
fn touch_all(runtime: &RuntimeDir) {
    let entries = fs::read_dir(runtime.path()).into_iter().flatten().flatten().map(|entry| entry.path());
    let directories = [runtime.path().parent(), Some(runtime.path())].into_iter().flatten().map(Path::to_path_buf);
    for path in directories.chain(entries) {
        // A file that is gone is restored by the check that follows.
        let _: io::Result<()> = touch(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Context as Sockets, RouterLimits};
    use crate::node::testing;
    use crate::os::clock;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_socket_that_was_removed_is_bound_anew_when_the_cleaner_has_had_its_time() {
        let base = tempfile::tempdir().unwrap();
        let mut context = testing::context();
        context.place.runtime = RuntimeDir::at(base.path().join("test"));
        context.place.runtime.create().unwrap();
        let socket = context.place.runtime.node_socket(&context.place.path);
        let door = context.place.door.clone();
        let (sockets, limits) = (Sockets::new().unwrap(), RouterLimits { frame_bytes_max: 64, frames_max: 1 });
        let mut router = Router::bind_behind(&sockets, &socket, limits, door).unwrap();
        let mut directory = Directory::new(false);
        let mut look = |children: &mut Router| {
            let (now, mut kept) = (context.now(), Kept { context: &context, children, control: None, instance: None });
            if let Some(workers) = directory.begin_look(now, 1)
                && (!directory.misses_a_file(&kept) || directory.has_settled(now, workers))
            {
                let restored = directory.put_back(now, &mut kept);
                directory.report(now, restored, &context);
            }
            directory.next_deadline()
        };
        assert_eq!(look(&mut router), None, "nothing is missing");
        fs::remove_dir_all(context.place.runtime.path()).unwrap();
        while !router.is_in_place() {
            assert!(context.now() < Time::ZERO + Span::from_secs(60), "it was not put back");
            clock::pause(Span::from_millis(5));
            look(&mut router);
        }
        assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o1000, 0o1000, "cleaners leave it alone");
    }
}
