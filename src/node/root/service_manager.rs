//! Reports of the root to the service manager that has started it, by sd_notify(3): that the tree is up, its health,
//! watchdog messages, and that it ends and why. The manager may be systemd, `podman --sdnotify=container`, or treevisor
//! itself.
//!
//! Nothing here blocks. If the manager does not read, messages that must arrive are sent again later; others are
//! dropped. Watchdog messages are sent by the loop alone, so that the manager notices when the root hangs. They are the
//! only thing that wakes the loop when nothing happens.

use crate::error::Chain;
use crate::node::end;
use crate::os::clock;
use crate::supervision::{ChildId, End, Fact, Rollup, State, Supervisor};
use crate::text::{clean, cut};
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use slog::{Logger, info, warn};
use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use treevisor_client::Notifier;

/// The shortest time between two reports of the tree's health.
const STATUS_EVERY: Span = Span::from_secs(1);

/// After how long a message that must arrive is sent again.
const AGAIN: Span = Span::from_millis(50);

/// How many messages are kept for a manager that does not read.
const OWED_MAX: usize = 16;

/// `systemctl status` shows a text of this length completely.
const TEXT_MAX: usize = 512;

/// The connection to the service manager.
pub(in crate::node) struct ServiceManager {
    notifier: Notifier,
    /// The interval of watchdog messages: half of the manager's limit.
    beat_every: Option<Span>,
    beat_at: Option<Time>,
    /// Messages that must arrive and could not be sent yet.
    owed: Vec<String>,
    again_at: Option<Time>,
    /// The health that was reported last, and when.
    told: String,
    told_at: Option<Time>,
    /// Something has happened since that report.
    stale: bool,
    up: bool,
    stopping: bool,
    /// The last report was sent.
    over: bool,
    /// A reload was reported to the manager, and its end was not yet.
    reloading: bool,
    /// The last reports of the child nodes about their subtrees, without the ages of heartbeats.
    below: HashMap<ChildId, Rollup>,
    /// The errno of the last start that failed.
    errno: Option<i32>,
}

/// The same in the snapshot of a hot upgrade. The socket is not in it: the environment names it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedManager {
    owed: Vec<String>,
    told: String,
    up: bool,
    stopping: bool,
    reloading: bool,
    #[serde(with = "crate::node::pairs")]
    below: HashMap<ChildId, Rollup>,
    errno: Option<i32>,
}

impl ServiceManager {
    /// What of this goes into the snapshot of an upgrade.
    pub(crate) fn pack(&self) -> CarriedManager {
        // After the upgrade, a watchdog message, the messages owed, and the health are sent at once.
        let ServiceManager {
            notifier: _,
            beat_every: _,
            beat_at: _,
            owed,
            again_at: _,
            told,
            told_at: _,
            stale: _,
            up,
            stopping,
            // After its last report a root is not upgraded any more.
            over: _,
            reloading,
            below,
            errno,
        } = self;
        CarriedManager {
            owed: owed.clone(),
            told: told.clone(),
            up: *up,
            stopping: *stopping,
            reloading: *reloading,
            below: below.clone(),
            errno: *errno,
        }
    }

    /// The same from the snapshot of the program that ran before.
    pub(crate) fn unpack(carried: CarriedManager, logger: &Logger) -> Option<ServiceManager> {
        let CarriedManager { owed, told, up, stopping, reloading, below, errno } = carried;
        let again_at = (!owed.is_empty()).then_some(Time::ZERO);
        let new = ServiceManager::from_env(logger)?;
        Some(ServiceManager { owed, again_at, told, stale: true, up, stopping, reloading, below, errno, ..new })
    }

