//! The difference between two values of a key, for people.

use toml::Value;

/// Shows how two values of a key in TOML differ: for tables the keys that differ, for arrays the elements between the
/// common beginning and the common end.
pub(crate) fn difference(key: &str, old: &str, new: &str) -> String {
    let read = |text: &str| toml::from_str::<toml::Table>(&format!("value = {text}")).ok()?.remove("value");
    match (read(old), read(new)) {
        (Some(Value::Table(old)), Some(Value::Table(new))) => {
            let added = new.keys().filter(|name| !old.contains_key(*name));
            let differ = old.keys().chain(added).filter(|name| old.get(*name) != new.get(*name));
            let shown = |value: Option<&Value>| value.map_or_else(|| "not set".into(), Value::to_string);
            let pairs = differ.map(|name| match (old.get(name), new.get(name)) {
                (Some(old), Some(new)) => difference(&format!("{key}.{name}"), &old.to_string(), &new.to_string()),
                (old, new) => format!("{key}.{name}: {} -> {}", shown(old), shown(new)),
            });
            pairs.collect::<Vec<_>>().join(", ")
        }
        (Some(Value::Array(old_words)), Some(Value::Array(new_words))) => {
            let shorter = old_words.len().min(new_words.len());
            let same = |(old, new): &(&Value, &Value)| old == new;
            let before = old_words.iter().zip(&new_words).take_while(same).count();
            let after =
                old_words.iter().rev().zip(new_words.iter().rev()).take(shorter - before).take_while(same).count();
            // The word before the difference is shown too, as it often is the name of an option.
            let from = before.saturating_sub(1);
            let part = |words: &[Value]| {
                let words = words[from..words.len() - after].iter().map(Value::to_string);
                let mut parts: Vec<String> = Vec::new();
                parts.extend((from > 0).then(|| "…".into()));
                parts.extend(words.map(|word| format!("{word},")));
                parts.extend((after > 0).then(|| "…".into()));
                parts.join(" ").trim_end_matches(',').to_owned()
            };
            match from + after {
                0 => format!("{key}: {old} -> {new}"),
                _ => format!("{key}: [{}] -> [{}]", part(&old_words), part(&new_words)),
            }
        }
        _ => format!("{key}: {old} -> {new}"),
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn what_is_the_same_is_left_out() {
        for (old, new, shown) in [
            (r#"["a", "-n", "1", "c"]"#, r#"["a", "-n", "2", "c"]"#, r#"k: [… "-n", "1", …] -> [… "-n", "2", …]"#),
            (r#"["a", "b"]"#, r#"["x", "b"]"#, r#"k: ["a", …] -> ["x", …]"#),
            (r#"["a"]"#, r#"["a", "-v", "x"]"#, r#"k: ["a"] -> ["a", "-v", "x"]"#),
            (r#"["a", "b", "b"]"#, r#"["a", "b"]"#, r#"k: [… "b", "b"] -> [… "b"]"#),
            (r#"["a"]"#, r#"["b"]"#, r#"k: ["a"] -> ["b"]"#),
            (r#"{ i = "1s", m = 3 }"#, r#"{ i = "2s", m = 3, t = 2 }"#, r#"k.i: "1s" -> "2s", k.t: not set -> 2"#),
            ("true", r#"{ i = 1 }"#, r#"k: true -> { i = 1 }"#),
            ("3", "4", "k: 3 -> 4"),
        ] {
            assert_eq!(difference("k", old, new), shown);
        }
    }
}
