//! Files of variables, as `env-file` names them: `KEY=value`, a line each.
//!
//! Programs that read such files differ in details; docs/spec/worker.md has the rules that were chosen and a table of
//! cases, which the test below reads. The content of a file never appears in a message, as it may be a secret.

use super::disk::Files;
use super::source::{Finding, Place};
use super::value::Scope;
use crate::spec::diagnostic::quoted;
use crate::spec::exec::{EnvFile, RESERVED};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::PathBuf;

/// The variables of a file, or what is wrong with it; `None` if it does not exist.
type Content = Result<Option<BTreeMap<String, String>>, Vec<String>>;

/// A cache: each file is read once for all workers that name it.
pub(super) struct EnvFiles<'a> {
    files: Files<'a>,
    /// A missing file is no error, as the tree is for another machine.
    elsewhere: bool,
    read: BTreeMap<PathBuf, Content>,
}

impl<'a> EnvFiles<'a> {
    pub(super) fn new(files: Files<'a>, elsewhere: bool) -> EnvFiles<'a> {
        EnvFiles { files, elsewhere, read: BTreeMap::new() }
    }

    /// The variables of these files; those of later files win. Errors are reported at `place`.
    pub(super) fn variables(
        &mut self,
        scope: &mut Scope<'_>,
        wanted: &[EnvFile],
        place: Place,
    ) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for EnvFile { path, optional } in wanted {
            let content = match self.read.entry(path.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(content(self.files, path)),
            };
            let name = path.to_string_lossy();
            match content {
                Ok(Some(variables)) => all.extend(variables.clone()),
                Ok(None) if *optional => {}
                Ok(None) => {
                    let message = format!("there is no file {}", quoted(&name));
                    let finding = match self.elsewhere {
                        true => Finding::warning("no-env-file", place, message),
                        false => Finding::error("no-env-file", place, message),
                    };
                    scope.report(
                        finding
                            .label("a relative path begins where this file is")
                            .hint(format!("make it; or write \"-{name}\" where it may be missing")),
                    );
                }
                Err(wrong) => {
                    for wrong in wrong {
                        scope.report(
                            Finding::error("bad-env-file", place, format!("cannot read {}: {wrong}", quoted(&name)))
                                .hint("one KEY=value a line; # begins a comment; quotes as in a shell"),
                        );
                    }
                }
            }
        }
        all
    }
}

fn content(files: Files<'_>, path: &std::path::Path) -> Content {
    let bytes = match files(path) {
        Ok((_, bytes)) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(vec![crate::error::plain(&error)]),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        vec![format!("line {} is no UTF-8", line + 1)]
    })?;
    parse(&text).map(Some)
}

/// Parses a file of variables. An error names the number of its line and nothing of its content.
fn parse(text: &str) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut lines = Lines { rest: Some(text.strip_prefix('\u{feff}').unwrap_or(text)), number: 0 };
    let (mut variables, mut wrong) = (BTreeMap::new(), Vec::new());
    while let Some(line) = lines.next() {
        let number = lines.number;
        match assignment(line, &mut lines) {
            Ok(Some((name, value))) => drop(variables.insert(name, value)),
            Ok(None) => {}
            Err(what) => wrong.push(format!("in line {number} {what}")),
        }
    }
    if wrong.is_empty() { Ok(variables) } else { Err(wrong) }
}

/// Lines without their ends.
struct Lines<'t> {
    rest: Option<&'t str>,
    /// The number of the last line returned, from 1.
    number: usize,
}

impl<'t> Lines<'t> {
    fn next(&mut self) -> Option<&'t str> {
        let rest = self.rest?;
        let (line, rest) = rest.split_once('\n').map_or((rest, None), |(line, rest)| (line, Some(rest)));
        self.rest = rest;
        self.number += 1;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

/// Parses one assignment, whose value may continue on further lines.
fn assignment(line: &str, lines: &mut Lines<'_>) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return Ok(None);
    }
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let (name, value) = exported.unwrap_or(line).split_once('=').ok_or("there is no =")?;
    let name = name.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("what stands before the = is no name of a variable");
    }
    if RESERVED.contains(&name) {
        return Err("a variable is set that treevisor sets itself");
    }
    let value = match value.trim_start().chars().next() {
        Some(quote @ ('\'' | '"')) => within(quote, &value.trim_start()[1..], lines)?,
        _ => bare(value, lines),
    };
    if value.contains('\0') {
        return Err("there is a NUL, which no program can be given");
    }
    Ok(Some((name.to_owned(), value)))
}

