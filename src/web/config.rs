//! The configuration of the console, from the command line.

use super::host::PublicUrl;
use crate::spec::listen::Address;
use crate::wire::view::StatusView;

/// The configuration of the console.
pub(crate) struct Config {
    /// The instance, if one was named.
    pub instance: Option<String>,
    /// The addresses to listen at.
    pub listen: Vec<Address>,
    /// The URL by which browsers reach it, if that differs.
    pub public_url: Option<PublicUrl>,
    /// Sessions and keys allow viewing only.
    pub read_only: bool,
    /// Serve `/metrics` without the pages.
    pub no_pages: bool,
    /// Serve `/metrics` without a key.
    pub open_metrics: bool,
    /// The console is a worker, so its output is kept and can be read by others.
    pub supervised: bool,
    /// Functions of the command line that make or print text.
    pub texts: Texts,
}

/// Functions of the command line that make or print text.
#[derive(Clone, Copy)]
pub(crate) struct Texts {
    /// The text that `treevisor status` prints.
    pub plain: fn(&StatusView) -> String,
    /// Parses a moment, such as `10m` or `2026-11-24T03:00`. Returns RFC 3339 in UTC with nanoseconds, or what is
    /// wrong.
    pub moment: fn(&str) -> Result<String, String>,
    /// Prints a line of the result on standard output.
    pub print: fn(&str),
    /// Prints a message for people.
    pub say: fn(&str),
}
