//! One unit, and access to its settings.

use super::super::draft::{Note, Setting};
use super::specifier::Named;
use std::rc::Rc;

/// One unit as it was read.
pub(super) struct Unit<'a> {
    pub(super) file: Rc<str>,
    pub(super) named: Named<'a>,
    pub(super) settings: Vec<Setting>,
    pub(super) notes: Vec<Note>,
}

impl Unit<'_> {
    /// The settings of a key, in order; an empty value removes the earlier ones.
    pub(super) fn all(&self, section: &str, key: &str) -> Vec<&Setting> {
        let mut found = Vec::new();
        for setting in self.settings.iter().filter(|setting| setting.section == section && setting.key == key) {
            if setting.value.is_empty() { found.clear() } else { found.push(setting) }
        }
        found
    }

    /// The setting of a key that is in force: the last one.
    pub(super) fn last(&self, section: &str, key: &str) -> Option<&Setting> {
        self.all(section, key).pop()
    }

    /// The last setting of any of these keys.
    pub(super) fn latest(&self, section: &str, keys: &[&str]) -> Option<&Setting> {
        self.effective(section).filter(|setting| keys.contains(&setting.key.as_str())).last()
    }

    /// The settings of a section, without those that an empty value has removed.
    pub(super) fn effective(&self, section: &str) -> impl Iterator<Item = &Setting> {
        let of_section = |setting: &&Setting| setting.section == section;
        let mut kept: Vec<&Setting> = Vec::new();
        for setting in self.settings.iter().filter(of_section) {
            if setting.value.is_empty() {
                kept.retain(|known| known.key != setting.key);
            } else {
                kept.push(setting);
            }
        }
        kept.into_iter()
    }

    /// A note about the unit as a whole.
    pub(super) fn note(&self, why: impl Into<String>) -> Note {
        Note::at(&self.file, 1, &self.named.name, why)
    }

    /// The names of units that a key lists.
    pub(super) fn names(&self, section: &str, key: &str) -> Vec<String> {
        let specified = |setting: &Setting| self.named.specified(&setting.value).ok().and_then(|value| value.text());
        let lists: Vec<_> = self.all(section, key).into_iter().filter_map(specified).collect();
        lists.iter().flat_map(|list| list.split_whitespace()).map(str::to_owned).collect()
    }

    /// The name without its suffix.
    pub(super) fn stem(&self) -> &str {
        self.named.stem()
    }
}
