//! Reads single values of a file as the type that their key needs. An invalid value is reported and `None` returned, so
//! that reading goes on and finds all errors.

use super::diagnostic::{nearest, plain, quoted};
use super::expand::{self, Unexpandable};
use super::source::{Finding, Findings, Place};
use super::{size, words};
use crate::ids::Name;
use crate::time::Span;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::DeValue;

/// The context of reading a value.
pub(super) struct Scope<'a> {
    pub(super) findings: &'a mut Findings,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Whether conditions between values are checked. They are not if a part could not be understood, nor for values of
    /// which no child is made.
    pub(super) judging: bool,
    /// The number of the copy that is read; `None` for a worker without copies.
    pub(super) copy: Option<u32>,
    /// Set when a value was read that differs between copies.
    pub(super) numbered: bool,
}

/// A value with its key and its place.
#[derive(Clone, Copy)]
pub(super) struct Value<'v> {
    pub(super) key: &'v str,
    pub(super) value: &'v DeValue<'v>,
    pub(super) place: Place,
}

impl<'v> Value<'v> {
    /// The elements of an array, each under its array's key.
    pub(super) fn elements(self, array: &'v [Spanned<DeValue<'v>>]) -> Vec<Value<'v>> {
        let place = |item: &Spanned<_>| Place::new(self.place.file, item.span());
        array.iter().map(|item| Value { key: self.key, value: item.get_ref(), place: place(item) }).collect()
    }
}

