//! What the console is to be, and what it takes from the command line.

use super::host::PublicUrl;
use crate::spec::listen::Address;
use crate::wire::view::StatusView;

/// What the console is to be.
pub struct Config {
    /// The instance, where it was named.
    pub instance: Option<String>,
    /// Where it listens.
    pub listen: Vec<Address>,
    /// How browsers reach it.
    pub public_url: Option<PublicUrl>,
    /// No session and no key may act.
    pub read_only: bool,
    /// `/metrics` alone.
    pub no_pages: bool,
    /// `/metrics` takes no key.
    pub open_metrics: bool,
    /// It is a worker, so what it prints is kept, and read by others.
    pub supervised: bool,
    /// Words of the command line.
    pub texts: Texts,
}

/// What the command line has words for already.
#[derive(Clone, Copy)]
pub struct Texts {
    /// What `treevisor status` prints.
    pub plain: fn(&StatusView) -> String,
    /// Reads a moment, such as `10m` or `2026-11-24T03:00`, in UTC: RFC 3339 with nanoseconds, or what is wrong.
    pub moment: fn(&str) -> Result<String, String>,
    /// Prints a line that is the answer.
    pub print: fn(&str),
    /// Prints a line for people.
    pub say: fn(&str),
}
