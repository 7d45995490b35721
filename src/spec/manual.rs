//! The keys of the file for the manual page, from the table of keys, with the same texts as in the schema for editors.

use super::keys::{rows_of, tables};
use super::kind::{COUNT_GROUP, Group};
use super::shape::Row;
use serde_json::Value;

/// The keys of one table.
#[derive(Debug)]
pub(crate) struct Table {
    /// Which table, such as "a worker".
    pub(crate) of: String,
    /// Its keys, in their order.
    pub(crate) keys: Vec<Key>,
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    /// Its default as TOML.
    pub(crate) default: Option<String>,
}

/// All tables: those of the tree, then those that are values of a key.
pub(crate) fn manual() -> Vec<Table> {
    let of_tree = [
        ("the top level", &[Group::Top][..]),
        ("every child", &[Group::Name, Group::Child]),
        ("workers", &[Group::Own, Group::Setup, Group::Ready, Group::Bounds]),
        ("supervisors, the top level included", &[Group::Body]),
        ("workers and supervisors: limits by cgroup", &[Group::Resources]),
    ];
    let mut all = Vec::new();
    for (of, groups) in of_tree {
        let rows: Vec<_> = groups.iter().flat_map(|group| rows_of(*group)).collect();
        all.push(table(of.to_owned(), &rows));
    }
    all.extend(tables().into_iter().map(|(name, rows)| table(format!("`{name}`"), &rows)));
    all
}

fn table(of: String, rows: &[&'static dyn Row]) -> Table {
    let key = |row: &&'static dyn Row| {
        let about = row.schema()["description"].as_str().unwrap_or_default().to_owned();
        // A default that is an object cannot be written as JSON is; the description has it in words.
        let default =
            row.default().filter(|default| !matches!(default, Value::Object(_))).map(|value| value.to_string());
        Key { name: row.name(), about, default }
    };
    let shown = rows.iter().filter(|row| row.name() != COUNT_GROUP);
    Table { of, keys: shown.map(key).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::keys::known;
    use super::super::kind::Kind;
    use super::*;

    #[test]
    fn every_key_is_described() {
        let all = manual();
        for kind in [Kind::Top, Kind::Unclear, Kind::Defaults] {
            for row in known(kind).iter().filter(|row| row.name() != COUNT_GROUP) {
                let described = all.iter().flat_map(|table| &table.keys).any(|key| key.name == row.name());
                assert!(described, "{}", row.name());
            }
        }
        assert!(all.iter().all(|table| !table.keys.is_empty() && table.keys.iter().all(|key| !key.about.is_empty())));
    }
}
