//! The kind of a fact, by the name of its variant: `BeatLate` is `beat_late`.

use treevisor::supervision::Fact;

pub(crate) fn kind(fact: &Fact) -> String {
    let mut kind = String::new();
    for c in format!("{fact:?}").chars().take_while(|c| c.is_alphanumeric()) {
        if c.is_uppercase() && !kind.is_empty() {
            kind.push('_');
        }
        kind.push(c.to_ascii_lowercase());
    }
    kind
}