impl Scope<'_> {
    /// Reports a finding about a single value or key.
    pub(super) fn report(&mut self, finding: Finding) {
        self.findings.report(finding);
    }

    /// Reports a finding about a condition between values, if `judging` is set.
    pub(super) fn judge(&mut self, finding: Finding) {
        if self.judging {
            self.findings.add(finding);
        }
    }

    /// The text of a value in its file.
    pub(super) fn written(&self, value: Value<'_>) -> String {
        self.findings.sources.text(value.place).to_owned()
    }

    /// Reports a value of another type than its key needs.
    pub(super) fn wrong_type(&mut self, value: Value<'_>, expected: &str, right: &str) {
        let found = kind_of(value.value);
        self.report(
            Finding::error("wrong-type", value.place, format!("{} is {expected}, not {found}", quoted(value.key)))
                .label(found)
                .hint(format!("write {right}")),
        );
    }

    /// Reports a value of the right type that is not allowed.
    pub(super) fn bad_value(&mut self, value: Value<'_>, message: String, hint: impl Into<String>) {
        self.report(Finding::error("bad-value", value.place, message).hint(hint));
    }

    /// A string without expansion of `${…}`.
    fn raw_text<'v>(&mut self, value: Value<'v>) -> Option<&'v str> {
        match value.value {
            DeValue::String(text) => Some(text),
            _ => {
                self.wrong_type(value, "a string", &format!("{} = \"…\"", value.key));
                None
            }
        }
    }

    /// Expands the variables in `text`, which is (part of) `value`.
    fn expanded(&mut self, value: Value<'_>, text: &str) -> Option<String> {
        self.numbered |= expand::has_number(text);
        let out = match expand::expand(text, self.env, self.copy) {
            Ok(out) => out,
            Err(errors) => {
                for error in errors {
                    let written = &text[error.at.clone()];
                    let place = self.within(value.place, written);
                    self.report(match error.what {
                        Unexpandable::Unset(name) => Finding::error(
                            "unset-variable",
                            place,
                            format!("the variable {} is not set", quoted(&name)),
                        )
                        .label("no value and no default")
                        .hint(format!("set it in the environment of treevisor, or give a default: ${{{name}:-value}}")),
                        Unexpandable::Unclosed => Finding::error("bad-variable", place, "a `${` is never closed").hint(
                            "write `${VAR}` or `${VAR:-default}`; a literal `${` is `$${`. In a command that is one \
                                 string, a default with blanks needs quotes around the whole word",
                        ),
                        Unexpandable::Malformed(inside) => Finding::error(
                            "bad-variable",
                            place,
                            format!("{} is no variable", quoted(&format!("${{{inside}}}"))),
                        )
                        .hint(
                            "only `${VAR}` and `${VAR:-default}` are known, and in copies `${@n}` and `${@n+8079}`; a \
                                 literal `${` is `$${`",
                        ),
                        Unexpandable::NoCopies(inside) => Finding::error(
                            "no-copies",
                            place,
                            format!(
                                "{} is the number of a copy, and there are no copies",
                                quoted(&format!("${{{inside}}}"))
                            ),
                        )
                        .label("read for a child without `count`")
                        .hint("add a `count` to the worker, or write the number; a literal `${` is `$${`"),
                        Unexpandable::BelowZero(inside) => Finding::error(
                            "bad-variable",
                            place,
                            format!("{} is below zero for the first copy", quoted(&format!("${{{inside}}}"))),
                        )
                        .hint("the first copy has the number 1, so `${@n-1}` is the least"),
                        Unexpandable::TooDeep => {
                            Finding::error("bad-variable", place, "defaults stand within defaults too deep")
                                .hint("set the variable instead")
                        }
                    });
                }
                return None;
            }
        };
        if out.contains('\0') {
            self.bad_value(
                value,
                format!("{} has a NUL in it", quoted(value.key)),
                "no program can be given one; remove it",
            );
            return None;
        }
        Some(out)
    }

    /// The place of `written` within `place`, if it occurs there literally; else `place`. A string with escapes, or a
    /// variable's value, may not occur literally.
    fn within(&self, place: Place, written: &str) -> Place {
        let text = self.findings.sources.text(place);
        let first = written.lines().next().unwrap_or("");
        match text.find(first) {
            Some(at) if !first.is_empty() => {
                let start = place.start() + at;
                Place::new(place.file, start..start + first.len())
            }
            _ => place,
        }
    }

    /// A string, expanded.
    pub(super) fn text(&mut self, value: Value<'_>) -> Option<String> {
        let text = self.raw_text(value)?;
        self.expanded(value, text)
    }

    /// A string that is not empty.
    pub(super) fn filled(&mut self, value: Value<'_>) -> Option<String> {
        let text = self.text(value)?;
        if text.is_empty() {
            self.bad_value(value, format!("{} is empty", quoted(value.key)), "fill it in, or remove the line");
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, value: Value<'_>) -> Option<bool> {
        match value.value {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => {
                self.wrong_type(value, "true or false", &format!("{} = true", value.key));
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn integer(&mut self, value: Value<'_>, range: RangeInclusive<i64>) -> Option<i64> {
        let DeValue::Integer(written) = value.value else {
            let example = (*range.start()).max(1);
            self.wrong_type(value, "a whole number", &format!("{} = {example}", value.key));
            return None;
        };
        match i64::from_str_radix(written.as_str(), written.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let hint = match (*range.start(), *range.end()) {
                    (low, i64::MAX) => format!("write a number from {low} up"),
                    (low, high) => format!("write a number from {low} to {high}"),
                };
                self.bad_value(value, format!("{} cannot be {}", quoted(value.key), written), hint);
                None
            }
        }
    }

    /// A whole number within `range` that fits into 32 bits.
    pub(super) fn small(&mut self, value: Value<'_>, range: RangeInclusive<u32>) -> Option<u32> {
        let number = self.integer(value, i64::from(*range.start())..=i64::from(*range.end()))?;
        u32::try_from(number).ok()
    }

    /// A number, whole or not, within `range`.
    pub(super) fn number(&mut self, value: Value<'_>, range: RangeInclusive<f64>) -> Option<f64> {
        let number = match value.value {
            DeValue::Float(written) => written.as_str().parse::<f64>().ok(),
            DeValue::Integer(written) => i64::from_str_radix(written.as_str(), written.radix()).ok().map(|n| n as f64),
            _ => {
                self.wrong_type(value, "a number", &format!("{} = {:?}", value.key, range.start()));
                return None;
            }
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                let written = self.written(value);
                self.bad_value(
                    value,
                    format!("{} cannot be {written}", quoted(value.key)),
                    format!("write a number from {} to {}", range.start(), range.end()),
                );
                None
            }
        }
    }

    /// A duration such as `"5s"`. `others` names the other values of the key, for the message.
    pub(super) fn span(&mut self, value: Value<'_>, others: &str) -> Option<Span> {
        let text = match value.value {
            DeValue::String(_) => self.text(value)?,
            DeValue::Integer(_) | DeValue::Float(_) => {
                let written = self.written(value);
                self.wrong_type(
                    value,
                    &format!("a duration such as \"5s\"{others}"),
                    &format!("the unit with it: \"{written}s\" or \"{written}ms\""),
                );
                return None;
            }
            _ => {
                self.wrong_type(
                    value,
                    &format!("a duration such as \"5s\"{others}"),
                    &format!("{} = \"5s\"", value.key),
                );
                return None;
            }
        };
        match Span::parse(&text) {
            Ok(span) => Some(span),
            Err(error) => {
                self.report(
                    Finding::error("bad-duration", value.place, format!("cannot read the duration {}", quoted(&text)))
                        .label(error.to_string())
                        .hint(format!("a duration is written as \"250ms\", \"5s\" or \"1m30s\"{others}")),
                );
                None
            }
        }
    }

    /// A duration above zero.
    pub(super) fn positive(&mut self, value: Value<'_>) -> Option<Span> {
        let span = self.span(value, "")?;
        if span.is_zero() {
            self.bad_value(value, format!("{} cannot be zero", quoted(value.key)), "write a duration above zero");
            return None;
        }
        Some(span)
    }

    /// One of `words`. `foreign` are words of other supervisors for the same values.
    pub(super) fn choice<T: Copy>(
        &mut self,
        value: Value<'_>,
        words: &[(&str, T)],
        foreign: &[(&str, &str)],
    ) -> Option<T> {
        self.choice_or(value, words, foreign, "")
    }

    /// One of `words`, for a key that takes other values too; `others` names them in the hint.
    pub(super) fn choice_or<T: Copy>(
        &mut self,
        value: Value<'_>,
        words: &[(&str, T)],
        foreign: &[(&str, &str)],
        others: &str,
    ) -> Option<T> {
        let all = || words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        if !matches!(value.value, DeValue::String(_)) {
            self.wrong_type(value, &format!("one of {}", all()), &format!("{} = \"{}\"", value.key, words[0].0));
            return None;
        }
        let text = self.text(value)?;
        if let Some((_, found)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*found);
        }
        let spelt = plain(&text);
        let meant = words
            .iter()
            .map(|(word, _)| *word)
            .find(|word| *word == spelt)
            .or_else(|| foreign.iter().find(|(word, _)| *word == spelt).map(|(_, meant)| *meant))
            .or_else(|| nearest(&text, words.iter().map(|(word, _)| *word)));
        let label = meant.map_or_else(|| "not known".into(), |meant| format!("did you mean \"{meant}\"?"));
        self.report(
            Finding::error("bad-value", value.place, format!("{} cannot be {}", quoted(value.key), quoted(&text)))
                .label(label)
                .hint(format!("it is one of {}{others}", all())),
        );
        None
    }

    /// A command: an array of strings, or one string that is split into words *before* variables are expanded, so that
    /// a value with blanks or quotes remains one word.
    pub(super) fn command(&mut self, value: Value<'_>) -> Option<Vec<String>> {
        let empty = |scope: &mut Self, message: String| {
            scope.report(
                Finding::error("empty-command", value.place, message)
                    .hint(format!("write {} = [\"program\", \"argument\"]", value.key)),
            );
        };
        let words = match value.value {
            DeValue::String(line) => {
                let Some(words) = words::split(line) else {
                    self.report(
                        Finding::error(
                            "bad-command",
                            value.place,
                            format!("cannot cut {} into words", quoted(value.key)),
                        )
                        .label("a quote is not closed, or it ends in a backslash")
                        .hint("close the quote, or write the words as an array: [\"program\", \"argument\"]"),
                    );
                    return None;
                };
                self.warn_of_shell(value, &words);
                let expanded: Vec<_> = words.iter().map(|word| self.expanded(value, word)).collect();
                expanded.into_iter().collect::<Option<Vec<_>>>()?
            }
            DeValue::Array(array) => {
                let words: Vec<_> = value.elements(array).into_iter().map(|word| self.text(word)).collect();
                words.into_iter().collect::<Option<Vec<_>>>()?
            }
            _ => {
                self.wrong_type(
                    value,
                    "an array of strings, or one string",
                    &format!("{} = [\"program\", \"argument\"]", value.key),
                );
                return None;
            }
        };
        match words.first() {
            None => {
                empty(self, format!("{} is empty", quoted(value.key)));
                None
            }
            Some(program) if program.is_empty() => {
                empty(self, format!("the program of {} is empty", quoted(value.key)));
                None
            }
            Some(program) => {
                if program.starts_with("~/") {
                    self.report(
                        Finding::warning("shell-syntax", value.place, "`~` is not expanded: no shell is run")
                            .label("looked up in a folder called `~`")
                            .hint("write `${HOME}/…`"),
                    );
                }
                Some(words)
            }
        }
    }

    /// Warns about shell syntax in a command, which is passed on literally.
    fn warn_of_shell(&mut self, value: Value<'_>, words: &[String]) {
        for word in words.iter().skip(1) {
            let place = self.within(value.place, word);
            if words::is_meant_for_a_shell(word) {
                self.report(
                    Finding::warning(
                        "shell-syntax",
                        place,
                        format!("{} is passed to the program: no shell is run", quoted(word)),
                    )
                    .label("an argument like any other")
                    .hint(format!("for a shell, write {} = [\"sh\", \"-c\", \"…\"]", value.key)),
                );
            } else if words::is_bare_variable(word) {
                self.report(
                    Finding::warning(
                        "shell-syntax",
                        place,
                        format!("{} is passed as it stands: no shell is run", quoted(word)),
                    )
                    .label("an argument like any other")
                    .hint(format!("for the variable's value write `${{{}}}`", word.trim_start_matches('$'))),
                );
            }
        }
    }

    /// A size in bytes above zero: a whole number, or a string with a unit.
    pub(super) fn size(&mut self, value: Value<'_>) -> Option<u64> {
        let bytes = self.size_or_zero(value)?;
        if bytes == 0 {
            self.bad_value(value, format!("{} cannot be zero", quoted(value.key)), "write a size such as \"10MB\"");
            return None;
        }
        Some(bytes)
    }

    /// A size in bytes.
    pub(super) fn size_or_zero(&mut self, value: Value<'_>) -> Option<u64> {
        match value.value {
            DeValue::Integer(_) => self.integer(value, 0..=i64::MAX).and_then(|bytes| u64::try_from(bytes).ok()),
            DeValue::String(_) => {
                let text = self.text(value)?;
                size::parse(&text)
                    .map_err(|why| {
                        self.report(
                            Finding::error("bad-size", value.place, format!("cannot read the size {}", quoted(&text)))
                                .label(why)
                                .hint("a size is a number of bytes, or a string such as \"10MB\" or \"64KiB\""),
                        );
                    })
                    .ok()
            }
            _ => {
                self.wrong_type(value, "a size", &format!("{} = \"10MB\"", value.key));
                None
            }
        }
    }
}

/// The type of a value with its article, for messages.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The name of a child.
pub(super) fn name(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Name> {
    let text = scope.text(value)?;
    Name::parse(&text)
        .map_err(|why| {
            scope.report(
                Finding::error("bad-name", value.place, format!("{} is no name", quoted(&text)))
                    .label(why.to_string())
                    .hint("a name is 1 to 64 characters of A-Z a-z 0-9 _ . -"),
            );
        })
        .ok()
}
