//! What the shell of a host reports of what runs there: between the two shells, in JSON.

use crate::supervision::Inspected;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a look at a silent node has shown on its host, as [`Inspected`] has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Found {
    Hung(Option<String>),
    Starved(String),
    Held(String),
    Unreachable(String),
}

/// What was found; what cannot be read shows no reason to spare it.
pub(super) fn read(found: &Value) -> Inspected {
    match Found::deserialize(found) {
        Ok(Found::Hung(what)) => Inspected::Hung(what),
        Ok(Found::Starved(why)) => Inspected::Starved(why),
        Ok(Found::Held(why)) => Inspected::Held(why),
        Ok(Found::Unreachable(why)) => Inspected::Unreachable(why),
        Err(_) => Inspected::Hung(None),
    }
}

/// What is known of an end besides.
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
