//! The table of keys: the keys of each table of a file, and which of them a worker's process gets at its start.

use super::exec::ExecSpec;
use super::kind::{Group, Kind};
use super::policy::ChildPolicy;
use super::shape::{Row, rows};
use resources::RESOURCES;
use rows::{BODY, BOUNDS, CHILD, NAME, OWN, PLACED, READY, SETUP, TOP};

pub(super) mod beat;
pub(super) mod listen;
pub(super) mod placement;
pub(super) mod process;
pub(super) mod ready;
pub(super) mod resources;
pub(super) mod rows;
pub(super) mod settings;
pub(super) mod switch;

/// The keys of a group.
pub(super) fn rows_of(group: Group) -> Vec<&'static dyn Row> {
    match group {
        Group::Top => rows(TOP),
        Group::Name => rows(NAME),
        Group::Child => rows(CHILD),
        Group::Own => rows(OWN),
        Group::Setup => rows(SETUP),
        Group::Ready => rows(READY),
        Group::Bounds => rows(BOUNDS),
        Group::Placed => rows(PLACED),
        Group::Body => rows(BODY),
        Group::Resources => rows(RESOURCES),
    }
}

/// The keys that a table of this kind can have.
pub(super) fn known(kind: Kind) -> Vec<&'static dyn Row> {
    kind.groups().iter().flat_map(|group| rows_of(*group)).collect()
}

/// The names of the keys that a table of this kind can have.
pub(super) fn names(kind: Kind) -> Vec<&'static str> {
    known(kind).iter().map(|row| row.name()).collect()
}

/// The tables with keys of their own, and their keys.
pub(super) fn tables() -> [(&'static str, Vec<&'static dyn Row>); 8] {
    [
        ("heartbeat", beat::WORKERS.rows()),
        ("source", beat::SOURCES.rows()),
        ("ready", ready::PROBES.rows()),
        ("listen", listen::SOCKETS.rows()),
        ("backoff", settings::BACKOFF_TABLE.rows()),
        ("update", settings::UPDATE.rows()),
        ("log", settings::LOG.rows()),
        ("journal", settings::JOURNAL.rows()),
    ]
}

/// For each key of a worker whose change needs a restart: its name, the reason, and the part of its value that the
/// process gets at its start.
pub(super) fn known_at_start(policy: &ChildPolicy, exec: &ExecSpec) -> Vec<(&'static str, &'static str, String)> {
    let of_policy = [CHILD, READY].into_iter().flatten().map(|key| key.known_by(policy, policy, exec));
    let of_exec = [OWN, SETUP, BOUNDS].into_iter().flatten().map(|key| key.known_by(exec, policy, exec));
    of_policy.chain(of_exec).flatten().collect()
}

/// Where a key belongs that tables of this kind do not have, if another table has it.
pub(super) fn elsewhere(key: &str, kind: Kind) -> Option<&'static str> {
    let is = |group: Group| rows_of(group).iter().any(|row| row.name() == key);
    let of_worker = [Group::Setup, Group::Ready, Group::Bounds].into_iter().any(is);
    match kind {
        Kind::Worker if is(Group::Body) => {
            Some("this child has a `command` and so is a worker; this key belongs to supervisors, which have children")
        }
        Kind::Supervisor if key == "command" => {
            Some("this child has children and so is a supervisor; `command` belongs to workers")
        }
        Kind::Supervisor if of_worker => Some(
            "this child has children and so is a supervisor; this key belongs to workers. For all workers below, write \
             it into this supervisor's `[defaults]`",
        ),
        Kind::Top if is(Group::Child) => Some(
            "the top level has no parent. The key belongs into a `[[child]]` table, or for all workers into \
             `[defaults]`",
        ),
        Kind::Top if of_worker || is(Group::Own) => {
            Some("a worker is a `[[child]]` table of its own; for all workers, write the key into `[defaults]`")
        }
        Kind::Defaults if is(Group::Own) || is(Group::Name) => Some("set it in each worker"),
        Kind::Defaults if is(Group::Body) => Some("`[defaults]` is for workers; set it in each supervisor"),
        _ if is(Group::Top) => {
            Some("it holds for a whole tree, so it stands at the top level of the file that is started")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::advice::{Advice, unknown};
    use super::super::kind::COUNT_GROUP;
    use super::*;

    fn advice(key: &str, kind: Kind) -> Advice {
        let shown: Vec<_> = names(kind).into_iter().filter(|key| *key != COUNT_GROUP).collect();
        unknown(key, &shown, kind.called(), |key| elsewhere(key, kind))
    }

    #[test]
    fn advice_finds_what_was_meant() {
        for (key, kind, word) in [
            ("stategy", Kind::Top, "strategy"),
            ("auto_shutdown", Kind::Supervisor, "auto-shutdown"),
            ("Restart", Kind::Worker, "restart"),
            ("stop_signal", Kind::Worker, "stop-signal"),
            ("strategy", Kind::Worker, "supervisors"),
            ("command", Kind::Top, "[[child]]"),
            ("user", Kind::Supervisor, "[defaults]"),
            ("ExecStart", Kind::Worker, "command ="),
            ("numprocs", Kind::Worker, "count"),
            ("max_restarts", Kind::Supervisor, "intensity"),
            ("containment", Kind::Supervisor, "top level"),
            ("journal", Kind::Worker, "top level"),
        ] {
            let advice = advice(key, kind);
            assert!(
                format!("{}{}", advice.label, advice.hint).contains(word),
                "{key}: {} {}",
                advice.label,
                advice.hint
            );
        }
        assert!(advice("zzzzzz", Kind::Worker).hint.contains("known keys are"));
        let small = unknown("intervall", &["interval", "misses"], "`heartbeat`", |_| None);
        assert!(small.label.contains("interval"), "{}", small.label);
    }
}
