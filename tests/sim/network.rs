//! A fake network: frames take time, and in bad weather they are lost, late, doubled, and so overtake one another.

use crate::kernel::Pid;
use crate::rng::Rng;
use treevisor::ids::ReportId;
use treevisor::supervision::{Beat, Run};
use treevisor::time::Span;
use treevisor::wire::message::{Reply, ToNode};

/// What is on its way between two processes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    /// A sign of life. It may be lost: the next one replaces it.
    Beat(Run, Box<Beat>),
    /// A worker reports by sd_notify that it is ready; a local datagram, which is not lost.
    Notify(Run),
    /// A node reports that all below it is up; sent again until it is acknowledged.
    Up(Run),
    /// A node reports why it gives up; sent again until it is acknowledged.
    Escalating(Run, Option<ReportId>, String),
    /// A node is asked something by its parent.
    Request(Box<ToNode>),
    /// A node replies to what it was asked.
    Reply(Run, u64, Box<Reply>),
    /// The parent has received `Up`.
    UpSeen,
    /// The parent has received `Escalating`.
    EscalatingSeen,
}

/// A frame with its addresses. Processes are never confused: a frame to a process that is gone goes nowhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Envelope {
    pub(crate) from: Pid,
    pub(crate) to: Pid,
    pub(crate) frame: Frame,
}

/// How bad it is just now, each in permille.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u32,
    pub(crate) late: u32,
    pub(crate) doubled: u32,
}

/// What becomes of one frame.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Transit {
    /// After which delays it arrives: never, once or twice.
    pub(crate) arrivals: [Option<Span>; 2],
    /// It was lost or delayed by more than a healthy network takes.
    pub(crate) troubled: bool,
}

pub(crate) struct Network {
    rng: Rng,
    pub(crate) weather: Weather,
}

impl Network {
    pub(crate) fn new(rng: Rng) -> Network {
        Network { rng, weather: Weather::default() }
    }

    /// Decides what becomes of a frame.
    pub(crate) fn send(&mut self, frame: &Frame) -> Transit {
        let may_be_lost = !matches!(frame, Frame::Notify(_));
        let mut transit = Transit::default();
        let Weather { lost, late, doubled } = self.weather;
        if may_be_lost && self.rng.chance(lost) {
            transit.troubled = true;
            return transit;
        }
        let copies = 1 + usize::from(self.rng.chance(doubled));
        for arrival in &mut transit.arrivals[..copies] {
            *arrival = Some(if self.rng.chance(late) {
                transit.troubled = true;
                self.rng.millis(50, 3_000)
            } else {
                Span::from_nanos(self.rng.between(20_000, 4_000_000))
            });
        }
        transit
    }
}
