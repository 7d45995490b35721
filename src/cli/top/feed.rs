//! Input from outside: looks at the tree, its events, keys, signals, and results of requests. Each has a thread of its
//! own, and one bounded channel carries them to the main loop, so that no wait blocks the screen.

use super::super::change::{Change, carry_out_with, done_line};
use super::super::instance::anywhere;
use super::super::screen::pause;
use super::keys::{self, Kind};
use super::state::{Input, OUTPUT_LINES, Output};
use crate::control::logs::LogsAsked;
use crate::control::session::{EventsRead, EventsWanted};
use crate::control::{AskError, Instance, Session};
use crate::error::Chain;
use crate::ids::Path;
use crate::os::clock::{self, Clock};
use crate::os::signals::Signals;
use crate::time::Span;
use crate::wire::message::Verb;
use ratatui::crossterm::event::{Event, read};
use std::ops::ControlFlow;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Capacity of the channel. Events that do not fit are dropped and counted; other input waits for room.
pub(super) const QUEUE: usize = 256;

/// How often to look for an instance that has ended, or whose root on another host cannot be reached.
const LOOK_FOR: Span = Span::from_millis(500);

/// How often the output of the selected child is read; it is also read when the selection changes.
const READ_OUTPUT: Span = Span::from_secs(1);

/// How often a change of the selection is checked for.
const NOTICE_SELECTION: Span = Span::from_millis(50);

/// A root that has sent nothing for this long is shown as silent.
const SILENCE: Span = Span::from_secs(2);

/// How long the result of a request is waited for; the request goes on after that.
const PATIENCE: Span = Span::from_secs(60);

/// Reads the status of `path` periodically, also across restarts of the instance.
pub(super) fn looks(to: SyncSender<Input>, mut instance: Instance, path: Path, every: Span) {
    thread::spawn(move || {
        while let Ok(session) = connect(&instance) {
            follow(to.clone(), &instance, path.clone());
            let ControlFlow::Continue(last) = look(&to, session, &path, every) else { return };
            if to.send(last).is_err() {
                return;
            }
            instance = found_again(&instance);
        }
    });
}

/// Waits until the instance runs. On a host, its root may be on another one than before, or the way there lead to
/// another run.
fn found_again(instance: &Instance) -> Instance {
    loop {
        match anywhere(Some(instance.name.as_str())) {
            Ok(found) => return found,
            Err(_) => clock::pause(LOOK_FOR),
        }
    }
}

/// Connecting succeeds even if no process listens; only a request shows that.
fn connect(instance: &Instance) -> Result<Session, AskError> {
    Session::connect(&instance.runtime)
}

/// Runs until the instance has ended, another root runs in its place, or the way to it is lost, and returns which;
/// breaks if the receiver is gone.
fn look(to: &SyncSender<Input>, mut session: Session, path: &Path, every: Span) -> ControlFlow<(), Input> {
    loop {
        let input = match session.status(path, SILENCE) {
            Err(AskError::Gone) => return ControlFlow::Continue(Input::Ended),
            Err(error @ AskError::Cut) => return ControlFlow::Continue(Input::Silent(Chain(&error).to_string())),
            // The events are to be followed anew.
            _ if session.root_has_exited() => return ControlFlow::Continue(Input::Ended),
            Ok(status) => Input::Status(Box::new(status)),
            Err(error) => Input::Silent(Chain(&error).to_string()),
        };
        if to.send(input).is_err() {
            return ControlFlow::Break(());
        }
        clock::pause(every);
    }
}

