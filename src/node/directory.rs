//! The runtime directory of a tree that runs: what of this node lies there, and putting it back.
//!
//! Others remove what lies in `/tmp` and in `/run/user`: cleaners of old files, logind at a logout. A node whose socket
//! is gone cannot be reached by new connections, and a root whose lock is gone is not found. So each node looks at its
//! sockets before it starts a child and once a second while it is awake, and binds them anew; connections that stand
//! are not touched. The root watches the rest and is woken by the kernel when something goes, so that a tree in which
//! nothing happens sleeps on. Every few hours it gives all files the present as the time of their last use, and it
//! holds the locks that cleaners heed.

use super::children::Children;
use super::context::Context;
use super::endpoint::Endpoint;
use super::luggage::{Number, Packing, Unpacking};
use super::reactor::{Reactor, Source};
use crate::error::Chain;
use crate::files::FileId;
use crate::instance::runtime::{InstanceFile, RuntimeDir};
use crate::link::Router;
use crate::os::claim::Claim;
use crate::os::cleaners::{DirectoryLock, Watch, touch};
use crate::os::lock::{LockError, LockFile};
use crate::supervision::Event;
use crate::time::{Span, Time};
use crate::wire::snapshot::Kind;
use serde::{Deserialize, Serialize};
use slog::{debug, warn};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A node that is awake looks so often, and one that could not put something back tries again after as long.
const LOOK_EVERY: Span = Span::from_secs(1);

/// A cleaner is given so long to finish: a directory that fills again at once cannot be removed.
const SETTLE: Span = Span::from_millis(250);

/// How often the sockets of workers are looked at where there are thousands; with fewer, each time.
const LOOK_AT_MANY_EVERY: Span = Span::from_secs(10);
const MANY: usize = 1_000;

/// How often files are touched: the rules for `XDG_RUNTIME_DIR` ask for six hours.
const TOUCH_EVERY: Span = Span::from_secs(4 * 3600);

/// This node's view of the directory.
pub(super) struct Directory {
    /// Workers of other users may connect to the socket of the node's children.
    open: bool,
    /// What only the root has.
    root: Option<Held>,
    next_look: Time,
    next_look_at_workers: Time,
    /// Something was removed.
    marked: bool,
    /// Since when something is known to be missing.
    missing_since: Option<Time>,
    /// When to try again what did not work.
    retry: Option<Time>,
    told: Option<String>,
}

/// What is looked after, and what that takes.
pub(super) struct Kept<'a> {
    pub context: &'a Context,
    pub reactor: &'a mut Reactor,
    pub children: &'a mut Children,
    pub endpoint: &'a mut Endpoint,
    /// The operators' socket; the root's only.
    pub control: Option<&'a mut Router>,
    /// What the instance's file has to contain; the root's only.
    pub instance: Option<&'a InstanceFile>,
    /// For what has come to a socket that is made anew.
    pub inbox: &'a mut VecDeque<Event>,
}

/// What shows that the instance is running, and what keeps cleaners away.
pub(super) struct Held {
    lock: LockFile,
    claim: Option<Claim>,
    guards: Vec<DirectoryLock>,
    watch: Option<Watch>,
    /// Which directory is locked and watched.
    guarded: Option<FileId>,
    touch_at: Time,
    /// A link that is kept in the directory, and what it points to.
    link: Option<(PathBuf, PathBuf)>,
}

