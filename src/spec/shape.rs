//! Shapes: the types of values that keys can have, with reading, writing and JSON schema.

use super::advice;
use super::exec::ExecSpec;
use super::fields::{Fields, Layer};
use super::kind::{COUNT_GROUP, Group};
use super::policy::{ChildPolicy, Words};
use super::quote::{quote, string, strings};
use super::source::{At, Finding, Place, Places};
use super::value::{Scope, Value};
use crate::time::Span;
use serde_json::{Map, Value as Json, json};
use std::fmt::Display;
use std::marker::PhantomData;
use std::path::PathBuf;

/// The type of a key's value.
pub(super) trait Shape: Sync {
    /// The Rust type that it is read as.
    type Parsed;

    /// Reads one value and reports its errors. Either this or `merge` must be implemented.
    fn read(&self, scope: &mut Scope<'_>, value: Value<'_>) -> Option<Self::Parsed> {
        self.merge(scope, &[value], &mut Places::new()).map(|at| at.value)
    }

    /// Reads the values of one key in several layers, the uppermost first; the uppermost valid one is in force. All are
    /// read, so that their errors are reported.
    fn merge(&self, scope: &mut Scope<'_>, values: &[Value<'_>], _: &mut Places) -> Option<At<Self::Parsed>> {
        let mut meant = None;
        for value in values {
            let read = self.read(scope, *value).map(|read| At { value: read, place: value.place });
            meant = meant.or(read);
        }
        meant
    }

    /// Writes a value as TOML.
    fn show(&self, value: &Self::Parsed) -> String;

    /// The JSON schema of a value.
    fn schema(&self) -> Json;
}

/// The field that a key sets.
pub(super) trait Field<W>: Sync {
    /// Reads the values of the key, the uppermost first, and sets the field; returns the place of the value in force.
    fn read(&self, scope: &mut Scope<'_>, values: &[Value<'_>], places: &mut Places, into: &mut W) -> Option<Place>;

    /// The value as TOML; `None` if it need not be written.
    fn show(&self, of: &W) -> Option<String>;

    /// The JSON schema of the value.
    fn schema(&self) -> Json;
}

/// A field of this shape, with its getter (`None` if the value need not be written) and its setter.
pub(super) struct ShapedField<S: Shape, W>(
    pub(super) S,
    pub(super) fn(&W) -> Option<&S::Parsed>,
    pub(super) fn(&mut W, S::Parsed),
);

impl<S: Shape, W> Field<W> for ShapedField<S, W> {
    fn read(&self, scope: &mut Scope<'_>, values: &[Value<'_>], places: &mut Places, into: &mut W) -> Option<Place> {
        let At { value, place } = self.0.merge(scope, values, places)?;
        self.2(into, value);
        Some(place)
    }

    fn show(&self, of: &W) -> Option<String> {
        self.1(of).map(|value| self.0.show(value))
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }
}

/// A key that is not read by its row but by `reader`, such as `child`; with the function that makes its JSON schema.
pub(super) struct CustomKey(pub(super) fn() -> Json);

impl Shape for CustomKey {
    type Parsed = ();

    fn read(&self, _: &mut Scope<'_>, _: Value<'_>) -> Option<()> {
        None
    }

    fn show(&self, _: &()) -> String {
        String::new()
    }

    fn schema(&self) -> Json {
        self.0()
    }
}

/// Whether the change of a key needs a restart of a running worker.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// No: only the supervisor uses the value, not the process.
    InPlace,
    /// Yes, for this reason.
    Restart(&'static str),
    /// Yes, for this reason, if the text that the function returns changes: the part of the value that the process gets
    /// at its start.
    Known(&'static str, fn(&ChildPolicy, &ExecSpec) -> String),
}

/// One key of the file, which sets something in a `W`.
pub(super) struct Key<W: 'static> {
    pub(super) name: &'static str,
    /// Its description in editors.
    about: &'static str,
    /// Its default as JSON; empty if it cannot be written so.
    default: &'static str,
    pub(super) change: Change,
    pub(super) field: &'static dyn Field<W>,
}