/// Follows the events until the instance has ended. If the screen is too slow, events are dropped and counted, so that
/// the root never waits.
fn follow(to: SyncSender<Input>, instance: &Instance, path: Path) {
    let Ok(mut session) = connect(instance) else { return };
    let wanted = EventsWanted { path, kinds: Vec::new(), from: None, follow: true };
    thread::spawn(move || {
        let mut dropped = 0;
        let mut each = |read: EventsRead| {
            match to.try_send(Input::Events { events: read.events, lost: read.lost + dropped }) {
                Ok(()) => dropped = 0,
                Err(TrySendError::Full(Input::Events { events, lost })) => dropped = lost + events.len() as u64,
                Err(_) => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        };
        // Repeated while the root has not answered at all. Other errors are reported by the looks.
        while let Err(AskError::NoAnswer { .. }) = session.events(&wanted, SILENCE, &mut each) {}
    });
}

/// The child whose output is to be read; set by the main loop, read by a thread.
#[derive(Clone)]
pub(super) struct Selected(Arc<Mutex<Path>>);

impl Selected {
    pub(super) fn new(path: Path) -> Selected {
        Selected(Arc::new(Mutex::new(path)))
    }

    pub(super) fn set(&self, path: &Path) {
        let mut selected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *selected != *path {
            *selected = path.clone();
        }
    }

    fn get(&self) -> Path {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads the last output of the selected child periodically, also across restarts of the instance.
pub(super) fn outputs(to: SyncSender<Input>, mut instance: Instance, selected: Selected) {
    thread::spawn(move || {
        let mut told = Vec::new();
        loop {
            let Ok(mut session) = connect(&instance) else { return };
            loop {
                let path = selected.get();
                match last_output(&mut session, &path) {
                    Err(AskError::Gone | AskError::Cut) => break,
                    // Errors are ignored: the looks report a silent root, and the selected child may be gone.
                    Err(_) => {}
                    Ok(outputs) if outputs == told => {}
                    Ok(outputs) => {
                        told.clone_from(&outputs);
                        if to.send(Input::Outputs(outputs)).is_err() {
                            return;
                        }
                    }
                }
                let clock = Clock::start();
                let again = clock.now() + READ_OUTPUT;
                while clock.now() < again && selected.get() == path {
                    clock::pause(NOTICE_SELECTION);
                }
            }
            instance = found_again(&instance);
        }
    });
}

/// The last output of the workers at and below `path`, the latest at the end.
fn last_output(session: &mut Session, path: &Path) -> Result<Vec<Output>, AskError> {
    let lines = Some(OUTPUT_LINES as u64);
    let asked = LogsAsked { paths: vec![path.clone()], lines, since_ms: None, follow: false };
    let mut outputs: Vec<(Option<String>, Output)> = Vec::new();
    session.logs(&asked, SILENCE, &mut |told| {
        for line in told.lines {
            let at = match outputs.iter().position(|(_, output)| output.path == line.path) {
                Some(at) => at,
                None => {
                    outputs.push((None, Output { path: line.path, lines: Vec::new(), live: true }));
                    outputs.len() - 1
                }
            };
            outputs[at].0 = line.at;
            outputs[at].1.lines.push(line.text);
        }
        ControlFlow::Continue(())
    })?;
    // RFC 3339 in UTC sorts as text.
    outputs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(outputs.into_iter().map(|(_, output)| output).collect())
}

/// Reads keys and size changes of the terminal. A terminal that is gone counts as SIGHUP.
pub(super) fn terminal(to: SyncSender<Input>) {
    thread::spawn(move || {
        loop {
            let input = match read() {
                Ok(Event::Key(key)) => match keys::of_terminal(key) {
                    Some(key) => Input::Key(key),
                    None => continue,
                },
                Ok(Event::Resize(..)) => Input::Resized,
                Ok(_) => continue,
                Err(_) => Input::Signal(1),
            };
            let last = matches!(input, Input::Signal(_));
            if to.send(input).is_err() || last {
                return;
            }
        }
    });
}

/// Waits for signals that end the program.
pub(super) fn signals(to: SyncSender<Input>, mut signals: Signals) {
    thread::spawn(move || {
        let clock = Clock::start();
        loop {
            if let Some(signal) = pause(&mut signals, &clock, Span::from_secs(3_600))
                && to.send(Input::Signal(signal)).is_err()
            {
                return;
            }
        }
    });
}

/// Carries out a request.
pub(super) fn request(to: SyncSender<Input>, instance: Instance, number: u64, kind: Kind, path: Path) {
    thread::spawn(move || {
        let (verb, word, asked) = match kind {
            Kind::Stop => ("stop", "stopped", Verb::Stop { path: path.clone() }),
            Kind::Restart => ("restart", "restarted", Verb::Restart { path: path.clone() }),
            Kind::Panic => ("panic", "killed", Verb::Panic { path: path.clone(), hold: false }),
            Kind::Hold => ("panic", "killed and held", Verb::Panic { path: path.clone(), hold: true }),
        };
        let ends_instance = path.is_root() && kind != Kind::Restart;
        let change = Change { verb, path: &path, asked, timeout: PATIENCE, ends_instance };
        let progress = to.clone();
        // The root may run on another host than when it was found first.
        let instance = anywhere(Some(instance.name.as_str())).unwrap_or(instance);
        let result = carry_out_with(change, &instance, &mut |waiting_for, _| {
            // If the channel is full, the next progress report replaces this one.
            let _ = progress.try_send(Input::Progress { number, waiting_for: waiting_for.to_owned() });
        });
        let result = match result {
            Ok(detail) => Ok(done_line(&path, &instance, word, &detail).trim_end().to_owned()),
            Err(failure) => Err(failure.in_a_line()),
        };
        let _ = to.send(Input::Done { number, result });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::session::testing::{Root, without_records};
    use std::sync::mpsc::sync_channel;

    #[test]
    fn a_root_to_which_the_way_is_lost_is_looked_for_and_has_not_ended() {
        let (root, runtime) = Root::below("host/via");
        let mut session = Session::connect(&runtime).unwrap();
        without_records(&mut session);
        let _directory = root.end();
        let (to, _inputs) = sync_channel(1);
        let last = look(&to, session, &Path::root(), Span::ZERO);
        assert!(matches!(last, ControlFlow::Continue(Input::Silent(_))));
    }
}
