//! `${VAR}` and `${VAR:-default}` in strings.
//!
//! `$$` is a dollar. A dollar before anything else stands for itself, so that `["sh", "-c", "echo $HOME"]` gives the
//! shell what it expects. A default may itself hold `${…}`; as in a shell it is used where the variable is unset *or
//! empty*.
//!
//! In a worker with a `count`, `${@n}` is the number of the copy, from 1, and `${@n+8079}` and `${@n-1}` are sums with
//! it.

use std::ops::Range;

/// Why a string cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unexpandable {
    /// The variable is not set and has no default.
    Unset(String),
    /// A `${` without its `}`.
    Unclosed,
    /// The text between the braces is neither `VAR` nor `VAR:-default`.
    Malformed(String),
    /// The number of a copy in a worker without a `count`.
    NoCopies(String),
    /// A sum with that number that is below zero.
    BelowZero(String),
    /// Defaults are nested too deeply.
    TooDeep,
}

/// One error, and the range of bytes in the text that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpandError {
    pub(super) what: Unexpandable,
    pub(super) at: Range<usize>,
}

/// How deep defaults may be nested. `expand` recurses for each level.
const DEEPEST: usize = 8;

/// Expands the variables in `text`; `copy` is the number of the copy that it is read for, if there are copies.
///
/// # Errors
/// All errors of the text, not just the first.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    copy: Option<u32>,
) -> Result<String, Vec<ExpandError>> {
    let mut errors = Vec::new();
    let out = expand_into(text, 0, &Known { env, copy }, DEEPEST, &mut errors);
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

/// Whether `text` contains the number of a copy, `${@n}`.
pub(super) fn has_number(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        if after.starts_with("{@") {
            return true;
        }
        rest = after.strip_prefix('$').unwrap_or(after);
    }
    false
}

/// The values of variables and of the copy's number.
struct Known<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    copy: Option<u32>,
}

fn expand_into(text: &str, offset: usize, known: &Known<'_>, depth: usize, errors: &mut Vec<ExpandError>) -> String {
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
            if let Some(sum) = body.strip_prefix('@') {
                match numbered(sum, known.copy) {
                    Some(Ok(number)) => out.push_str(&number.to_string()),
                    Some(Err(why)) => errors.push(ExpandError { what: why(body.to_owned()), at }),
                    None => errors.push(ExpandError { what: Unexpandable::Malformed(body.to_owned()), at }),
                }
                continue;
            }
            let (name, default) = match body.split_once(":-") {
                Some((name, default)) => (name, Some((default, start + 2 + name.len() + 2))),
                None => (body, None),
            };
            if !is_variable(name) {
                errors.push(ExpandError { what: Unexpandable::Malformed(body.to_owned()), at });
                continue;
            }
            // As in a shell, an empty variable uses the default if there is one, and is an empty text otherwise.
            match ((known.env)(name).filter(|value| default.is_none() || !value.is_empty()), default) {
                (Some(value), _) => out.push_str(&value),
                (None, Some(_)) if depth == 0 => errors.push(ExpandError { what: Unexpandable::TooDeep, at }),
                (None, Some((default, offset))) => {
                    out.push_str(&expand_into(default, offset, known, depth - 1, errors));
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

/// Makes an error of the text between the braces.
type WhyNot = fn(String) -> Unexpandable;

/// The value of `n`, `n+8079` or `n-1`; `None` for any other text.
fn numbered(sum: &str, copy: Option<u32>) -> Option<Result<i64, WhyNot>> {
    let rest = sum.trim().strip_prefix('n')?.trim_start();
    let more = match rest.split_at_checked(1) {
        None => 0,
        Some(("+", more)) => i64::from(more.trim().parse::<u32>().ok()?),
        Some(("-", less)) => -i64::from(less.trim().parse::<u32>().ok()?),
        Some(_) => return None,
    };
    Some(match copy.map(|copy| i64::from(copy) + more) {
        None => Err(Unexpandable::NoCopies),
        Some(below) if below < 0 => Err(Unexpandable::BelowZero),
        Some(number) => Ok(number),
    })
}

/// The index of the brace that closes the one before `text`.
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

/// Escapes `text` so that [`expand`] returns it unchanged.
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
            assert_eq!(expand(text, &env, None).as_deref(), Ok(meant), "{text}");
        }
    }

    #[test]
    fn the_number_of_a_copy_is_seen_and_one_that_is_escaped_is_not() {
        for text in ["${@n}", "a${@n+1}", "$$${@n}", "${NO:-${@n}}", "$ ${@"] {
            assert!(has_number(text), "{text}");
        }
        for text in ["", "$", "$$", "$${@n}", "$$$${@n}", "{@n}", "${HOME}@n"] {
            assert!(!has_number(text), "{text}");
        }
    }

    #[test]
    fn every_failure_with_its_place() {
        let errors = expand("a ${NO} ${b-c} ${NO:-${ALSO}} ${", &env, None).unwrap_err();
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
    fn the_number_of_a_copy_and_sums_with_it() {
        for (text, meant) in [
            ("${@n}", "3"),
            ("a-${@n}.log", "a-3.log"),
            ("${@n+8079}", "8082"),
            ("${@n - 1},${@ n + 0}", "2,3"),
            ("${NO:-${@n}}", "3"),
            ("$${@n}", "${@n}"),
            ("$@n", "$@n"),
        ] {
            assert_eq!(expand(text, &env, Some(3)).as_deref(), Ok(meant), "{text}");
        }
        let why = |text: &str, copy| expand(text, &env, copy).unwrap_err().remove(0).what;
        assert_eq!(why("${@n+1}", None), Unexpandable::NoCopies("@n+1".into()));
        assert_eq!(why("${@n-2}", Some(1)), Unexpandable::BelowZero("@n-2".into()));
        for text in ["${@}", "${@N}", "${@n+}", "${@n+x}", "${@n*2}", "${@n+99999999999}", "${@n1}"] {
            assert!(matches!(why(text, Some(1)), Unexpandable::Malformed(_)), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let text = format!("{}{}", "${A:-".repeat(1000), "}".repeat(1000));
        assert_eq!(expand(&text, &env, None).unwrap_err()[0].what, Unexpandable::TooDeep);
    }

    #[test]
    fn escaping_is_undone() {
        for text in ["$", "$$", "${HOME}", "a$b", "$${"] {
            assert_eq!(expand(&escape(text), &env, None).as_deref(), Ok(text));
        }
    }
}
