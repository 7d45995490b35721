//! A text of the source file with variables whose values are known only when the tree is started.

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Char(char),
    /// A variable of the environment, and its default in the TOML's syntax; `None` if the variable must be set.
    Variable {
        name: String,
        default: Option<String>,
    },
}

/// A text as a program is to get it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Value(Vec<Piece>);

impl Value {
    /// A text without variables.
    pub(super) fn plain(text: &str) -> Value {
        Value(text.chars().map(Piece::Char).collect())
    }

    /// A variable whose default is empty.
    pub(super) fn variable(name: &str) -> Value {
        Value::variable_or(name, "")
    }

    /// A variable with a default, which is in the TOML's syntax.
    pub(super) fn variable_or(name: &str, default: &str) -> Value {
        Value(vec![Piece::Variable { name: name.to_owned(), default: Some(default.to_owned()) }])
    }

    /// A variable that must be set.
    pub(super) fn required(name: &str) -> Value {
        Value(vec![Piece::Variable { name: name.to_owned(), default: None }])
    }

    pub(super) fn push(&mut self, piece: Piece) {
        self.0.push(piece);
    }

    pub(super) fn append(&mut self, other: &Value) {
        self.0.extend(other.0.iter().cloned());
    }

    /// As the path of a file: the same path with a number before the file's extension, as the files of a `count` have.
    pub(super) fn numbered(&self, number: u32) -> Value {
        let last = |wanted| self.0.iter().rposition(|piece| *piece == Piece::Char(wanted));
        let name = last('/').map_or(0, |at| at + 1);
        let at = last('.').filter(|at| *at > name).unwrap_or(self.0.len());
        let (before, after) = self.0.split_at(at);
        let number = Value::plain(&format!("-{number}"));
        Value([before, number.pieces(), after].concat())
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, if it has no variables.
    pub(super) fn text(&self) -> Option<String> {
        self.resolved(&|_| None).ok()
    }

    /// The text with the present values of its variables, or the name of the first that is not set.
    pub(super) fn resolved(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Char(c) => out.push(*c),
                Piece::Variable { name, .. } => out.push_str(&env(name).ok_or_else(|| name.clone())?),
            }
        }
        Ok(out)
    }

    /// The text in the TOML's syntax: literal dollars doubled, variables in braces.
    pub(super) fn in_toml(&self) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Char('$') => out.push_str("$$"),
                Piece::Char(c) => out.push(*c),
                Piece::Variable { name, default } => out.push_str(&variable(name, default.as_deref())),
            }
        }
        out
    }
}

/// A variable in the TOML's syntax.
pub(super) fn variable(name: &str, default: Option<&str>) -> String {
    match default {
        Some(default) => format!("${{{name}:-{default}}}"),
        None => format!("${{{name}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_before_the_extension() {
        for (path, numbered) in
            [("/a.d/b.log", "/a.d/b-7.log"), ("/a.d/b", "/a.d/b-7"), ("b.1.log", "b.1-7.log"), ("/a/.b", "/a/.b-7")]
        {
            assert_eq!(Value::plain(path).numbered(7), Value::plain(numbered), "{path}");
        }
    }

    #[test]
    fn dollars_are_plain_and_variables_in_braces() {
        let mut value = Value::plain("a$");
        value.append(&Value::variable("X"));
        value.append(&Value::variable_or("Y", "/z"));
        value.append(&Value::required("Z"));
        assert_eq!(value.in_toml(), "a$$${X:-}${Y:-/z}${Z}");
        assert_eq!(value.text(), None);
        assert_eq!(value.resolved(&|name| Some(name.to_lowercase())), Ok("a$xyz".into()));
        assert_eq!(value.resolved(&|_| None), Err("X".into()));
        assert_eq!(Value::plain("$").text().as_deref(), Some("$"));
    }
}
