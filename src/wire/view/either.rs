//! Reads a [`ChildView`] by its field `kind`. An untagged enum of serde would buffer each child with all below it to
//! try both variants, once more at each level of the tree.

use super::{ChildView, SupervisorView, WorkerView};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;
use std::fmt;
use std::vec::IntoIter;

/// The field by which supervisors and workers are distinguished. treevisor writes it before all large fields.
const KIND: &str = "kind";

impl<'de> Deserialize<'de> for ChildView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ChildView, D::Error> {
        deserializer.deserialize_map(EitherVisitor)
    }
}

struct EitherVisitor;

impl<'de> Visitor<'de> for EitherVisitor {
    type Value = ChildView;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a supervisor or a worker")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<ChildView, M::Error> {
        let mut before = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value::<Value>()?;
            let kind = (key == KIND).then(|| value.as_str().map(str::to_owned));
            before.push((key, value));
            let Some(kind) = kind else { continue };
            let fields = MapAccessDeserializer::new(Fields { before: before.into_iter(), value: None, rest: map });
            return match kind.as_deref() {
                Some("supervisor") => SupervisorView::deserialize(fields).map(Box::new).map(ChildView::Supervisor),
                Some("worker") => WorkerView::deserialize(fields).map(Box::new).map(ChildView::Worker),
                _ => Err(de::Error::custom("its kind is neither supervisor nor worker")),
            };
        }
        Err(de::Error::missing_field(KIND))
    }
}

/// A map of the fields that were read up to `kind`, followed by the rest.
struct Fields<M> {
    before: IntoIter<(String, Value)>,
    /// The value of the key returned last, if that key came from `before`.
    value: Option<Value>,
    rest: M,
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for Fields<M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, M::Error> {
        match self.before.next() {
            Some((key, value)) => {
                self.value = Some(value);
                seed.deserialize(key.into_deserializer()).map(Some)
            }
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, M::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(M::Error::custom),
            None => self.rest.next_value_seed(seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Path;

    fn tree() -> ChildView {
        let path = Path::root();
        let worker = ChildView::Worker(Box::new(WorkerView::bare(&path, "running")));
        let below = SupervisorView { children: vec![worker.clone()], ..SupervisorView::bare(&path, "running") };
        let children = vec![ChildView::Supervisor(Box::new(below)), worker];
        ChildView::Supervisor(Box::new(SupervisorView { children, ..SupervisorView::bare(&path, "running") }))
    }

    #[test]
    fn the_kind_decides_wherever_it_stands() {
        let text = serde_json::to_string(&tree()).unwrap();
        assert_eq!(serde_json::from_str::<ChildView>(&text).unwrap(), tree());
        // In alphabetical order, most keys come before `kind`.
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::from_value::<ChildView>(value).unwrap(), tree());
        for (kind, last) in [(r#""worker""#, true), (r#""supervisor""#, true), (r#""worker""#, false)] {
            let mut worker = serde_json::to_string(&WorkerView::bare(&Path::root(), "running")).unwrap();
            worker = worker.replace(r#""kind":"worker","#, "");
            worker = match last {
                true => worker.replace('}', &format!(r#","kind":{kind}}}"#)),
                false => worker.replacen('{', &format!(r#"{{"kind":{kind},"#), 1),
            };
            assert_eq!(serde_json::from_str::<ChildView>(&worker).is_ok(), kind == r#""worker""#, "{worker}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, error) in [
            (r#"{"path":"/"}"#, "missing field `kind`"),
            (r#"{"kind":"daemon"}"#, "its kind is neither supervisor nor worker"),
            (r#"{"kind":7}"#, "its kind is neither supervisor nor worker"),
            (r#"{"path":7,"kind":"worker"}"#, "invalid type: integer `7`"),
            (
                r#"{"path":"/","kind":"supervisor","name":"a","state":"b","incarnation":"c"}"#,
                "invalid type: string \"c\"",
            ),
            ("[]", "invalid type: sequence, expected a supervisor or a worker"),
        ] {
            let found = serde_json::from_str::<ChildView>(text).unwrap_err().to_string();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
