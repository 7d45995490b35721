//! Tables that lie one over the other: a worker's own over the `[defaults]` above it, the keys beside an `include` over
//! those of the file. What a key means is what it is in the uppermost table that has a value that can be read.

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
    /// What it is; `None` for a table with keys of its own, such as `heartbeat`.
    pub(super) kind: Option<Kind>,
}

impl<'v> Layer<'v> {
    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &'v str) -> Option<Value<'v>> {
        let (at, value) = self.table.get_key_value(key)?;
        let place = match value.get_ref() {
            // The span of a table under a header is not one of a value; its key says better where it stands.
            DeValue::Table(table) if !table.is_empty() && value.span().len() < 2 => at.span(),
            _ => value.span(),
        };
        Some(Value { key, value: value.get_ref(), place: Place::new(self.file, place) })
    }

    /// The value of an entry, whose key is the user's own.
    pub(super) fn entry(&self, key: &'v str) -> Option<Value<'v>> {
        let value = self.table.get(key)?;
        Some(Value { key, value: value.get_ref(), place: Place::new(self.file, value.span()) })
    }

    /// Whether `key` is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Its keys, and where they stand.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'v str, Place)> + use<'v> {
        let file = self.file;
        self.table.iter().map(move |(key, _)| (key.get_ref().as_ref(), Place::new(file, key.span())))
    }

    /// The table that `value` is, if it is one.
    pub(super) fn of(value: Value<'v>, kind: Option<Kind>) -> Option<Layer<'v>> {
        match value.value {
            DeValue::Table(table) => Some(Layer { table, file: value.place.file, kind }),
            _ => None,
        }
    }
}

/// Tables whose keys are taken one by one.
pub(super) struct Fields<'v> {
    /// The uppermost first.
    layers: Vec<Layer<'v>>,
    /// Put before a key in `places`: `heartbeat.` in the table `heartbeat`.
    prefix: String,
    /// Where the uppermost value of each key stands that was taken.
    pub(super) places: Places,
    /// Where the values stand that were read and are meant.
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

    /// The values of `key`, which is one of `group`, the uppermost first.
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

    /// Where the value of `key` stands in the uppermost table, if it is there.
    pub(super) fn own(&self, key: &'v str) -> Option<Place> {
        self.layers.first()?.get(key).map(|value| value.place)
    }

    /// Notes which of the values of `key` is meant.
    pub(super) fn mean(&mut self, key: &'static str, place: Place) {
        self.meant.insert(key, place);
    }

    /// Where the value stands that `key` has; `None` where it was not written, or could not be read.
    pub(super) fn meant(&self, key: &str) -> Option<Place> {
        self.meant.get(key).copied()
    }
}
