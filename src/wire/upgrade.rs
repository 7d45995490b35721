//! Hot upgrades, the part without I/O: when an upgrade is refused, which child node is upgraded next, and the result
//! that `treevisor upgrade` prints.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;

/// Most child nodes of one node that are upgraded at the same time.
pub const AT_ONCE: usize = 4;

/// The result of an upgrade for one supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The supervisor runs the new version.
    Upgraded,
    /// Its rehearsal has succeeded.
    Ready,
    /// The supervisor keeps its version and was not asked, because one above it could not be upgraded.
    Kept,
    /// The supervisor could not be upgraded and keeps its version.
    Failed,
}

/// One supervisor, as in `upgrade --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Supervisor {
    /// From the root, `/a/b`.
    pub path: String,
    /// The result for it.
    pub state: State,
    /// The version that it runs.
    pub version: String,
    /// The gap: for how many milliseconds it neither read nor acted; `null` if there was none.
    pub gap_ms: Option<u64>,
    /// What went wrong; `null` if nothing did.
    pub message: Option<String>,
}

impl fmt::Display for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Supervisor { path, state, version, .. } = self;
        match state {
            State::Upgraded => write!(f, "{path}: upgraded to {version}")?,
            State::Ready => write!(f, "{path}: ready")?,
            State::Kept => write!(f, "{path}: kept at {version}")?,
            State::Failed => write!(f, "{path}: failed, still {version}")?,
        }
        if let Some(gap) = self.gap_ms {
            write!(f, ", the gap was {gap} ms")?;
        }
        self.message.iter().try_for_each(|message| write!(f, ": {message}"))
    }
}

/// The whole upgrade, as `upgrade --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The version that the root had.
    pub from: String,
    /// The version of the new executable.
    pub to: String,
    /// The upgrade is over.
    pub done: bool,
    /// The supervisors whose result is known.
    pub supervisors: Vec<Supervisor>,
    /// The longest gap in milliseconds; `null` if there was none.
    pub longest_gap_ms: Option<u64>,
}

impl Upgrade {
    /// The result so far, for these supervisors.
    pub fn new(from: String, to: String, done: bool, supervisors: Vec<Supervisor>) -> Upgrade {
        let longest_gap_ms = supervisors.iter().filter_map(|supervisor| supervisor.gap_ms).max();
        Upgrade { from, to, done, supervisors, longest_gap_ms }
    }

    /// The exit status of the verb: 0 if all are upgraded or ready, 1 if some failed or were kept, 5 if the upgrade is
    /// not over.
    pub fn exit_code(&self) -> i32 {
        let well = |supervisor: &Supervisor| matches!(supervisor.state, State::Upgraded | State::Ready);
        match self.done {
            true if self.supervisors.iter().all(well) => 0,
            true => 1,
            false => 5,
        }
    }

    /// The last line on a terminal, which begins with the name of the instance; `check` if it was only a rehearsal.
    pub fn summary(&self, instance: &str, check: bool) -> String {
        let count = |state| self.supervisors.iter().filter(|supervisor| supervisor.state == state).count();
        let all = self.supervisors.len();
        let (well, what) =
            if check { (count(State::Ready), "ready to be upgraded") } else { (count(State::Upgraded), "upgraded") };
        let number = if well == all || !self.done { well.to_string() } else { format!("{well} of {all}") };
        let supervisors = if all == 1 { "supervisor" } else { "supervisors" };
        let (from, to) = (&self.from, &self.to);
        let mut text = format!("{instance}: {number} {supervisors} {what} from {from} to {to}");
        if let Some(gap) = self.longest_gap_ms {
            text += &format!(", the longest gap was {gap} ms");
        }
        for (count, what) in [(count(State::Failed), "failed"), (count(State::Kept), "kept")] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        if !self.done {
            text += "; it goes on";
        }
        text
    }
}

/// The state of the root that decides whether an upgrade may begin.
#[derive(Debug, Clone, Copy, Default)]
pub struct Present<'a> {
    /// The version to which the tree is being upgraded.
    pub upgrading_to: Option<&'a str>,
    /// A reload is under way or waits.
    pub reloading: bool,
    /// The tree is being stopped.
    pub ending: bool,
    /// Its children are being started for the first time.
    pub booting: bool,
}

