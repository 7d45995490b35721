//! JSON of maps whose keys are not strings: a list of pairs, sorted by the JSON of their keys, so that equal maps give
//! equal text.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Serializes such a map, for `#[serde(with = "crate::node::pairs")]`.
pub(super) fn serialize<K: Serialize, V: Serialize, H, S: Serializer>(
    map: &HashMap<K, V, H>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let mut pairs: Vec<_> = map.iter().collect();
    pairs.sort_by_cached_key(|(key, _)| serde_json::to_string(key).unwrap_or_default());
    pairs.serialize(to)
}

/// Reads such a map, for `#[serde(with = "crate::node::pairs")]`. A key that is there twice is an error.
pub(super) fn deserialize<'de, K, V, H, D>(from: D) -> Result<HashMap<K, V, H>, D::Error>
where
    K: DeserializeOwned + Eq + Hash,
    V: DeserializeOwned,
    H: BuildHasher + Default,
    D: Deserializer<'de>,
{
    let pairs = Vec::<(K, V)>::deserialize(from)?;
    let count = pairs.len();
    let map: HashMap<K, V, H> = pairs.into_iter().collect();
    if map.len() == count { Ok(map) } else { Err(D::Error::custom("a key is there twice")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Of {
        #[serde(with = "super")]
        map: HashMap<(u32, u32), String>,
    }

    #[test]
    fn a_map_is_the_same_text_each_time_and_is_read_again() {
        let of = Of { map: (0..40).map(|n| ((n, 7), n.to_string())).collect() };
        let text = serde_json::to_string(&of).unwrap();
        assert_eq!(serde_json::to_string(&Of { map: of.map.clone() }).unwrap(), text);
        assert_eq!(serde_json::from_str::<Of>(&text).unwrap(), of);
        assert!(serde_json::from_str::<Of>(r#"{"map":[[[1,2],"a"],[[1,2],"b"]]}"#).is_err());
    }
}
