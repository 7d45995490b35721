//! `${VAR}` and `${VAR:-default}` in strings.
//!
//! `$$` is a dollar. A dollar before anything else stands for itself, so that `["sh", "-c", "echo $HOME"]` gives the
//! shell what it expects. A default may itself hold `${…}`; as in a shell it is used where the variable is unset *or
//! empty*.

use std::ops::Range;

/// Why a string cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unexpandable {
    /// The variable is not set and has no default.
    Unset(String),
    /// A `${` without its `}`.
    Unclosed,
    /// What stands between the braces is neither `VAR` nor `VAR:-default`.
    Malformed(String),
    /// Defaults within defaults, deeper than any real file has.
    TooDeep,
}

/// One failure, and the bytes of the text that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpandError {
    pub(super) what: Unexpandable,
    pub(super) at: Range<usize>,
}

/// How deep defaults may stand within defaults: the reader calls itself for each.
const DEEPEST: usize = 8;

/// Puts the values of variables into `text`.
///
/// # Errors
/// All that is wrong with it, not just the first.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<ExpandError>> {
    let mut errors = Vec::new();
    let out = expand_into(text, 0, env, DEEPEST, &mut errors);
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

fn expand_into(
    text: &str,
    offset: usize,
    env: &dyn Fn(&str) -> Option<String>,
    depth: usize,
    errors: &mut Vec<ExpandError>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let start = offset + (text.len() - rest.len()) + dollar;
        let after = &rest[dollar + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(inside) = after.strip_prefix('{') {
            let Some(close) = closing(inside) else {
                errors.push(ExpandError { what: Unexpandable::Unclosed, at: start..offset + text.len() });
                return out;
            };
            let at = start..start + close + 3;
            let body = &inside[..close];
            rest = &inside[close + 1..];
            let (name, default) = match body.split_once(":-") {
                Some((name, default)) => (name, Some((default, start + 2 + name.len() + 2))),
                None => (body, None),
            };
            if !is_variable(name) {
                errors.push(ExpandError { what: Unexpandable::Malformed(body.to_owned()), at });
                continue;
            }
            // An empty one counts as unset for a default, and as set without one.
            match (env(name).filter(|value| default.is_none() || !value.is_empty()), default) {
                (Some(value), _) => out.push_str(&value),
                (None, Some(_)) if depth == 0 => errors.push(ExpandError { what: Unexpandable::TooDeep, at }),
                (None, Some((default, offset))) => {
                    out.push_str(&expand_into(default, offset, env, depth - 1, errors));
                }
                (None, None) => errors.push(ExpandError { what: Unexpandable::Unset(name.to_owned()), at }),
            }
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Where the brace closes that was opened just before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1usize;
    let mut last = b' ';
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if last == b'$' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        last = byte;
    }
    None
}

/// Whether `name` can be the name of a variable in a shell.
fn is_variable(name: &str) -> bool {
    name.bytes().enumerate().all(|(at, c)| c == b'_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit()))
        && !name.is_empty()
}

/// `text` so that [`expand`] gives it back.
pub(super) fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/root".into()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${HOME} $$".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_dollars() {
        for (text, meant) in [
            ("", ""),
            ("plain", "plain"),
            ("${HOME}/bin", "/root/bin"),
            ("${NO:-x y}", "x y"),
            ("${NO:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-full}", "full"),
            ("${NO:-${HOME}}/a", "/root/a"),
            ("${NO:-${NO:-deep}}", "deep"),
            ("$$", "$"),
            ("$${HOME}", "${HOME}"),
            ("$$$$", "$$"),
            ("$HOME and $1 and $", "$HOME and $1 and $"),
            ("a $(b) c", "a $(b) c"),
            ("${TRICKY}", "${HOME} $$"),
            ("ä${HOME}ö", "ä/rootö"),
            ("${HOME:-unused ${NO}}", "/root"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(meant), "{text}");
        }
    }

    #[test]
    fn every_failure_with_its_place() {
        let errors = expand("a ${NO} ${b-c} ${NO:-${ALSO}} ${", &env).unwrap_err();
        let found: Vec<_> = errors.iter().map(|error| (error.what.clone(), error.at.clone())).collect();
        assert_eq!(
            found,
            [
                (Unexpandable::Unset("NO".into()), 2..7),
                (Unexpandable::Malformed("b-c".into()), 8..14),
                (Unexpandable::Unset("ALSO".into()), 21..28),
                (Unexpandable::Unclosed, 30..32),
            ]
        );
    }

    #[test]
    fn depth_is_bounded() {
        let text = format!("{}{}", "${A:-".repeat(1000), "}".repeat(1000));
        assert_eq!(expand(&text, &env).unwrap_err()[0].what, Unexpandable::TooDeep);
    }

    #[test]
    fn escaping_is_undone() {
        for text in ["$", "$$", "${HOME}", "a$b", "$${"] {
            assert_eq!(expand(&escape(text), &env).as_deref(), Ok(text));
        }
    }
}