/// Why an upgrade is refused. A refused upgrade has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another upgrade is under way.
    UnderWay {
        /// The version to which it upgrades.
        to: String,
    },
    /// The tree is being reloaded.
    Reloading,
    /// The tree is being stopped.
    Ending,
    /// The tree is being started.
    Booting,
    /// The rehearsal of a supervisor has failed.
    Rehearsal {
        /// Of the supervisor, `/a/b`.
        path: String,
        /// The reason that it reported.
        reason: String,
    },
}

impl Refusal {
    /// The reason to refuse an upgrade now, if there is one.
    pub fn of(present: Present<'_>) -> Option<Refusal> {
        match present {
            // A tree that is being stopped refuses whatever else is under way, so this comes first.
            Present { ending: true, .. } => Some(Refusal::Ending),
            Present { upgrading_to: Some(to), .. } => Some(Refusal::UnderWay { to: to.to_owned() }),
            Present { booting: true, .. } => Some(Refusal::Booting),
            Present { reloading: true, .. } => Some(Refusal::Reloading),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::UnderWay { to } => {
                write!(f, "an upgrade is under way, to {to}: `treevisor status` shows when it is done")
            }
            Refusal::Reloading => {
                f.write_str("the tree is being reloaded: upgrade it when that is done, as `treevisor status` shows")
            }
            Refusal::Ending => f.write_str("the tree is being stopped"),
            Refusal::Booting => f.write_str("the tree is still being started: upgrade it after `treevisor wait`"),
            Refusal::Rehearsal { path, reason } => {
                write!(f, "the rehearsal of {path} has failed, and nothing was changed: {reason}")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The message that refuses a change below a supervisor that was not upgraded; it says what to do.
pub fn left_behind(path: &str, version: &str, above: &str) -> String {
    format!(
        "{path} runs treevisor {version} and the supervisor above it {above}: nothing can be changed there before `treevisor upgrade` has brought it along"
    )
}

/// Which child nodes of one node are upgraded next: in their order, [`AT_ONCE`] at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turns<T: Ord> {
    waiting: VecDeque<T>,
    under_way: BTreeSet<T>,
}

impl<T: Ord + Clone> Turns<T> {
    /// All children wait at first.
    pub fn new(children: impl IntoIterator<Item = T>) -> Turns<T> {
        Turns { waiting: children.into_iter().collect(), under_way: BTreeSet::new() }
    }

    /// A child that was to begin cannot begin yet: it becomes the next one again.
    pub fn later(&mut self, child: T) {
        self.under_way.remove(&child);
        self.waiting.push_front(child);
    }

    /// Removes the waiting children for which `stays` is false.
    pub fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        self.waiting.retain(stays);
    }

    /// The children whose upgrade is to begin now.
    pub fn begin(&mut self) -> Vec<T> {
        let free = AT_ONCE.saturating_sub(self.under_way.len()).min(self.waiting.len());
        let next: Vec<T> = self.waiting.drain(..free).collect();
        self.under_way.extend(next.iter().cloned());
        next
    }

    /// A child has finished its part, with or without success, or is gone. Another one may begin after this.
    pub fn ended(&mut self, child: &T) {
        self.under_way.remove(child);
        self.waiting.retain(|waiting| waiting != child);
    }

    /// Whether no child waits and none is under way.
    pub fn are_over(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str, state: State, gap_ms: Option<u64>) -> Supervisor {
        let version = if state == State::Upgraded { "0.2.0" } else { "0.1.0" };
        let message = (state == State::Failed).then(|| "no descriptor is left".to_owned());
        Supervisor { path: path.into(), state, version: version.into(), gap_ms, message }
    }

    fn upgrade(done: bool, supervisors: Vec<Supervisor>) -> Upgrade {
        Upgrade::new("0.1.0".into(), "0.2.0".into(), done, supervisors)
    }

    #[test]
    fn all_upgraded_or_ready_is_success() {
        let all = upgrade(true, vec![one("/", State::Upgraded, Some(7)), one("/web", State::Upgraded, Some(23))]);
        assert_eq!((all.exit_code(), all.longest_gap_ms), (0, Some(23)));
        let line = "shop: 2 supervisors upgraded from 0.1.0 to 0.2.0, the longest gap was 23 ms";
        assert_eq!(all.summary("shop", false), line);
        assert_eq!(all.supervisors[1].to_string(), "/web: upgraded to 0.2.0, the gap was 23 ms");
        let ready = upgrade(true, vec![one("/", State::Ready, None)]);
        assert_eq!(ready.exit_code(), 0);
        assert_eq!(ready.summary("shop", true), "shop: 1 supervisor ready to be upgraded from 0.1.0 to 0.2.0");
        assert_eq!(ready.supervisors[0].to_string(), "/: ready");
    }

    #[test]
    fn one_that_could_not_is_named_and_counted() {
        let some = upgrade(
            true,
            vec![
                one("/", State::Upgraded, Some(7)),
                one("/web", State::Failed, None),
                one("/web/api", State::Kept, None),
            ],
        );
        assert_eq!(some.exit_code(), 1);
        let line = "shop: 1 of 3 supervisors upgraded from 0.1.0 to 0.2.0, the longest gap was 7 ms, 1 failed, 1 kept";
        assert_eq!(some.summary("shop", false), line);
        assert_eq!(some.supervisors[1].to_string(), "/web: failed, still 0.1.0: no descriptor is left");
        assert_eq!(some.supervisors[2].to_string(), "/web/api: kept at 0.1.0");
    }

    #[test]
    fn what_goes_on_is_no_failure_yet() {
        let part = upgrade(false, vec![one("/", State::Upgraded, Some(7))]);
        assert_eq!(part.exit_code(), 5);
        let line = "shop: 1 supervisor upgraded from 0.1.0 to 0.2.0, the longest gap was 7 ms; it goes on";
        assert_eq!(part.summary("shop", false), line);
    }

    #[test]
    fn the_json_has_these_members() {
        let json = serde_json::to_string(&upgrade(true, vec![one("/db", State::Failed, None)])).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"from":"0.1.0","to":"0.2.0","done":true,"supervisors":[{"path":"/db","state":"failed","#,
                r#""version":"0.1.0","gap_ms":null,"message":"no descriptor is left"}],"longest_gap_ms":null}"#,
            )
        );
    }

    #[test]
    fn what_is_under_way_refuses_an_upgrade() {
        let why = |present| Refusal::of(present).map(|refusal| refusal.to_string()).unwrap_or_default();
        assert_eq!(why(Present::default()), "");
        let busy = Present { upgrading_to: Some("0.2.0"), reloading: true, ending: false, booting: true };
        assert_eq!(why(busy), "an upgrade is under way, to 0.2.0: `treevisor status` shows when it is done");
        assert_eq!(why(Present { ending: true, ..busy }), "the tree is being stopped");
        assert!(why(Present { upgrading_to: None, ..busy }).starts_with("the tree is still being started"));
        assert!(why(Present { reloading: true, ..Present::default() }).starts_with("the tree is being reloaded"));
        let rehearsal = Refusal::Rehearsal { path: "/db".into(), reason: "it took 10 s".into() };
        assert_eq!(rehearsal.to_string(), "the rehearsal of /db has failed, and nothing was changed: it took 10 s");
        assert!(left_behind("/web", "0.1.0", "0.2.0").starts_with("/web runs treevisor 0.1.0 and"));
    }

    #[test]
    fn four_at_a_time_in_their_order() {
        let mut turns = Turns::new(0..6);
        assert_eq!(turns.begin(), [0, 1, 2, 3]);
        assert!(turns.begin().is_empty());
        turns.ended(&2);
        assert_eq!(turns.begin(), [4]);
        // Gone before its turn.
        turns.ended(&5);
        turns.ended(&0);
        assert!(turns.begin().is_empty() && !turns.are_over());
        [1, 3, 4].iter().for_each(|child| turns.ended(child));
        assert!(turns.are_over());
        assert!(Turns::<u32>::new([]).are_over());
    }
}
