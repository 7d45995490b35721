//! What a node keeps of an upgrade: its course, the executable, and the child nodes that cannot be asked meanwhile.

use super::course::Course;
use super::rehearsal::Rehearsal;
use crate::ids::Path;
use crate::node::requests::Question;
use crate::os::executable::Executable;
use crate::supervision::Run;
use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A child node that is being replaced has so long before what is asked of it is asked all the same.
pub(super) const AWAY: Span = Span::from_secs(5);

/// So long a child node may be silent that was ordered to be replaced: until it can be, and until the other image has given up.
pub(super) const SPARED: Span = Span::from_secs(15);

/// What a node keeps of an upgrade.
#[derive(Default)]
pub(in crate::node) struct Upgrading {
    pub(super) course: Option<Course>,
    /// The executable.
    pub(super) file: Option<Executable>,
    pub(super) rehearsal: Option<Rehearsal>,
    /// It begins when all are ready.
    pub(super) then: bool,
    /// What an earlier upgrade has not reached, with the versions there.
    pub(super) behind: Vec<(Path, String)>,
    /// When to look again whether this node can be replaced.
    pub(super) again: Option<Time>,
    /// Child nodes that cannot be asked now.
    pub(super) away: HashMap<Run, Away>,
    /// Child nodes that may be silent, as they are being replaced.
    pub(super) spared: HashMap<Run, Spared>,
    /// How much of the course was reported to the asker.
    pub(super) told: usize,
}

/// A child node that cannot be asked now.
pub(super) struct Away {
    /// Not for longer than this.
    pub(super) until: Time,
    /// What is to be asked then.
    pub(super) held: Vec<Question>,
    /// It has not connected yet to this image. Else it is being replaced itself.
    pub(super) connects: bool,
}

/// A child node that may be silent.
pub(super) struct Spared {
    /// Not for longer than this.
    pub(super) until: Time,
    /// It is there again, and has not beaten since.
    pub(super) back: bool,
}

/// What of it goes over to the other image.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::node) struct CarriedUpgrading {
    course: Option<Course>,
    behind: Vec<(Path, String)>,
}

impl Upgrading {
    pub(in crate::node) fn pack(&self) -> CarriedUpgrading {
        let Upgrading { course, file: _, rehearsal: _, then: _, behind, again: _, away: _, spared: _, told: _ } = self;
        CarriedUpgrading { course: course.clone(), behind: behind.clone() }
    }

    /// Child nodes connect again: what is asked of them meanwhile waits.
    pub(in crate::node) fn unpack(
        carried: CarriedUpgrading,
        now: Time,
        nodes: impl IntoIterator<Item = Run>,
    ) -> Upgrading {
        let CarriedUpgrading { course, behind } = carried;
        let away =
            nodes.into_iter().map(|run| (run, Away { until: now + AWAY, held: Vec::new(), connects: true })).collect();
        Upgrading { course, behind, away, ..Upgrading::default() }
    }

    pub(in crate::node) fn next_deadline(&self) -> Option<Time> {
        let away = self.away.values().filter(|away| !away.held.is_empty()).map(|away| away.until);
        let rehearsal = self.rehearsal.as_ref().and_then(Rehearsal::deadline);
        away.chain(rehearsal).chain(self.again).chain(self.course.as_ref().and_then(Course::next_deadline)).min()
    }

    /// A question to a child node that is being replaced waits. Gives back one that does not.
    pub(in crate::node) fn hold(&mut self, now: Time, question: Question) -> Option<Question> {
        match self.away.get_mut(&question.node) {
            Some(away) if away.until > now => {
                away.held.push(question);
                None
            }
            _ => Some(question),
        }
    }

    /// Why a child node that is overdue is not taken for hung: the image that takes its place has a limit of its own, after which the
    /// one before goes on.
    pub(in crate::node) fn spares(&self, run: Run, now: Time) -> Option<String> {
        let spared = self.spared.get(&run)?;
        (now < spared.until).then(|| "it is being replaced by another executable".to_owned())
    }

    /// A child node is there again, as one image or the other. Its silence lasts until its next beat.
    pub(in crate::node) fn is_back(&mut self, run: Run) {
        self.spared.entry(run).and_modify(|spared| spared.back = true);
    }

    /// A child node has beaten.
    pub(in crate::node) fn beat(&mut self, run: Run) {
        self.spared.retain(|spared, how| *spared != run || !how.back);
    }

    /// A child node's process is gone.
    pub(in crate::node) fn lost(&mut self, gone: Run) {
        self.spared.remove(&gone);
        self.away.remove(&gone);
        self.course.iter_mut().for_each(|course| course.lost(gone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::ChildId;

    #[test]
    fn a_supervisor_that_is_replaced_is_spared_until_it_is_back_and_beats() {
        let run = Run { child: ChildId(1), incarnation: crate::ids::Incarnation::FIRST };
        let mut upgrading = Upgrading::default();
        let spared =
            |upgrading: &Upgrading, after| upgrading.spares(run, Time::ZERO + Span::from_secs(after)).is_some();
        assert!(!spared(&upgrading, 0));
        upgrading.spared.insert(run, Spared { until: Time::ZERO + SPARED, back: false });
        // A beat that was sent before.
        upgrading.beat(run);
        assert!(spared(&upgrading, 14) && !spared(&upgrading, 15));
        upgrading.is_back(run);
        assert!(spared(&upgrading, 14));
        upgrading.beat(run);
        assert!(!spared(&upgrading, 14));
        // One that was not told to be replaced.
        upgrading.is_back(run);
        assert!(!spared(&upgrading, 0));
    }
}
