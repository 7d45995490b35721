//! How the end of a tree is reported: in the journal, in the log, and to a service manager.

use crate::supervision::End;

/// The texts for one kind of end.
pub(super) struct Texts {
    /// The reason that its last line in the journal has.
    pub journal: &'static str,
    /// In the root's log.
    pub log: Option<&'static str>,
    /// To a service manager, where the cause may follow.
    pub status: &'static str,
    /// Whether it is an error. The log explains then what led to it.
    pub is_error: bool,
}

/// What is reported of an end.
pub(super) fn texts(end: End) -> Texts {
    match end {
        End::Stopped => Texts {
            journal: "the tree was stopped",
            log: Some("the tree was stopped"),
            status: "the tree was stopped",
            is_error: false,
        },
        End::HandedOver => Texts {
            journal: "the root goes to another host",
            log: Some("the root goes to another host"),
            status: "the root goes to another host",
            is_error: false,
        },
        End::AutoShutdown => Texts {
            journal: "the tree ended by itself: its significant children were done",
            log: Some("the tree has ended by itself: its significant children are done"),
            status: "the tree has ended by itself",
            is_error: false,
        },
        End::GaveUp => Texts {
            journal: "the root gave up: too many restarts came too fast",
            log: Some("the root gave up"),
            status: "the root gave up",
            is_error: true,
        },
        End::StartFailed => Texts {
            journal: "a child could not be started at boot",
            log: Some("the tree could not be started"),
            status: "the tree could not be started",
            is_error: true,
        },
        End::Panicked => Texts {
            journal: "the whole tree was killed by order",
            log: Some("the whole tree was killed by order"),
            status: "the whole tree was killed by order",
            is_error: true,
        },
        End::Terminated => Texts {
            journal: "the root was ended by a SIGTERM from outside the tree",
            log: None,
            status: "the tree was stopped",
            is_error: true,
        },
        End::Orphaned => Texts {
            journal: "the process that started the tree was gone",
            log: None,
            status: "the tree was stopped",
            is_error: true,
        },
    }
}