/// A key without a default whose change needs no restart.
pub(super) const fn key<W>(name: &'static str, field: &'static dyn Field<W>, about: &'static str) -> Key<W> {
    Key { name, about, default: "", change: Change::InPlace, field }
}

impl<W> Key<W> {
    /// Sets its default, as JSON.
    pub(super) const fn default(self, default: &'static str) -> Key<W> {
        Key { default, ..self }
    }

    /// Sets the reason why any change needs a restart.
    pub(super) const fn restart(self, why: &'static str) -> Key<W> {
        Key { change: Change::Restart(why), ..self }
    }

    /// Sets the reason why a change needs a restart, and the function that returns the part which the process gets.
    pub(super) const fn known(self, why: &'static str, known: fn(&ChildPolicy, &ExecSpec) -> String) -> Key<W> {
        Key { change: Change::Known(why, known), ..self }
    }

    /// If a change can need a restart: its name, the reason, and the part of its value that the process gets.
    pub(super) fn known_by(
        &self,
        of: &W,
        policy: &ChildPolicy,
        exec: &ExecSpec,
    ) -> Option<(&'static str, &'static str, String)> {
        match self.change {
            Change::InPlace => None,
            Change::Restart(why) => Some((self.name, why, self.field.show(of).unwrap_or_default())),
            Change::Known(why, known) => Some((self.name, why, known(policy, exec))),
        }
    }
}

/// Declares a table of keys, a row for each: name, shape, field, optionally the default (as JSON) and the reason why a
/// change needs a restart, and the description. The field is one that is written `always`, one that is `optional`, or
/// one that is written `unless` it has a given value; otherwise `by` has its getter and setter.
macro_rules! keys {
    ($($(#[$doc:meta])* $table:ident of $of:ty { $(
        $name:expr => $shape:expr, $how:ident($($what:tt)*) $(, $more:ident($($value:expr),+))*; $about:expr
    )* })*) => { $(
        $(#[$doc])*
        pub(in crate::spec) static $table: &[$crate::spec::shape::Key<$of>] = &[$(
            $crate::spec::shape::key($name, $crate::spec::shape::field!($of, $shape, $how($($what)*)), $about)
                $(.$more($($value),+))*
        ),*];
    )* };
}
pub(super) use keys;

/// The field of a row of `keys`.
macro_rules! field {
    ($of:ty, $shape:expr, always($($field:ident).+)) => {
        $crate::spec::shape::field!($of, $shape, by(|of: &$of| Some(&of.$($field).+), |of, value| of.$($field).+ = value))
    };
    ($of:ty, $shape:expr, optional($($field:ident).+)) => {
        $crate::spec::shape::field!(
            $of, $shape, by(|of: &$of| of.$($field).+.as_ref(), |of, value| of.$($field).+ = Some(value))
        )
    };
    ($of:ty, $shape:expr, unless($default:expr, $($field:ident).+)) => {
        $crate::spec::shape::field!($of, $shape, by(
            |of: &$of| (of.$($field).+ != $default).then_some(&of.$($field).+), |of, value| of.$($field).+ = value
        ))
    };
    ($of:ty, $shape:expr, by($get:expr, $set:expr)) => { &$crate::spec::shape::ShapedField($shape, $get, $set) };
    ($of:ty, $shape:expr, by_hand()) => {
        &$crate::spec::shape::ShapedField($crate::spec::shape::CustomKey(|| $shape), |_: &$of| None, |_, ()| {})
    };
}
pub(super) use field;

/// A key without the type of the struct that it belongs to.
pub(super) trait Row {
    fn name(&self) -> &'static str;

    /// Its default; `None` where an absent key means something of its own.
    fn default(&self) -> Option<Json>;

    /// Its JSON schema, with its description.
    fn schema(&self) -> Json;
}

impl<W> Row for Key<W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn default(&self) -> Option<Json> {
        serde_json::from_str(self.default).ok()
    }

    fn schema(&self) -> Json {
        let mut value = self.field.schema();
        // In draft 7, members beside a `$ref` are ignored.
        if value.get("$ref").is_some() {
            value = json!({ "allOf": [value] });
        }
        value["description"] = self.about.into();
        if let Some(default) = self.default() {
            value["default"] = default;
        }
        value
    }
}

