//! How a verb ends: the exit status, or what was tried, what is wrong and what to do.

/// The exit status of the program. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// What was asked for has been done, or was so already.
    Done = 0,
    Failed = 1,
    /// Wrong usage, or a file with errors.
    Usage = 2,
    /// No such instance runs.
    NoInstance = 3,
    /// No such path in the tree.
    NoPath = 4,
    /// No answer in time.
    NoAnswer = 5,
    /// No agent of a host runs here, or the root runs on another host.
    NoCluster = 6,
    /// The root gave up: too many restarts came too fast. For `start` and `run`; also the exit status of nodes.
    GaveUp = 10,
    /// A child could not be started at boot. For `start` and `run`; also the exit status of nodes.
    NotStarted = 11,
}

impl ExitCode {
    /// The exit status as a number.
    pub const fn number(self) -> i32 {
        self as i32
    }
}

/// Why a verb has failed.
#[derive(Debug)]
pub struct Failure {
    pub(super) code: i32,
    /// What was tried and what is wrong; empty if there is nothing to print.
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Failure {
        Failure { code: code.number(), message: message.into(), hint: None }
    }

    /// Adds a hint what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The message without the hint.
    pub(super) fn in_a_line(self) -> String {
        self.message
    }

    /// stdout has no reader any more: a verb that only reads ends silently with success.
    pub fn reader_left() -> Failure {
        Failure::new(ExitCode::Done, "")
    }

    /// Whether it is [`Failure::reader_left`].
    pub(super) fn is_reader_left(&self) -> bool {
        self.code == ExitCode::Done.number()
    }

    /// A failure that has been printed already.
    pub fn reported(code: ExitCode) -> Failure {
        Failure::new(code, "")
    }
}
