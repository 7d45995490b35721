//! Reading JSON that is nested as deeply as a tree.
//!
//! A tree of 64 levels makes JSON of some 260 levels, and serde_json refuses more than 128. That limit can be switched
//! off but not changed, so it is switched off and the depth is measured before.

use super::JSON_DEPTH_MAX;
use serde::de::{DeserializeOwned, Error};

/// Reads a value from JSON that is at most [`JSON_DEPTH_MAX`] deep.
///
/// # Errors
/// The JSON is deeper, is malformed, or does not describe such a value.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    if depth(json) > JSON_DEPTH_MAX {
        return Err(serde_json::Error::custom(format_args!("it is nested deeper than {JSON_DEPTH_MAX} levels")));
    }
    from_own(json)
}

/// As [`from_slice`], for JSON that this program has written itself: its depth is not measured.
///
/// # Errors
/// The JSON is malformed, or does not describe such a value.
pub fn from_own<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    // UTF-8 is validated once for the whole text here, instead of string by string by the parser.
    let text = std::str::from_utf8(json).map_err(serde_json::Error::custom)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// The greatest number of arrays and objects that are open at once. For malformed JSON the result may be too high but
/// never too low, as the parser stops at the first fault.
fn depth(json: &[u8]) -> usize {
    let (mut open, mut most) = (0usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                open += 1;
                most = most.max(open);
            }
            b']' | b'}' => open = open.saturating_sub(1),
            b'"' => {
                // To the end of the string.
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => _ = bytes.next(),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn brackets_in_strings_are_text() {
        for (json, deep) in [("", 0), ("1", 0), ("[]", 1), ("[[],{}]", 2), (r#""[[""#, 0), (r#"["\"[[["]"#, 1)] {
            assert_eq!(depth(json.as_bytes()), deep, "{json}");
        }
    }

    #[test]
    fn the_limit_is_the_limit_and_the_stack_holds() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        // A test's thread has two MiB of stack, a quarter of a process's.
        assert!(from_slice::<Value>(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        let error = from_slice::<Value>(nested(JSON_DEPTH_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "it is nested deeper than 512 levels");
        assert!(from_slice::<Value>("[".repeat(3_000_000).as_bytes()).is_err());
        assert!(from_slice::<Value>(b"1 2").is_err());
    }

    proptest! {
        #[test]
        fn nothing_deeper_than_measured_is_ever_read(json in r#"[\[\]{}"\\a:,1 ]{0,40}"#) {
            if let Ok(value) = from_slice::<Value>(json.as_bytes()) {
                fn deep(value: &Value) -> usize {
                    match value {
                        Value::Array(all) => 1 + all.iter().map(deep).max().unwrap_or(0),
                        Value::Object(all) => 1 + all.values().map(deep).max().unwrap_or(0),
                        _ => 0,
                    }
                }
                prop_assert_eq!(deep(&value), depth(json.as_bytes()));
            }
        }
    }
}