/// These keys as [`Row`]s.
pub(super) fn rows<W>(keys: &'static [Key<W>]) -> Vec<&'static dyn Row> {
    keys.iter().map(|key| key as &dyn Row).collect()
}

impl Fields<'_> {
    /// Reads `keys`, which belong to `group`, and sets their fields in `into`.
    pub(super) fn fill<W>(&mut self, scope: &mut Scope<'_>, group: Option<Group>, keys: &[Key<W>], into: &mut W) {
        for key in keys {
            let values = self.values(group, key.name);
            if values.is_empty() {
                continue;
            }
            if let Some(place) = key.field.read(scope, &values, &mut self.places, into) {
                self.mean(key.name, place);
            }
        }
    }
}

/// Reports the keys of `layer` that are not among `keys`.
pub(super) fn refuse_others(
    scope: &mut Scope<'_>,
    layer: Layer<'_>,
    keys: &[&'static str],
    called: &str,
    elsewhere: impl Fn(&str) -> Option<&'static str>,
) {
    for (key, place) in layer.keys().filter(|(key, _)| !keys.contains(key)) {
        let shown: Vec<_> = keys.iter().copied().filter(|key| *key != COUNT_GROUP).collect();
        let advice = advice::unknown(key, &shown, called, &elsewhere);
        scope.report(Finding::error("unknown-key", place, advice.message).label(advice.label).hint(advice.hint));
    }
}

// Parts of the JSON schema.

/// Matches a text with a variable, which may have any value.
const VARIABLE: &str = r"\$[{$]";

/// A number in a duration or a size.
pub(super) const NUMBER: &str = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)";

pub(super) fn any<const N: usize>(all: [Json; N]) -> Json {
    json!({ "anyOf": all.to_vec() })
}

pub(super) fn reference(definition: &str) -> Json {
    json!({ "$ref": format!("#/definitions/{definition}") })
}

pub(super) fn integer(low: i64, high: i64) -> Json {
    json!({ "type": "integer", "minimum": low, "maximum": high })
}

/// A string that is not empty.
pub(super) fn filled() -> Json {
    json!({ "type": "string", "minLength": 1 })
}

/// A string that matches `pattern` as a whole, or contains a variable.
pub(super) fn text_like(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": format!("^(?:{pattern})$|{VARIABLE}") })
}

/// One of these words, or a variable that holds one.
pub(super) fn word<'w>(words: impl IntoIterator<Item = &'w str>) -> Json {
    let words: Vec<_> = words.into_iter().collect();
    any([json!({ "enum": words }), json!({ "type": "string", "pattern": VARIABLE })])
}