/// What of it goes over to another image of the program. The lock belongs to the open file, so it is held all the time.
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
    /// A link, and what it points to.
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

    /// A link that is kept in the directory, and what it points to.
    pub(super) fn keep_link(&mut self, link: Option<(PathBuf, PathBuf)>) {
        self.link = link;
    }

    /// The instance runs no longer. Last of all: the holder of the lock may lay out the directory.
    pub(super) fn release(self) {
        self.lock.release();
        drop(self.claim);
    }

    /// Locks the directory and begins to watch it, if that is not done yet. Both are of use, and neither is necessary.
    fn guard(&mut self, runtime: &RuntimeDir) {
        let there = FileId::at(runtime.path());
        if there.is_none() || there == self.guarded {
            return;
        }
        self.guarded = there;
        let directories = [runtime.path().parent(), Some(runtime.path())];
        self.guards = directories.iter().flatten().filter_map(|path| DirectoryLock::take(path).ok()).collect();
        if let Some(watch) = &self.watch {
            // The limit of watches may be reached; then the look of each second has to do.
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

    /// What goes over. All is looked at again at once.
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

    /// The view of another image of the program.
    pub(super) fn unpack(carried: CarriedDirectory, unpacking: &mut Unpacking<'_>) -> Directory {
        let CarriedDirectory { open, root } = carried;
        Directory { root: root.map(|held| Held::unpack(held, unpacking)), ..Directory::new(open) }
    }

    /// The root's: what shows that the instance is running. Its sockets are to stay.
    pub(super) fn hold(&mut self, runtime: &RuntimeDir, held: Held, sockets: [&Path; 2]) {
        let [children, control] = sockets;
        protect(runtime, children, self.open);
        protect(runtime, control, false);
        self.root = Some(held);
    }

    /// The root ends: what shows that the instance is running is given up at the very end.
    pub(super) fn give_up(&mut self) -> Option<Held> {
        self.root.take()
    }

    /// The socket of the node's children is open to other users.
    pub(super) fn opened(&mut self) {
        self.open = true;
    }

    /// The kernel has reported that something was removed.
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
    /// The root begins to watch its directory.
    pub(super) fn guard(&mut self, runtime: &RuntimeDir, reactor: &mut Reactor) {
        let watch = Watch::new().ok();
        let watched = watch.as_ref().is_some_and(|watch| reactor.watch(watch.fd(), Source::Directory).is_ok());
        let Some(held) = &mut self.root else { return };
        held.watch = watch.filter(|_| watched);
        held.guard(runtime);
    }

    /// Looks, if it is time to, whether all that must be there is there, and puts back what is not.
    pub(super) fn look_after(&mut self, mut kept: Kept<'_>) {
        let now = kept.context.now();
        if self.missing_since.is_some() && self.retry.is_some_and(|at| at > now) {
            return;
        }
        if now < self.next_look && !self.marked && self.retry.is_none_or(|at| at > now) {
            return;
        }
        let workers = std::mem::take(&mut self.marked) || now >= self.next_look_at_workers;
        if workers {
            self.next_look_at_workers = if kept.children.len() > MANY { now + LOOK_AT_MANY_EVERY } else { now };
        }
        self.retry = None;
        self.next_look = now + LOOK_EVERY;
        let missing = self.is_something_missing(&mut kept, workers);
        if missing {
            let since = *self.missing_since.get_or_insert(now);
            if now < since + SETTLE {
                self.retry = Some(since + SETTLE);
                self.marked |= workers;
                return;
            }
        }
        self.put_back(now, &mut kept, workers || missing);
    }

    /// Before a child is started: it will connect.
    pub(super) fn look_after_socket(&mut self, mut kept: Kept<'_>) {
        if !kept.endpoint.is_in_place() {
            self.put_back(kept.context.now(), &mut kept, false);
        }
    }

    /// `workers`: their sockets are looked at too.
    fn is_something_missing(&self, kept: &mut Kept<'_>, workers: bool) -> bool {
        let runtime = &kept.context.place.runtime;
        !kept.endpoint.is_in_place()
            || kept.control.as_ref().is_some_and(|control| !control.is_in_place())
            || self.root.as_ref().is_some_and(|held| {
                !held.lock.is_at(&runtime.lock_file())
                    || FileId::at(&runtime.instance_file()).is_none()
                    || held.link.as_ref().is_some_and(|(link, _)| FileId::at(link).is_none())
            })
            || workers && kept.endpoint.misses_a_file()
    }

    /// Puts back what is missing, and reports it.
    fn put_back(&mut self, now: Time, kept: &mut Kept<'_>, workers: bool) {
        self.missing_since = None;
        let mut missing = Vec::new();
        let restored =
            self.restore_files(now, kept, &mut missing).and_then(|()| self.restore_sockets(kept, &mut missing));
        let Kept { context, endpoint, children, reactor, inbox, .. } = kept;
        if workers {
            endpoint.put_back_files(context, reactor, children, inbox, &mut missing);
        }
        let directory = context.place.runtime.path().display();
        match restored {
            Ok(()) => {
                self.told = None;
                if missing.is_empty() {
                    return;
                }
                let missing = missing.join(", ");
                if self.root.is_some() {
                    warn!(context.logger, "runtime files removed by another program; restored";
                        "directory" => %directory, "files" => missing);
                } else {
                    debug!(context.logger, "socket removed by another program; bound again"; "file" => missing);
                }
            }
            Err(error) => {
                self.retry = Some(now + LOOK_EVERY);
                if self.told.as_ref() != Some(&error) {
                    warn!(context.logger, "runtime files removed by another program; cannot be restored";
                        "directory" => %directory, "error" => &error);
                    self.told = Some(error);
                }
            }
        }
    }

    /// The root's files, and the times of their last use.
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
        let children = (Some(kept.endpoint.router()), self.open);
        for (socket, open) in [children, (kept.control.as_deref_mut(), false)] {
            let Some(socket) = socket.filter(|socket| !socket.is_in_place()) else { continue };
            // The root makes it as well; either may come first.
            runtime.create().map_err(|error| Chain(&error).to_string())?;
            socket.bind_again().map_err(|error| Chain(&error).to_string())?;
            protect(runtime, socket.path(), open);
            missing.extend(socket.path().file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        Ok(())
    }
}

/// A socket that is bound is to stay, and may be open to other users.
fn protect(runtime: &RuntimeDir, socket: &Path, open: bool) {
    let kept = if open { runtime.open_to_others(socket) } else { runtime.keep(socket) };
    // An error was reported at the first call.
    drop(kept);
}

/// Makes all files young.
fn touch_all(runtime: &RuntimeDir) {
    let entries = fs::read_dir(runtime.path()).into_iter().flatten().flatten().map(|entry| entry.path());
    let directories = [runtime.path().parent(), Some(runtime.path())].into_iter().flatten().map(Path::to_path_buf);
    for path in directories.chain(entries) {
        // What is gone is put back by the look that follows.
        let _: io::Result<()> = touch(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Context as Sockets;
    use crate::node::testing;
    use crate::os::clock;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_socket_that_was_removed_is_bound_anew_when_the_cleaner_has_had_its_time() {
        let base = tempfile::tempdir().unwrap();
        let mut context = testing::context();
        context.place.runtime = RuntimeDir::at(base.path().join("test"));
        context.place.runtime.create().unwrap();
        let (mut reactor, mut inbox) = (testing::reactor(), VecDeque::new());
        let mut children = testing::children("name = \"test\"\n[[child]]\nname = \"a\"\ncommand = [\"a\"]", &context);
        let socket = context.place.runtime.node_socket(&context.place.path);
        let door = context.place.door.clone();
        let mut endpoint = Endpoint::bind(Sockets::new().unwrap(), &socket, door, false).unwrap();
        let mut directory = Directory::new(false);
        let mut look = |endpoint: &mut Endpoint| {
            let (reactor, children, inbox) = (&mut reactor, &mut children, &mut inbox);
            let kept = Kept { context: &context, reactor, children, endpoint, control: None, instance: None, inbox };
            directory.look_after(kept);
            directory.next_deadline()
        };
        assert_eq!(look(&mut endpoint), None, "nothing is missing");
        fs::remove_dir_all(context.place.runtime.path()).unwrap();
        while !endpoint.is_in_place() {
            assert!(context.now() < Time::ZERO + Span::from_secs(60), "it was not put back");
            clock::pause(Span::from_millis(5));
            look(&mut endpoint);
        }
        assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o1000, 0o1000, "cleaners leave it alone");
    }
}
