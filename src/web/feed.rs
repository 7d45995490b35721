//! Keeps the hub supplied with the root's events and with workers' output. A thread checks whether the root runs, and
//! starts and ends the threads that follow.

use super::hub::{Needs, Root, SILENCE};
use super::known::Known;
use super::shared::{Shared, now_ms};
use crate::control::logs::LogsAsked;
use crate::control::session::{EventsRead, EventsWanted};
use crate::control::{self, AskError, Session};
use crate::ids::Path;
use crate::os::clock;
use crate::time::Span;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, PipeReader};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How often the root, and what pages need, is checked: while pages are open, and while none is.
const LOOK: Span = Span::from_millis(50);
const IDLE: Span = Span::from_millis(250);

/// How long a follower waits after a failure before the next attempt.
const AGAIN: Span = Span::from_millis(500);

/// A thread that follows events or output. Dropping this closes the pipe that the thread's session watches as its
/// reader, which ends the thread.
struct Following {
    _reader: PipeReader,
    ended: Arc<AtomicBool>,
}

impl Following {
    /// Starts the thread, which runs `follow` until that returns. After a failure the thread ends only when another
    /// attempt may be made: it is started again as long as pages need it.
    fn start(
        known: &Known,
        follow: impl FnOnce(Session) -> Result<(), AskError> + Send + 'static,
    ) -> io::Result<Following> {
        let (reader, writer) = io::pipe()?;
        let ended = Arc::new(AtomicBool::new(false));
        let (ends, runtime) = (Arc::clone(&ended), known.runtime.clone());
        thread::spawn(move || {
            let followed = Session::connect(&runtime).and_then(|mut session| {
                session.ends_with_reader_of(writer.into());
                follow(session)
            });
            if followed.is_err() {
                clock::pause(AGAIN);
            }
            ends.store(true, Ordering::Release);
        });
        Ok(Following { _reader: reader, ended })
    }

    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }
}

/// Identifies one version of the instance's file: inode and modification time.
#[derive(PartialEq, Eq)]
struct Stamp(u64, i64, i64);

/// Keeps the hub up to date with the instance.
pub(super) struct Feed {
    known: Known,
    shared: Arc<Shared>,
    stamp: Option<Stamp>,
    events: Option<Following>,
    logs: Option<(BTreeSet<Path>, Following)>,
}

impl Feed {
    pub(super) fn new(known: Known, shared: Arc<Shared>) -> Feed {
        Feed { known, shared, stamp: None, events: None, logs: None }
    }

    /// Does one check; returns the time until the next one.
    pub(super) fn look(&mut self) -> Span {
        if !control::is_running(&self.known.runtime) {
            (self.stamp, self.events, self.logs) = (None, None, None);
            let mut hub = self.shared.lock();
            hub.is_not(Root::Gone, now_ms());
            hub.follows_no_more();
            hub.reads_anew();
            return if hub.pages() > 0 { LOOK } else { IDLE };
        }
        self.find_run();
        let wants = self.shared.lock().needs(now_ms());
        let busy = wants.follow.is_some();
        self.follow(wants);
        if busy { LOOK } else { IDLE }
    }

    /// Reads which run it is from the instance's file, if that was written anew. The root writes it with each change of
    /// the tree.
    fn find_run(&mut self) {
        let stamp = fs::metadata(self.known.runtime.instance_file());
        let stamp = stamp.ok().map(|file| Stamp(file.ino(), file.mtime(), file.mtime_nsec()));
        if stamp == self.stamp {
            return;
        }
        if let Ok(instance) = self.known.runtime.read_instance() {
            let before = self.shared.lock().run().to_owned();
            if before != instance.run() {
                (self.events, self.logs) = (None, None);
            }
            self.shared.lock().here(self.known.name.as_str(), instance.run(), now_ms());
            self.shared.wake();
            self.stamp = stamp;
        }
    }

    fn follow(&mut self, wants: Needs) {
        if self.events.as_ref().is_some_and(|events| !events.goes_on()) {
            self.events = None;
            self.shared.lock().follows_no_more();
        }
        match wants.follow {
            None if self.events.take().is_some() => self.shared.lock().follows_no_more(),
            None => {}
            Some(_) if self.events.is_some() => {}
            Some((generation, from)) => {
                let shared = Arc::clone(&self.shared);
                self.events =
                    Following::start(&self.known, move |session| follow_events(session, &shared, generation, from))
                        .ok();
            }
        }
        let as_before = self.logs.as_ref().is_some_and(|(paths, logs)| *paths == wants.logs && logs.goes_on());
        if !as_before {
            self.logs = None;
            let number = self.shared.lock().reads_anew();
            if !wants.logs.is_empty() {
                let (shared, paths) = (Arc::clone(&self.shared), wants.logs.clone());
                let started =
                    Following::start(&self.known, move |session| follow_logs(session, &shared, number, &paths));
                self.logs = started.ok().map(|logs| (wants.logs, logs));
            }
        }
    }
}

fn follow_events(
    mut session: Session,
    shared: &Shared,
    generation: u64,
    mut from: Option<u64>,
) -> Result<(), AskError> {
    loop {
        let wanted = EventsWanted { path: Path::root(), kinds: Vec::new(), from, follow: true };
        let ended = session.events(&wanted, SILENCE, &mut |read: EventsRead| {
            shared.lock().events(generation, &read, now_ms());
            shared.wake();
            from = Some(read.next);
            ControlFlow::Continue(())
        });
        match ended {
            Err(AskError::NoAnswer { .. } | AskError::FellSilent { .. }) => {
                shared.lock().is_not(Root::Silent, now_ms());
                clock::pause(AGAIN);
            }
            // The instance has ended, nothing needs to be followed any more, or the root has refused.
            ended => return ended,
        }
    }
}

fn follow_logs(mut session: Session, shared: &Shared, number: u64, paths: &BTreeSet<Path>) -> Result<(), AskError> {
    // Earlier lines are fetched by the page itself.
    let asked = LogsAsked { paths: paths.iter().cloned().collect(), lines: Some(0), since_ms: None, follow: true };
    session.logs(&asked, SILENCE, &mut |told| {
        let mut hub = shared.lock();
        // The following has begun, or has begun anew with a gap.
        if told.caught_up || told.gap {
            hub.reads(number, paths, now_ms());
        }
        hub.logs(number, &told, now_ms());
        ControlFlow::Continue(())
    })
}

#[cfg(test)]
mod tests;
