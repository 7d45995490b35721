//! Rendering for people: trees drawn with branches, columns that fit the width, colours by state.
//!
//! Everything here is text in, text out; whether a terminal is there is decided by [`Look::of_stdout`] alone.

pub mod cpu;
pub(in crate::cli) mod event;
mod look;
pub(in crate::cli) mod people;
pub(in crate::cli) mod status;
pub(in crate::cli) mod style;
pub(in crate::cli) mod table;
mod tree;
pub(in crate::cli) mod why;

#[cfg(test)]
pub(in crate::cli) mod testing;

pub use event::{Events, time};
pub(in crate::cli) use look::locale_is_unicode;
pub use look::{Look, colour_for};
pub use status::status;
pub use tree::{Branches, plain_tree};
pub use why::told;