    /// The manager that the environment names; `None` if there is none.
    pub(crate) fn from_env(logger: &Logger) -> Option<ServiceManager> {
        let notifier = match Notifier::from_env() {
            Ok(notifier) => notifier?,
            Err(error) => {
                warn!(logger, "cannot report to the service manager"; "error" => %Chain(&error));
                return None;
            }
        };
        let variable = |name: &str| std::env::var(name).ok();
        let limit = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id());
        let beat_every = limit.map(|limit| limit.scaled(0.5));
        info!(logger, "reporting to the service manager";
            "watchdog_ms" => beat_every.map(|every| every.times(2).as_millis()));
        Some(ServiceManager {
            notifier,
            beat_every,
            beat_at: limit.map(|_| Time::ZERO),
            owed: Vec::new(),
            again_at: None,
            told: String::new(),
            told_at: None,
            stale: false,
            up: false,
            stopping: false,
            over: false,
            reloading: false,
            below: HashMap::new(),
            errno: None,
        })
    }

    /// When the loop has to wake up for the manager.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let status = (self.stale && !self.over).then(|| self.told_at.map_or(Time::ZERO, |told| told + STATUS_EVERY));
        [self.beat_at, self.again_at, status].into_iter().flatten().min()
    }

    /// Something has happened in the tree.
    pub(crate) fn mark_changed(&mut self) {
        self.stale = true;
    }

    /// A child node has reported the health of its subtree.
    pub(crate) fn take_beat_of(&mut self, child: ChildId, rollup: &Rollup) {
        let counts = Rollup { oldest_beat: None, ..rollup.clone() };
        if self.below.get(&child) != Some(&counts) {
            self.below.insert(child, counts);
            self.stale = true;
        }
    }

    /// Sends a message without blocking. If it `must` arrive and cannot be sent now, it is sent later.
    fn say(&mut self, now: Time, words: String, must: bool) {
        if must && !self.owed.is_empty() {
            // Keeps the order of the messages.
            self.owe(now, words);
            return;
        }
        match self.notifier.send(&words) {
            Err(error) if must && is_full(&error) => self.owe(now, words),
            // If the manager is gone, the message is dropped.
            _ => {}
        }
    }

    fn owe(&mut self, now: Time, words: String) {
        keep(&mut self.owed, words);
        self.again_at = Some(now + AGAIN);
    }

    fn pay(&mut self, now: Time) {
        if self.again_at.is_none_or(|at| at > now) {
            return;
        }
        self.again_at = None;
        while let Some(words) = self.owed.first() {
            match self.notifier.send(words) {
                Err(error) if is_full(&error) => {
                    self.again_at = Some(now + AGAIN);
                    return;
                }
                _ => drop(self.owed.remove(0)),
            }
        }
    }

    pub(crate) fn beat(&mut self, now: Time) {
        if let Some(every) = self.beat_every
            && self.beat_at.is_some_and(|at| at <= now)
        {
            self.beat_at = Some(now + every);
            self.say(now, "WATCHDOG=1".into(), false);
        }
    }

    /// All children are up: sends `READY=1` with the first health, which must arrive.
    pub(crate) fn tree_is_up(&mut self, now: Time, core: &Supervisor) {
        let mut rollup = core.rollup(now);
        // The child nodes have reported that they are up; their last counts are older than that.
        rollup.running = rollup.running.saturating_add(std::mem::take(&mut rollup.starting));
        let health = health(&rollup);
        self.up = true;
        self.say(now, format!("READY=1\nSTATUS={health}"), true);
        self.told = health;
        self.told_at = Some(now);
        self.stale = true;
    }

    /// Reports that a reload begins. It ends when the file has been read and the core has no reload left, whatever the
    /// result: a manager of `Type=notify-reload` waits for that.
    pub(crate) fn reloading(&mut self, now: Time) {
        if !std::mem::replace(&mut self.reloading, true) {
            self.say(now, format!("RELOADING=1\nMONOTONIC_USEC={}", clock::machine_micros()), true);
        }
    }

    /// An upgrade begins, which is a reload to the manager. A watchdog message is sent right before it, and by the new
    /// program at once.
    pub(crate) fn is_replaced(&mut self, now: Time) {
        self.feed(now);
        self.reloading(now);
    }

    /// Sends a watchdog message now, since the next step may take long.
    pub(crate) fn feed(&mut self, now: Time) {
        self.beat_at = self.beat_every.map(|_| now);
        self.beat(now);
    }

    /// To be called once in every turn. `reads`: the tree's file is being read.
    pub(crate) fn due(&mut self, now: Time, core: &Supervisor, reads: bool) {
        self.pay(now);
        self.beat(now);
        if self.over {
            return;
        }
        if self.reloading && !reads && !core.is_reloading() {
            self.reloading = false;
            // While the tree is not up, READY=1, which ends a reload, would report it as up.
            let words = if self.up { "READY=1" } else { "STATUS=starting" };
            self.say(now, words.into(), true);
            self.stale = true;
        }
        if core.state() == State::Stopping && !self.stopping {
            self.stopping = true;
            self.stale = true;
            self.told_at = None;
            self.say(now, "STOPPING=1".into(), true);
        }
        if !self.stale || self.told_at.is_some_and(|told| now.since(told) < STATUS_EVERY) {
            return;
        }
        self.stale = false;
        let health = health(&core.rollup(now));
        let text = match (self.stopping, self.up) {
            (true, _) => format!("stopping; {health}"),
            (false, false) => format!("starting; {health}"),
            (false, true) => health,
        };
        self.told_at = Some(now);
        if text != self.told {
            self.say(now, format!("STATUS={text}"), false);
            self.told = text;
        }
    }

    /// Keeps the errno that is reported if the tree cannot be started.
    pub(crate) fn note(&mut self, fact: &Fact) {
        if let Fact::StartFailed { failure, .. } = fact {
            self.errno = Some(failure.errno).filter(|errno| *errno > 0);
        }
    }

    /// Sends the last report: that the tree ends, with which exit status, and why.
    pub(crate) fn end(&mut self, now: Time, end: End, first_cause: Option<String>) {
        let mut words = String::new();
        if !std::mem::replace(&mut self.stopping, true) {
            words.push_str("STOPPING=1\n");
        }
        let _ = write!(words, "EXIT_STATUS={}", end.code());
        if let (End::StartFailed, Some(errno)) = (end, self.errno) {
            let _ = write!(words, "\nERRNO={errno}");
        }
        let why = end::texts(end).status;
        let text = match first_cause {
            Some(cause) => format!("{why}: {}", clean(&cause)),
            None => why.to_owned(),
        };
        let _ = write!(words, "\nSTATUS={}", shortened(&text));
        self.over = true;
        self.say(now, words, true);
        self.again_at = Some(now);
        self.pay(now);
    }
}

