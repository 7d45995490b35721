//! Reads and parses the files of a tree, and finds which file is included where.
//!
//! Only the `include`s are interpreted here. [`reader`](super::reader) reads all other keys afterwards, with the tables
//! layered.

use super::diagnostic::quoted;
use super::disk::Disk;
use super::fields::Layer;
use super::kind::Kind;
use super::source::{Finding, Findings, Place};
use super::tree::DEPTH_MAX;
use super::value::Scope;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Most files of one tree. Without a limit, a few files that include each other several times would multiply.
const INCLUDES_MAX: usize = 1_000;

/// The texts of the files, from which the tables borrow.
pub(super) struct Texts(Vec<OnceCell<String>>);

impl Texts {
    pub(super) fn new() -> Texts {
        Texts((0..INCLUDES_MAX + 1).map(|_| OnceCell::new()).collect())
    }
}

/// The parsed files.
pub(super) struct Overlay<'t> {
    /// Their tables, by their number in [`Sources`](super::Sources); `None` for a file that is not UTF-8.
    tables: Vec<Option<DeTable<'t>>>,
    /// The place of each `include` of one file, and the number of that file.
    included: HashMap<Place, usize>,
    /// The place of each `include` that is a pattern, and the numbers of the files that match it.
    matched: HashMap<Place, Vec<usize>>,
    /// Whether a file has syntax errors: then keys that seem to be missing may stand in the broken part.
    pub(super) broken: bool,
}

impl Overlay<'_> {
    /// Reads `file` and what it includes.
    pub(super) fn load<'t>(
        file: &Path,
        env: &dyn Fn(&str) -> Option<String>,
        disk: Disk<'_>,
        texts: &'t Texts,
        findings: &mut Findings,
    ) -> Overlay<'t> {
        let overlay = Overlay { tables: Vec::new(), included: HashMap::new(), matched: HashMap::new(), broken: false };
        let mut loader = Loader { findings, env, disk, texts: &texts.0, open: Vec::new(), loaded: 0, overlay };
        loader.load(file, None);
        loader.overlay
    }

    /// The top level of the first file, if it could be read.
    pub(super) fn top(&self) -> Option<Layer<'_>> {
        self.file(0)
    }

    /// The file that the `include` in this table names.
    pub(super) fn included(&self, layer: Layer<'_>) -> Option<Layer<'_>> {
        self.file(*self.included.get(&layer.get("include")?.place)?)
    }

    /// The files that match the `include` in this table, if that is a pattern; otherwise `None`.
    pub(super) fn matched(&self, layer: Layer<'_>) -> Option<Vec<Layer<'_>>> {
        let files = self.matched.get(&layer.get("include")?.place)?;
        Some(files.iter().filter_map(|file| self.file(*file)).collect())
    }

    fn file(&self, file: usize) -> Option<Layer<'_>> {
        let table = self.tables.get(file)?.as_ref()?;
        Some(Layer { table, file, kind: Some(Kind::Top) })
    }
}

impl Drop for Overlay<'_> {
    fn drop(&mut self) {
        self.tables.drain(..).flatten().for_each(dismantle);
    }
}

/// Drops a table without recursion. A header of 100,000 dotted names makes tables nested as deeply, whose ordinary drop
/// would overflow the stack.
fn dismantle(table: DeTable<'_>) {
    let mut left: Vec<DeValue<'_>> = vec![DeValue::Table(table)];
    while let Some(value) = left.pop() {
        match value {
            DeValue::Table(table) => left.extend(table.into_iter().map(|(_, value)| value.into_inner())),
            DeValue::Array(array) => left.extend(array.into_iter().map(toml::Spanned::into_inner)),
            _ => {}
        }
    }
}

/// Reads a file and those that it includes, recursively.
struct Loader<'a, 't> {
    findings: &'a mut Findings,
    env: &'a dyn Fn(&str) -> Option<String>,
    disk: Disk<'a>,
    texts: &'t [OnceCell<String>],
    /// The chain of files that are being read, the innermost last, to find cycles.
    open: Vec<PathBuf>,
    /// Files read so far.
    loaded: usize,
    overlay: Overlay<'t>,
}

