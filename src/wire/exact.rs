//! Strict reading of JSON: an unknown member is an error, and so is a missing one.
//!
//! A reader derived by `serde` reads an optional member that is missing as `None`, and may ignore members that it does
//! not know. That is right for messages. It is wrong for the snapshot that one version of the program leaves to the
//! next: each member there is state of the tree, and ignoring one would change the tree's behaviour without a word.

use super::json;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads JSON, writes the value as JSON again, and compares the two.
///
/// # Errors
/// What cannot be parsed, is unknown, or is missing, and where: `queue[0].asked.by is missing`.
pub fn read<T: Serialize + DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let read: T = json::from_slice(text).map_err(|error| error.to_string())?;
    let again = serde_json::to_vec(&read).map_err(|error| error.to_string())?;
    // The same version of the program writes the same text, so the slower comparison by values is rarely needed.
    if again == text {
        return Ok(read);
    }
    let value = |text: &[u8]| json::from_slice::<Value>(text).map_err(|error| error.to_string());
    match difference("", &value(text)?, &value(&again)?) {
        Some(difference) => Err(difference),
        None => Ok(read),
    }
}

/// The first place where the JSON that was read differs from the JSON written of the parsed value.
fn difference(at: &str, there: &Value, understood: &Value) -> Option<String> {
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match (there, understood) {
        (Value::Object(there), Value::Object(understood)) => {
            if let Some(name) = understood.keys().find(|name| !there.contains_key(*name)) {
                return Some(format!("{} is missing", below(name)));
            }
            there.iter().find_map(|(name, value)| match understood.get(name) {
                None => Some(format!("{} is not known", below(name))),
                Some(understood) => difference(&below(name), value, understood),
            })
        }
        (Value::Array(there), Value::Array(understood)) if there.len() == understood.len() => there
            .iter()
            .zip(understood)
            .enumerate()
            .find_map(|(n, (value, understood))| difference(&format!("{at}[{n}]"), value, understood)),
        _ if there == understood => None,
        _ => Some(format!("{at} is {there}, and is understood as {understood}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Lax {
        name: String,
        cause: Option<u32>,
        inner: Vec<Inner>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        #[serde(default)]
        on: bool,
    }

    #[test]
    fn what_is_missing_or_unknown_is_named_with_its_place() {
        let found = |text: &str| read::<Lax>(text.as_bytes()).map_err(|error| error.to_string());
        assert!(found(r#"{"name":"a","cause":null,"inner":[{"on":true}]}"#).is_ok());
        let spaced = "{ \"inner\": [],\n \"cause\": 7, \"name\": \"a\" }";
        assert_eq!(found(spaced).unwrap().cause, Some(7), "neither order nor white space means anything");
        let wrong = |text: &str| found(text).unwrap_err();
        assert_eq!(wrong(r#"{"name":"a","inner":[]}"#), "cause is missing");
        assert_eq!(wrong(r#"{"name":"a","cause":1,"inner":[{"on":true},{}]}"#), "inner[1].on is missing");
        assert_eq!(wrong(r#"{"name":"a","cause":1,"inner":[{"on":true,"x":1}]}"#), "inner[0].x is not known");
        assert!(wrong(r#"{"cause":1,"inner":[]}"#).contains("missing field `name`"));
    }
}