/// Whether the queue of the manager's socket is full.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Reports to the service manager that the root cannot start at all.
pub(in crate::node) fn report_no_beginning(why: &str, code: i32) {
    if let Ok(Some(notifier)) = Notifier::from_env() {
        let words = format!("STATUS={}\nEXIT_STATUS={code}", shortened(&clean(why)));
        // If this fails, the log still has the reason.
        let _ = notifier.send(&words);
    }
}

/// The manager's limit for watchdog messages, if it watches this process.
fn watchdog(micros: Option<String>, pid: Option<String>, own: u32) -> Option<Span> {
    let ours = pid.is_none_or(|pid| pid.trim().parse() == Ok(own));
    let micros: u64 = micros?.trim().parse().ok()?;
    (ours && micros > 0).then(|| Span::from_nanos(micros.saturating_mul(1_000)))
}

/// The tree's health as text: "10 workers: 9 running, 1 starting or waiting; 3 restarts".
fn health(rollup: &Rollup) -> String {
    let Rollup { running, starting, stopping, down, done, unstarted, restarts, .. } = rollup;
    let counts = [
        (running, "running"),
        (starting, "starting or waiting"),
        (stopping, "stopping"),
        (down, "down"),
        (done, "done"),
        (unstarted, "not started"),
    ];
    let workers: u64 = counts.iter().map(|(number, _)| u64::from(**number)).sum();
    let parts: Vec<_> =
        counts.iter().filter(|(number, _)| **number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    let plural = |number: u64| if number == 1 { "" } else { "s" };
    let mut text = format!("{workers} worker{}", plural(workers));
    if !parts.is_empty() {
        let _ = write!(text, ": {}", parts.join(", "));
    }
    let _ = write!(text, "; {restarts} restart{}", plural(*restarts));
    text
}

/// Keeps a message that must arrive. The oldest ones give way: without the last `READY=1` the manager would wait for
/// the end of a reload.
fn keep(owed: &mut Vec<String>, words: String) {
    if owed.len() >= OWED_MAX {
        owed.remove(0);
    }
    owed.push(words);
}

/// The first line of a text, cut to `TEXT_MAX`.
fn shortened(text: &str) -> &str {
    cut(text.lines().next().unwrap_or_default(), TEXT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_that_is_named() {
        let micros = || Some("3000000".to_owned());
        assert_eq!(watchdog(micros(), None, 7), Some(Span::from_secs(3)));
        assert_eq!(watchdog(micros(), Some("7".into()), 7), Some(Span::from_secs(3)));
        assert_eq!(watchdog(micros(), Some("8".into()), 7), None);
        assert_eq!(watchdog(micros(), Some("x".into()), 7), None);
        assert_eq!(watchdog(None, Some("7".into()), 7), None);
        for none in ["0", "", "-1", "soon"] {
            assert_eq!(watchdog(Some(none.into()), None, 7), None, "{none}");
        }
    }

    #[test]
    fn the_newest_messages_are_kept_for_a_manager_that_does_not_read() {
        let mut owed = Vec::new();
        for _ in 0..OWED_MAX {
            keep(&mut owed, "RELOADING=1".into());
            keep(&mut owed, "READY=1".into());
        }
        keep(&mut owed, "STOPPING=1".into());
        assert_eq!(
            (owed.len(), &owed[OWED_MAX - 2..]),
            (OWED_MAX, &["READY=1".to_owned(), "STOPPING=1".to_owned()][..])
        );
    }

    #[test]
    fn health_is_told_in_a_line() {
        let rollup = Rollup { running: 9, starting: 1, restarts: 3, supervisors: 2, ..Rollup::default() };
        assert_eq!(health(&rollup), "10 workers: 9 running, 1 starting or waiting; 3 restarts");
        assert_eq!(health(&Rollup { down: 1, restarts: 1, ..Rollup::default() }), "1 worker: 1 down; 1 restart");
        assert_eq!(
            health(&Rollup { running: 1, done: 1, ..Rollup::default() }),
            "2 workers: 1 running, 1 done; 0 restarts"
        );
        assert_eq!(health(&Rollup::default()), "0 workers; 0 restarts");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long = "€".repeat(TEXT_MAX);
        assert!(shortened(&long).len() <= TEXT_MAX && shortened(&long).chars().all(|c| c == '€'));
        assert_eq!(shortened("a\nREADY=1"), "a");
    }
}
