//! Layers of tables: a worker's own table over the `[defaults]` above it, the keys beside an `include` over those of
//! the included file. A key has its value from the uppermost table in which it is valid.

use super::kind::{Group, Kind};
use super::source::{Place, Places};
use super::value::Value;
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// One table of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'v> {
    pub(super) table: &'v DeTable<'v>,
    /// Index of its file.
    pub(super) file: usize,
    /// The kind of table; `None` for the table of one key, such as `heartbeat`.
    pub(super) kind: Option<Kind>,
}

impl<'v> Layer<'v> {
    /// The value of `key`, if the table has it.
    pub(super) fn get(&self, key: &'v str) -> Option<Value<'v>> {
        let (at, value) = self.table.get_key_value(key)?;
        let place = match value.get_ref() {
            // The span of a table under a header is not that of its text, so the place of its key is used.
            DeValue::Table(table) if !table.is_empty() && value.span().len() < 2 => at.span(),
            _ => value.span(),
        };
        Some(Value { key, value: value.get_ref(), place: Place::new(self.file, place) })
    }

    /// The value of an entry in a table whose keys the user chooses.
    pub(super) fn entry(&self, key: &'v str) -> Option<Value<'v>> {
        let value = self.table.get(key)?;
        Some(Value { key, value: value.get_ref(), place: Place::new(self.file, value.span()) })
    }

    /// Whether the table has `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Its keys with their places.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'v str, Place)> + use<'v> {
        let file = self.file;
        self.table.iter().map(move |(key, _)| (key.get_ref().as_ref(), Place::new(file, key.span())))
    }

    /// `value` as a layer, if it is a table.
    pub(super) fn of(value: Value<'v>, kind: Option<Kind>) -> Option<Layer<'v>> {
        match value.value {
            DeValue::Table(table) => Some(Layer { table, file: value.place.file, kind }),
            _ => None,
        }
    }
}

/// Layered tables whose keys are read one by one.
pub(super) struct Fields<'v> {
    /// In the order in which they are searched: the uppermost first.
    layers: Vec<Layer<'v>>,
    /// Put before a key in `places`: `heartbeat.` in the table `heartbeat`.
    prefix: String,
    /// The place of the uppermost value of each key that was read.
    pub(super) places: Places,
    /// The places of the values that are in force.
    meant: BTreeMap<&'static str, Place>,
}

impl<'v> Fields<'v> {
    pub(super) fn new(layers: Vec<Layer<'v>>, prefix: &str) -> Fields<'v> {
        Fields { layers, prefix: prefix.to_owned(), places: Places::new(), meant: BTreeMap::new() }
    }

    /// The tables, the uppermost first.
    pub(super) fn layers(&self) -> &[Layer<'v>] {
        &self.layers
    }

    /// The values of `key`, a key of `group`, the uppermost first.
    pub(super) fn values(&mut self, group: Option<Group>, key: &'static str) -> Vec<Value<'v>> {
        let knows = |layer: &&Layer<'_>| match (layer.kind, group) {
            (Some(kind), Some(group)) => kind.groups().contains(&group),
            _ => true,
        };
        let values: Vec<_> = self.layers.iter().filter(knows).filter_map(|layer| layer.get(key)).collect();
        if let Some(first) = values.first() {
            self.places.insert(format!("{}{key}", self.prefix), first.place);
        }
        values
    }

    /// The place of `key`'s value in the uppermost table, if it has one.
    pub(super) fn own(&self, key: &'v str) -> Option<Place> {
        self.layers.first()?.get(key).map(|value| value.place)
    }

    /// Records the place of the value of `key` that is in force.
    pub(super) fn mean(&mut self, key: &'static str, place: Place) {
        self.meant.insert(key, place);
    }

    /// The place of the value of `key` that is in force; `None` if it was not written or is invalid.
    pub(super) fn meant(&self, key: &str) -> Option<Place> {
        self.meant.get(key).copied()
    }
}
