//! Values that are `true`, `false`, or a table with keys of its own.

use super::super::diagnostic::quoted;
use super::super::fields::{Fields, Layer};
use super::super::quote::inline;
use super::super::shape::{Key, Row, any, refuse_others, rows, table};
use super::super::source::{Finding, Place, Places};
use super::super::value::{Scope, Value};
use serde_json::{Value as Json, json};
use toml::de::DeValue;

/// A table with keys of its own, which set something in a `W`.
pub(in crate::spec) struct Table<W: 'static> {
    /// The key that it is the value of.
    pub(super) name: &'static str,
    /// Its keys, in groups.
    pub(super) keys: &'static [&'static [Key<W>]],
    /// What the value must be, for messages.
    pub(super) expected: &'static str,
    /// A right value in TOML, for messages.
    pub(super) right: &'static str,
    /// Whether `true` is as good as an empty table.
    pub(super) true_is_a_table: bool,
    /// Keys that users may expect here and that do not belong here, with the message about them, to be preceded by the
    /// key, and the reason.
    pub(super) misplaced: Option<(&'static [&'static str], &'static str, &'static str)>,
}

/// Whether such a value is `false`, `true`, or a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SwitchValue {
    Off,
    On,
    Table,
}

/// The meaning of such values together.
pub(super) struct Switched<'v> {
    pub(super) is: SwitchValue,
    pub(super) place: Place,
    /// The layers of the tables.
    pub(super) fields: Fields<'v>,
}

impl<W> Table<W> {
    /// A table for which `true` is the same as an empty table, and without misplaced keys.
    pub(in crate::spec) const fn new(
        name: &'static str,
        keys: &'static [&'static [Key<W>]],
        expected: &'static str,
        right: &'static str,
    ) -> Table<W> {
        Table { name, keys, expected, right, true_is_a_table: true, misplaced: None }
    }

    /// The keys of all groups, in order.
    pub(in crate::spec) fn rows(&self) -> Vec<&'static dyn Row> {
        self.keys.iter().flat_map(|keys| rows(keys)).collect()
    }

    /// Reads the values of a key, the uppermost first. Tables are layers over those below, until a `false`, or a table
    /// above a `false`. The keys are set in the value that `fresh` returns.
    pub(super) fn read<'v>(
        &self,
        scope: &mut Scope<'_>,
        values: &[Value<'v>],
        places: &mut Places,
        fresh: impl Fn() -> W,
    ) -> Option<(Switched<'v>, W)> {
        let mut meant = None;
        let (mut seen, mut hidden) = (Vec::new(), Vec::new());
        let mut ended = false;
        for value in values {
            let is = match value.value {
                DeValue::Boolean(false) => SwitchValue::Off,
                DeValue::Boolean(true) => SwitchValue::On,
                _ => match Layer::of(*value, None) {
                    Some(layer) => {
                        self.open(scope, layer);
                        if ended {
                            hidden.push(layer)
                        } else {
                            seen.push(layer)
                        }
                        SwitchValue::Table
                    }
                    None => {
                        scope.wrong_type(*value, self.expected, self.right);
                        continue;
                    }
                },
            };
            meant = meant.or(Some((is, value.place)));
            ended |= is == SwitchValue::Off || is == SwitchValue::On && !self.true_is_a_table;
        }
        let (is, place) = meant?;
        let mut set = fresh();
        let mut fields = Fields::new(seen, &format!("{}.", self.name));
        self.fill(scope, &mut fields, &mut set);
        // Hidden tables are read too, so that their errors are reported.
        self.fill(scope, &mut Fields::new(hidden, ""), &mut fresh());
        places.extend(fields.places.clone());
        Some((Switched { is, place, fields }, set))
    }

    /// Reads a value that is nothing but such a table.
    pub(in crate::spec) fn read_alone<'v>(
        &self,
        scope: &mut Scope<'_>,
        value: Value<'v>,
        set: &mut W,
    ) -> Option<Fields<'v>> {
        let Some(layer) = Layer::of(value, None) else {
            scope.wrong_type(value, self.expected, self.right);
            return None;
        };
        self.open(scope, layer);
        let mut fields = Fields::new(vec![layer], "");
        self.fill(scope, &mut fields, set);
        Some(fields)
    }

    fn fill(&self, scope: &mut Scope<'_>, fields: &mut Fields<'_>, set: &mut W) {
        for keys in self.keys {
            fields.fill(scope, None, keys, set);
        }
    }

    /// Reports the keys that do not belong there.
    fn open(&self, scope: &mut Scope<'_>, layer: Layer<'_>) {
        let mut known: Vec<_> = self.rows().iter().map(|row| row.name()).collect();
        if let Some((misplaced, what, why)) = self.misplaced {
            let found: Vec<_> = layer.keys().filter(|(key, _)| misplaced.contains(key)).collect();
            for (key, place) in &found {
                scope.report(Finding::error("wrong-place", *place, format!("`{key}` {what}")).hint(why));
            }
            if !found.is_empty() {
                known.extend(misplaced);
            }
        }
        refuse_others(scope, layer, &known, &quoted(self.name), |_| None);
    }

    /// The table as TOML in one line, without defaults.
    pub(in crate::spec) fn show(&self, of: &W) -> String {
        let keys = self.keys.iter().copied().flatten();
        inline(keys.filter_map(|key| Some((key.name.to_owned(), key.field.show(of)?))))
    }

    /// The JSON schema of the value.
    pub(super) fn schema(&self) -> Json {
        any([json!({ "type": "boolean" }), table(&self.rows())])
    }
}