impl<'t> Loader<'_, 't> {
    /// Reads `path`, and returns its number; `from` is the place of the `include` that names it.
    fn load(&mut self, path: &Path, from: Option<Place>) -> Option<usize> {
        let (identity, bytes) = match (self.disk.files)(path) {
            Ok(found) => found,
            Err(error) => {
                self.unreadable(path, from, &error.to_string());
                return None;
            }
        };
        if let (true, Some(from)) = (self.open.contains(&identity), from) {
            self.findings.add(
                Finding::error("include-cycle", from, format!("{} includes itself", quoted(&path.to_string_lossy())))
                    .label("comes back to a file that is still being read")
                    .hint("remove this include, or take what both need into a third file"),
            );
            return None;
        }
        self.loaded += 1;
        if let (true, Some(from)) = (self.loaded > INCLUDES_MAX, from) {
            self.findings.add(
                Finding::error("too-many", from, format!("more than {INCLUDES_MAX} files"))
                    .hint("files that include each other several times each multiply"),
            );
            return None;
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let file = self.add(path, &text);
                self.findings.add(
                    Finding::error(
                        "not-utf8",
                        Place::new(file, good..good + '\u{fffd}'.len_utf8()),
                        "this is no UTF-8",
                    )
                    .label("the first byte that is none")
                    .hint("save the file as UTF-8, which is all that TOML allows"),
                );
                self.overlay.broken = true;
                return None;
            }
        };
        let file = self.add(path, &text);
        let texts = self.texts;
        let table = self.parse(file, texts.get(file)?.get_or_init(|| text));
        let mut includes = Vec::new();
        let top = Layer { table: &table, file, kind: Some(Kind::Top) };
        includes_in(
            &mut Scope { findings: self.findings, env: self.env, judging: false, copy: None, numbered: false },
            top,
            0,
            &mut includes,
        );
        self.overlay.tables[file] = Some(table);
        self.open.push(identity);
        for (target, place) in includes {
            if self.open.len() > DEPTH_MAX {
                self.findings.add(Finding::error("too-deep", place, "files include files too deep"));
                continue;
            }
            let beside = path.parent().unwrap_or(Path::new(""));
            if is_pattern(&target) {
                self.load_all(beside, &target, place);
                continue;
            }
            let target = beside.join(target);
            if let Some(included) = self.load(&target, Some(place)) {
                self.overlay.included.insert(place, included);
            }
        }
        self.open.pop();
        Some(file)
    }

    /// Reads the files that match a pattern.
    fn load_all(&mut self, beside: &Path, pattern: &str, place: Place) {
        if pattern.contains("**") {
            self.findings.add(
                Finding::error("bad-value", place, format!("{} reaches over directories", quoted(pattern)))
                    .hint("a `*` stands for a part of one name: include = \"conf.d/*.toml\""),
            );
            return;
        }
        let files = match (self.disk.matching)(beside, pattern) {
            Ok(files) => files,
            Err(error) => {
                self.unreadable(&beside.join(pattern), Some(place), &error.to_string());
                return;
            }
        };
        if files.is_empty() {
            self.findings.add(
                Finding::warning("nothing-included", place, format!("no file is like {}", quoted(pattern)))
                    .label("nothing comes in")
                    .hint(
                        "it is taken from the folder of the file that includes; `*` does not stand for a leading dot",
                    ),
            );
        }
        let loaded = files.iter().filter_map(|file| self.load(file, Some(place))).collect();
        self.overlay.matched.insert(place, loaded);
    }

    fn add(&mut self, path: &Path, text: &str) -> usize {
        self.overlay.tables.push(None);
        self.findings.sources.add(path.to_owned(), text.into())
    }

    fn unreadable(&mut self, path: &Path, from: Option<Place>, why: &str) {
        let message = format!("cannot read {}: {why}", quoted(&path.to_string_lossy()));
        let finding = match from {
            Some(place) => Finding::error("unreadable", place, message)
                .label("included here")
                .hint("the path is taken from the folder of the file that includes it"),
            None => Finding::error("unreadable", Place::whole(self.add(path, "")), message),
        };
        self.findings.add(finding);
    }

    fn parse(&mut self, file: usize, text: &'t str) -> DeTable<'t> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            self.overlay.broken = true;
            let errors: Vec<_> = errors
                .iter()
                .map(|error| {
                    let place = Place::new(file, error.span().unwrap_or(0..0));
                    let (message, hint) = in_plain_words(error.message(), self.findings.sources.text(place));
                    let finding = Finding::error("syntax", place, message);
                    match hint {
                        Some(hint) => finding.hint(hint),
                        None => finding,
                    }
                })
                .collect();
            self.findings.syntax(file, errors);
        }
        table.into_inner()
    }
}

/// Finds the `include` of a supervisor, or else those of all supervisors below it.
fn includes_in(scope: &mut Scope<'_>, body: Layer<'_>, depth: usize, found: &mut Vec<(String, Place)>) {
    let children = body.get("child").and_then(|value| match value.value {
        DeValue::Array(array) => Some((value, value.elements(array))),
        _ => None,
    });
    if let Some(include) = body.get("include")
        && let Some(target) = scope.filled(include)
    {
        // Children of the files that match a pattern come after the supervisor's own.
        let several = is_pattern(&target);
        match children.as_ref().filter(|_| !several) {
            None => found.push((target, include.place)),
            Some((array, children)) => {
                let first = children.first().map_or(array.place, |child| child.place);
                let line = scope.findings.sources.line(first);
                scope.findings.add(
                    Finding::error(
                        "include-and-children",
                        include.place,
                        "a supervisor has either `include` or children of its own",
                    )
                    .label(format!("its own begin in line {line}"))
                    .hint("move the children into the file, or the include into a [[child]] of its own"),
                );
            }
        }
        if !several {
            return;
        }
    }
    if depth >= DEPTH_MAX {
        return;
    }
    for child in children.into_iter().flat_map(|(_, children)| children) {
        let Some(child) = Layer::of(child, None) else { continue };
        if !child.has("command") && (child.has("child") || child.has("include")) {
            includes_in(scope, child, depth + 1, found);
        }
    }
}

/// Whether an `include` is a pattern.
pub(super) fn is_pattern(target: &str) -> bool {
    target.contains(['*', '?', '['])
}

/// The parser's message, with a hint for common mistakes.
fn in_plain_words(message: &str, text: &str) -> (String, Option<&'static str>) {
    let hint = if text.starts_with(['“', '”', '‘', '’']) {
        Some("these are typographic quotes; TOML takes straight ones")
    } else if message.contains("duplicate key") {
        Some("each key once per table; a second child begins with a `[[child]]` of its own")
    } else if message.contains("string values must be quoted") || message.contains("unquoted") {
        Some("strings stand in double quotes: strategy = \"one-for-all\"")
    } else if message.contains("leading zero") {
        Some("an octal mask is written umask = \"022\" or umask = 0o022")
    } else {
        None
    };
    (format!("this is no TOML: {message}"), hint)
}
