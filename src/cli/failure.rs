//! How a verb ends: the exit status, or what was tried, what is wrong and what to do.

/// What the program's exit status means. The numbers are a contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Done = 0,
    /// The operation failed.
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
    /// The root gave up: too many restarts came too fast. Of `start` and `run`; also the exit status of nodes.
    GaveUp = 10,
    /// A child could not be started at boot. Of `start` and `run`; also the exit status of nodes.
    NotStarted = 11,
}

impl ExitCode {
    /// As a number.
    pub const fn number(self) -> i32 {
        self as i32
    }
}

/// Why a verb came to nothing.
#[derive(Debug)]
pub struct Failure {
    pub(super) code: i32,
    /// What was tried and what is wrong; empty when there is nothing to print.
    pub(super) message: String,
    /// What to do.
    pub(super) hint: Option<String>,
}

impl Failure {
    /// With no hint.
    pub fn new(code: ExitCode, message: impl Into<String>) -> Failure {
        Failure { code: code.number(), message: message.into(), hint: None }
    }

    /// What to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// What is wrong, without a word on what to do.
    pub(super) fn in_a_line(self) -> String {
        self.message
    }

    /// Our stdout has no reader any more. That is no failure of ours, and nothing to talk about.
    pub fn reader_left() -> Failure {
        Failure::new(ExitCode::Done, "")
    }

    /// All has been printed already.
    pub fn reported(code: ExitCode) -> Failure {
        Failure::new(code, "")
    }
}
