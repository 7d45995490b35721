//! Results of an inspection and details of an exit, as the program on another host reports them, in JSON.

use crate::supervision::Inspected;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The result of inspecting a silent node on its host; the variants are those of [`Inspected`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Found {
    Hung(Option<String>),
    Starved(String),
    Held(String),
    Unreachable(String),
}

/// Reads the result of an inspection. One that cannot be read is no reason to spare the node.
pub(super) fn read(found: &Value) -> Inspected {
    match Found::deserialize(found) {
        Ok(Found::Hung(what)) => Inspected::Hung(what),
        Ok(Found::Starved(why)) => Inspected::Starved(why),
        Ok(Found::Held(why)) => Inspected::Held(why),
        Ok(Found::Unreachable(why)) => Inspected::Unreachable(why),
        Err(_) => Inspected::Hung(None),
    }
}

/// The reason of an exit, if the report has one.
pub(super) fn why(detail: &Value) -> Option<String> {
    detail.get("why").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_found_on_a_host_is_what_a_look_at_a_local_child_shows() {
        for (found, shown) in [
            (json!({"hung": null}), Inspected::Hung(None)),
            (json!({"hung": "was asleep"}), Inspected::Hung(Some("was asleep".into()))),
            (json!({"held": "it is traced"}), Inspected::Held("it is traced".into())),
            (json!({"starved": "no CPU"}), Inspected::Starved("no CPU".into())),
            (json!({"of a later version": 1}), Inspected::Hung(None)),
            (Value::Null, Inspected::Hung(None)),
        ] {
            assert_eq!(read(&found), shown, "{found}");
        }
        assert_eq!(why(&json!({"why": "x"})), Some("x".into()));
        assert_eq!(why(&Value::Null), None);
    }
}