/// A value without quotes, up to a comment. A backslash at the end of a line continues it on the next.
fn bare(first: &str, lines: &mut Lines<'_>) -> String {
    let (mut value, mut line) = (String::new(), first);
    loop {
        if let Some(at) = comment(line) {
            value.push_str(&line[..at]);
            break;
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 0 {
            value.push_str(line);
            break;
        }
        value.push_str(&line[..line.len() - 1]);
        let Some(next) = lines.next() else { break };
        line = next;
    }
    value.trim().to_owned()
}

/// The index of a comment: a `#` after a blank.
fn comment(line: &str) -> Option<usize> {
    line.match_indices('#').map(|(at, _)| at).find(|at| line[..*at].ends_with([' ', '\t']))
}

/// A value in quotes, which may span lines.
fn within(quote: char, first: &str, lines: &mut Lines<'_>) -> Result<String, &'static str> {
    let (mut value, mut line) = (String::new(), first);
    loop {
        let (mut chars, mut joined) = (line.char_indices(), false);
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    let behind = &line[at + 1..];
                    let nothing =
                        behind.trim().is_empty() || comment(behind).is_some_and(|at| behind[..at].trim().is_empty());
                    return if nothing { Ok(value) } else { Err("there is something behind the closing quote") };
                }
                '\\' if quote == '"' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\' | '$' | '`'))) => value.push(escaped),
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, other)) => value.extend(['\\', other]),
                    None => joined = true,
                },
                _ => value.push(c),
            }
        }
        line = lines.next().ok_or("a quote is opened and never closed")?;
        if !joined {
            value.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in docs/spec/worker.md: the content of a file, and the variables that are read.
    fn cases() -> impl Iterator<Item = (String, String)> {
        let page = include_str!("../../docs/spec/worker.md");
        let (_, table) = page.split_once("| the file holds | a program gets |").expect("the table of cases");
        let unquoted = |cell: &str| cell.trim().trim_matches('`').replace('⏎', "\n").replace('␣', " ");
        table.lines().skip(2).take_while(|line| line.starts_with('|')).map(move |line| {
            let cells: Vec<&str> = line.split('|').collect();
            (unquoted(cells[1]), unquoted(cells[2]))
        })
    }

    #[test]
    fn every_case_of_the_page_is_read_so() {
        let mut count = 0;
        for (text, meant) in cases() {
            count += 1;
            let read = match parse(&text) {
                Ok(variables) => {
                    let shown = |(name, value): (&String, &String)| format!("{name}=[{value}]");
                    variables.iter().map(shown).collect::<Vec<_>>().join(" ")
                }
                Err(wrong) => format!("error: {}", wrong.join("; ")),
            };
            let read = if read.is_empty() { "nothing".into() } else { read };
            assert_eq!(read, meant, "{text:?}");
        }
        assert!(count >= 30, "{count}");
    }

    #[test]
    fn what_no_page_can_hold() {
        let one = |text: &str| parse(text).unwrap().remove("A").unwrap();
        assert_eq!(one("\u{feff}A=b\r\nB=c\r\n"), "b");
        assert_eq!(one("A=\"one\r\ntwo\"\r\n"), "one\ntwo");
        assert_eq!(one("A=\"a \\`date\\`\""), "a `date`");
        assert_eq!(one("A=b\\"), "b");
        assert_eq!(one(&format!("A={}", "x".repeat(100_000))).len(), 100_000);
        assert_eq!(parse("A=\0").unwrap_err(), ["in line 1 there is a NUL, which no program can be given"]);
        assert_eq!(
            parse("\n\nno secret\nA=b\n=c\nTREEVISOR_TOKEN=1").unwrap_err(),
            [
                "in line 3 there is no =",
                "in line 5 what stands before the = is no name of a variable",
                "in line 6 a variable is set that treevisor sets itself",
            ]
        );
    }
}
