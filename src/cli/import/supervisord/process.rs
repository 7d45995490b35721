//! One process of a program, while it is converted.

use super::super::draft::{Draft, Setting};
use super::expand::Names;
use std::collections::BTreeMap;

/// One process of a program, while its settings are converted.
pub(super) struct Process<'a> {
    pub(super) settings: &'a BTreeMap<String, Setting>,
    pub(super) names: Names<'a>,
    /// How many processes this one stands for.
    pub(super) alike: u32,
    /// Its number, if it is one of several that are workers of their own.
    pub(super) number: Option<u32>,
    pub(super) child: Draft,
}

/// Parses a boolean as supervisord does.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}
