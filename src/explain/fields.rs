//! What an event carries besides what all have, by its key.

use crate::time::Span;
use crate::wire::view::EventView;
use serde_json::Value;

pub(super) trait Fields {
    fn field(&self, key: &str) -> Option<&Value>;

    fn text(&self, key: &str) -> Option<&str> {
        self.field(key)?.as_str()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.field(key)?.as_u64()
    }

    fn flag(&self, key: &str) -> bool {
        self.field(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A length of time that is given in milliseconds, as people say it.
    fn span(&self, key: &str) -> Option<String> {
        self.number(key).map(|millis| Span::from_millis(millis).coarse())
    }
}

impl Fields for EventView {
    fn field(&self, key: &str) -> Option<&Value> {
        self.detail.get(key)
    }
}

impl Fields for Value {
    fn field(&self, key: &str) -> Option<&Value> {
        self.get(key)
    }
}

/// A number that may be negative, such as an exit code.
pub(super) fn integer(event: &EventView, key: &str) -> Option<i32> {
    event.field(key)?.as_i64().and_then(|number| i32::try_from(number).ok())
}

/// The last lines of output that an exit carries.
pub(super) fn output(event: &EventView) -> Vec<&str> {
    event.field("output").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}