/// The keys of a table with their schemas.
pub(super) fn properties(keys: &[&'static dyn Row]) -> Json {
    let mut all = Map::new();
    for key in keys.iter().filter(|key| key.name() != COUNT_GROUP) {
        all.entry(key.name()).or_insert_with(|| key.schema());
    }
    Json::Object(all)
}

/// A table with these keys and no others.
pub(super) fn table(keys: &[&'static dyn Row]) -> Json {
    json!({ "type": "object", "properties": properties(keys), "additionalProperties": false })
}

// Simple shapes.

/// One of the words of an enum, with words of other supervisors, for hints.
pub(super) struct Word<T>(pub(super) &'static [(&'static str, &'static str)], PhantomData<fn() -> T>);

pub(super) const fn a_word<T>(foreign: &'static [(&'static str, &'static str)]) -> Word<T> {
    Word(foreign, PhantomData)
}

impl<T: Words> Shape for Word<T> {
    type Parsed = T;

    fn read(&self, scope: &mut Scope<'_>, value: Value<'_>) -> Option<T> {
        scope.choice(value, T::WORDS, self.0)
    }

    fn show(&self, value: &T) -> String {
        string(value.word())
    }

    fn schema(&self) -> Json {
        word(T::WORDS.iter().map(|(word, _)| *word))
    }
}

/// A whole number within bounds.
pub(super) struct Whole<T>(i64, i64, PhantomData<fn() -> T>);

/// A [`Whole`] number; without an upper bound where that is [`i64::MAX`].
pub(super) const fn a_whole<T>(low: i64, high: i64) -> Whole<T> {
    Whole(low, high, PhantomData)
}

impl<T: TryFrom<i64> + Display> Shape for Whole<T> {
    type Parsed = T;

    fn read(&self, scope: &mut Scope<'_>, value: Value<'_>) -> Option<T> {
        scope.integer(value, self.0..=self.1).and_then(|number| T::try_from(number).ok())
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }

    fn schema(&self) -> Json {
        match self.1 {
            i64::MAX => json!({ "type": "integer", "minimum": self.0 }),
            _ => integer(self.0, self.1),
        }
    }
}

/// A number within bounds.
pub(super) struct Number(pub(super) u32, pub(super) u32);

impl Shape for Number {
    type Parsed = f64;

    fn read(&self, scope: &mut Scope<'_>, value: Value<'_>) -> Option<f64> {
        scope.number(value, f64::from(self.0)..=f64::from(self.1))
    }

    fn show(&self, value: &f64) -> String {
        format!("{value:?}")
    }

    fn schema(&self) -> Json {
        json!({ "type": "number", "minimum": self.0, "maximum": self.1 })
    }
}

/// Declares simple shapes by their functions for reading, writing and schema.
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident: $of:ty, $read:expr, $show:expr, $schema:expr;)*) => {
        $(
            $(#[$doc])*
            pub(in crate::spec) struct $name;

            impl $crate::spec::shape::Shape for $name {
                type Parsed = $of;

                fn read(&self, scope: &mut $crate::spec::value::Scope<'_>, value: $crate::spec::value::Value<'_>) -> Option<$of> {
                    $read(scope, value)
                }

                fn show(&self, value: &$of) -> String {
                    $show(value)
                }

                fn schema(&self) -> serde_json::Value {
                    $schema
                }
            }
        )*
    };
}
pub(super) use shapes;

shapes! {
    /// `true` or `false`.
    Boolean: bool, Scope::boolean, bool::to_string, json!({ "type": "boolean" });
    /// A string that is not empty.
    Filled: String, Scope::filled, |text: &String| string(text), filled();
    /// A program and its arguments: an array, or one string that is split.
    Command: Vec<String>, Scope::command, |words: &Vec<String>| strings(words), reference("command");
    /// A duration, zero included.
    Duration: Span, |scope: &mut Scope<'_>, value| scope.span(value, ""), quote, reference("span");
    /// A duration above zero.
    Positive: Span, Scope::positive, quote, reference("positive-span");
    /// A path that is not empty.
    Filename: PathBuf, |scope: &mut Scope<'_>, value| scope.filled(value).map(PathBuf::from),
        |path: &PathBuf| string(&path.to_string_lossy()), filled();
    /// A size above zero.
    Size: u64, Scope::size, u64::to_string, reference("size");
}

/// A duration such as "1m30s": units from the largest to the smallest, each once.
pub(super) fn span(positive: bool) -> Json {
    let parts: String = ["d", "h", "(?:min|m)", "(?:sec|s)", "ms", "us", "ns"]
        .iter()
        .map(|unit| format!(r"(?:{NUMBER}{unit}\s*)?"))
        .collect();
    // At least one part; and if zero is not allowed, at least one digit other than 0.
    let first = if positive { "(?=.*[1-9])" } else { r"(?=\s*[0-9.])" };
    text_like(&format!(r"{first}\s*{parts}"))
}

/// A size: a number of bytes, or a string with a unit.
pub(super) fn size(positive: bool) -> Json {
    let first = if positive { "(?=.*[1-9])" } else { "" };
    let text = text_like(&format!(r"{first}\s*{NUMBER}\s*(?:[kKmMgGtT][iI]?)?[bB]\s*"));
    any([text, json!({ "type": "integer", "minimum": i64::from(positive) })])
}

/// A command: an array of words, or one string with at least one word.
pub(super) fn command() -> Json {
    any([
        json!({ "type": "string", "pattern": r"^\s*[^\s#]" }),
        json!({
            "type": "array",
            "minItems": 1,
            "items": [{ "type": "string", "minLength": 1 }],
            "additionalItems": { "type": "string" },
        }),
    ])
}
