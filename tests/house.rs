//! How large the files and functions of the house are, and that its map names what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file. Tests that would make it longer have a file of their own, `tests.rs`.
const FILE_MAX: usize = 500;

/// Lines of a file of the shell without its tests: a part that grows beyond is two.
const NODE_FILE_MAX: usize = 400;

/// Lines of a function.
const FUNCTION_MAX: usize = 80;

/// Files that are longer. The list may only shrink.
const LONG_FILES: &[&str] = &[];

/// Functions that are longer: each is one `match`, or one literal, that is a table. The list may only shrink.
const LONG_FUNCTIONS: &[&str] = &["cli/import/supervisord/program: apply", "node/translate/report: body"];

/// Pages that say which file does what.
const MAPS: &[&str] = &["docs/architecture.md", "CONTRIBUTING.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|of| of == "rs") {
            into.push(path);
        }
    }
}

/// The files of the program and of its crates without those of tests, each with its text. The names of the program's
/// begin below `src`.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    for of in fs::read_dir(root().join("crates")).unwrap() {
        rust_files(&of.unwrap().path().join("src"), &mut files);
    }
    let inside = |path: &Path| path.strip_prefix(root()).unwrap().with_extension("");
    files.retain(|path| {
        let is_test = |part| ["tests", "testing"].iter().any(|test| part == *test);
        !inside(path).iter().any(is_test)
    });
    let read = |path: PathBuf| {
        let name = inside(&path).to_str().unwrap().to_owned();
        (name.strip_prefix("src/").map_or(name.clone(), str::to_owned), fs::read_to_string(&path).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// The same in lines, but for the test module at the end of a file.
fn sources() -> Vec<(String, Vec<String>)> {
    let lines = |(name, text): (String, String)| {
        let tests = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        (name, text[..tests].lines().map(str::to_owned).collect())
    };
    files().into_iter().map(lines).collect()
}

/// Holds what is found against a list that may only become shorter.
fn shrinks(list: &[&str], found: &BTreeSet<String>, what: &str) {
    let list: BTreeSet<String> = list.iter().map(|one| (*one).to_owned()).collect();
    let new: Vec<_> = found.difference(&list).map(|one| format!("{one} {what}, and was not before")).collect();
    let gone: Vec<_> = list.difference(found).map(|one| format!("{one} has left the list: strike it out")).collect();
    assert!(new.is_empty() && gone.is_empty(), "{}", [new, gone].concat().join("\n"));
}

#[test]
fn no_file_becomes_a_drawer() {
    let long = files().into_iter().filter(|(_, text)| text.lines().count() > FILE_MAX).map(|(name, _)| name);
    shrinks(LONG_FILES, &long.collect(), &format!("is longer than {FILE_MAX} lines"));
}

/// Code is cut at this column by rustfmt, which leaves comments as they are.
const WIDTH: usize = 120;

/// A table, a drawing and an example are as wide as they are.
#[test]
fn comments_are_as_wide_as_code() {
    let mut wrong = Vec::new();
    for room in ["src", "crates", "tests", "examples", "fuzz/fuzz_targets"] {
        let mut files = Vec::new();
        rust_files(&root().join(room), &mut files);
        for file in files {
            let (text, mut is_example) = (fs::read_to_string(&file).unwrap(), false);
            for (at, line) in text.lines().enumerate() {
                let comment =
                    line.trim_start().strip_prefix("//").map(|comment| comment.trim_start_matches(['/', '!']));
                let Some(comment) = comment.map(str::trim_start) else { continue };
                is_example ^= comment.starts_with("```");
                let is_table = comment.starts_with('|');
                if line.chars().count() > WIDTH && !is_table && !is_example {
                    wrong.push(format!("{}:{}", file.strip_prefix(root()).unwrap().display(), at + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "longer than {WIDTH} columns: {}", wrong.join(", "));
}

#[test]
fn no_part_of_a_node_becomes_one() {
    let long = sources().into_iter().filter(|(name, lines)| name.starts_with("node/") && lines.len() > NODE_FILE_MAX);
    shrinks(&[], &long.map(|(name, _)| name).collect(), &format!("is longer than {NODE_FILE_MAX} lines"));
}

#[test]
fn no_function_is_longer_than_a_screen_or_two() {
    let mut long = BTreeSet::new();
    for (name, lines) in sources() {
        let mut begun: Option<(usize, usize, &str)> = None;
        for (at, line) in lines.iter().enumerate() {
            let (indent, text) = (line.len() - line.trim_start().len(), line.trim_start());
            let words: Vec<&str> = text.split_whitespace().take(5).collect();
            let after_fn = words.iter().position(|word| *word == "fn").and_then(|at| words.get(at + 1));
            match (begun, after_fn) {
                (None, Some(called)) if !text.starts_with("//") && !text.ends_with(';') => {
                    begun = Some((indent, at, called.split(['(', '<']).next().unwrap_or_default()));
                }
                // rustfmt puts the end where the beginning stands.
                (Some((from, first, called)), _) if indent == from && text == "}" => {
                    if at - first >= FUNCTION_MAX {
                        long.insert(format!("{name}: {called}"));
                    }
                    begun = None;
                }
                (Some((from, ..)), _) if indent == from && text.ends_with(';') => begun = None,
                _ => {}
            }
        }
    }
    shrinks(LONG_FUNCTIONS, &long, &format!("is longer than {FUNCTION_MAX} lines"));
}

/// Whether a path as it is written in a page, `room::file::Item` or `room/file.rs`, is there.
fn exists(token: &str) -> bool {
    if token.ends_with(".rs") {
        return ["", "src", "crates", "tests"].iter().any(|below| root().join(below).join(token).exists());
    }
    let mut at = root().join("src");
    for part in token.split("::") {
        // An item of the file so far; whether that has it is for rustdoc.
        if part.starts_with(|first: char| first.is_ascii_uppercase())
            || at.with_extension("rs").is_file() && !at.is_dir()
        {
            return true;
        }
        at.push(part);
        if !at.is_dir() && !at.with_extension("rs").is_file() {
            // A function of the room.
            return at
                .parent()
                .is_some_and(|room| room.join("mod.rs").is_file() || room.with_extension("rs").is_file())
                && token.split("::").count() > 2;
        }
    }
    true
}

#[test]
fn the_map_names_what_is_there() {
    let rooms: BTreeSet<String> = sources()
        .into_iter()
        .map(|(name, _)| name.split('/').next().unwrap_or_default().to_owned())
        .filter(|room| !["main", "lib", "crates"].contains(&room.as_str()))
        .collect();
    let mut wrong = Vec::new();
    for map in MAPS {
        let text = fs::read_to_string(root().join(map)).unwrap();
        for token in text.split('`').skip(1).step_by(2) {
            let is_path = token.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '/' | '.'));
            let in_a_room = token.split("::").next().is_some_and(|first| rooms.contains(first)) && token.contains("::");
            if is_path && (in_a_room || token.ends_with(".rs") && token.contains('/')) && !exists(token) {
                wrong.push(format!("{map} names `{token}`, which is not there"));
            }
        }
        if *map == "docs/architecture.md" {
            let missing = rooms.iter().filter(|room| !text.contains(&format!("`{room}`")));
            wrong.extend(missing.map(|room| format!("{map} does not name the room `{room}`")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is a person's, and never a process's: it has no words, and no person stands for it.
const WORDS: &[&str] = &[
    "nobody",
    "somebody",
    "someone",
    "anybody",
    "anyone",
    "everybody",
    "everyone",
    "no one",
    "whoever",
    "whom",
    "last words",
    "has heard",
    "have heard",
    "is told",
    "are told",
    "was told",
    "were told",
    "been told",
    "he",
    "she",
    "him",
    "his",
    "her",
];

/// Programs and their parts: what these do is reported, sent or received, and never said or heard.
const PROGRAMS: &[&str] = &[
    "child",
    "node",
    "worker",
    "supervisor",
    "root",
    "process",
    "program",
    "agent",
    "parent",
    "kernel",
    "probe",
    "hook",
];

/// What a person does: none of it stands right after a word of [`PROGRAMS`].
const SPEECH: &[&str] = &["say", "says", "said", "tell", "tells", "told", "hear", "hears", "heard"];

/// Of these *who* may be said, when one of them is at most so many words before it.
const PEOPLE: &[&str] = &["operator", "operators", "user", "users", "people", "person", "those", "all"];
const WHO_WITHIN: usize = 6;

/// Where a text speaks of a program as of a person, by two words together: a program that says something, and *who*
/// with no person before it. *Who may*, *who can* and *who has* stand in questions about people.
fn by_their_neighbours(words: &str) -> Vec<String> {
    let letter = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '\'' | '/');
    let words: Vec<&str> = words.split(|c| !letter(c)).filter(|word| !word.is_empty()).collect();
    let is_program = |word: &str| {
        PROGRAMS.iter().any(|of| {
            word.strip_suffix("es").unwrap_or(word) == *of
                || word.strip_suffix('s').unwrap_or(word) == *of
                || word == "children"
        })
    };
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let after = words.get(at + 1).copied().unwrap_or_default();
        if is_program(word) && SPEECH.contains(&after) {
            found.push(format!("{word} {after}"));
        }
        let person = || words[at.saturating_sub(WHO_WITHIN)..at].iter().any(|word| PEOPLE.contains(word));
        if *word == "who" && !["may", "can", "has"].contains(&after) && !person() {
            found.push(format!("who {after}"));
        }
    }
    found
}

#[test]
fn a_program_says_nothing_and_who_is_a_person() {
    let found = |text: &str| by_their_neighbours(text).join(", ");
    assert_eq!(found("the child says that its nodes heard of it"), "child says, nodes heard");
    assert_eq!(found("a process told us who sends it"), "process told, who sends");
    assert_eq!(found("an operator who forgets; who may ask; the spec says so; a child that is told apart"), "");
}

/// What is prose in a line: of Rust its comments and strings, also the comments of a script in a string; of a page all
/// but what is quoted as code; of any other file the whole line, as its names are read there too.
fn prose(line: &str, name: &str) -> String {
    if name.ends_with(".md") {
        return line.split('`').step_by(2).collect::<Vec<_>>().join(" - ").to_lowercase();
    }
    let begins = line.trim_start();
    if !name.ends_with(".rs") || begins.starts_with("# ") {
        return line.to_lowercase();
    }
    if begins.starts_with("#[serde(") {
        return String::new();
    }
    let code = line.split("//").next().unwrap_or_default();
    // A string without a space is a name, in code or on a wire.
    let strings = code.split('"').skip(1).step_by(2).filter(|text| text.contains(' '));
    strings.chain(line.get(code.len()..)).collect::<Vec<_>>().join(" - ").to_lowercase()
}

/// What is written by hand: the program, its tests and pages, clients in other languages, scripts.
const WRITTEN: &[&str] = &[
    "src",
    "crates",
    "tests",
    "examples",
    "benches",
    "clients",
    "fuzz/fuzz_targets",
    "packaging",
    "contrib",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "build.rs",
];

/// What is not: this list of words, the words of other projects, and what tests compare with.
const NOT_WRITTEN: &[&str] = &[
    "tests/house.rs",
    "packaging/THIRD-PARTY.md",
    "tests/data/import",
    "tests/cli/golden",
    "clients/node/node_modules",
];

const EXTENSIONS: &[&str] =
    &["rs", "md", "toml", "yml", "py", "sh", "js", "mjs", "ts", "html", "css", "c", "h", "hpp", "service"];

/// The files at and below `at` that are read for their words: by extension, and scripts.
fn written(at: &Path, into: &mut Vec<(String, String)>) {
    let name = at.strip_prefix(root()).unwrap().to_str().unwrap();
    if NOT_WRITTEN.contains(&name) {
        return;
    }
    if at.is_dir() {
        fs::read_dir(at).unwrap().for_each(|entry| written(&entry.unwrap().path(), into));
        return;
    }
    let is_known = at.extension().is_some_and(|of| EXTENSIONS.iter().any(|known| of == *known));
    let text = String::from_utf8(fs::read(at).unwrap()).unwrap_or_default();
    if is_known || at.extension().is_none() && text.starts_with("#!") {
        into.push((name.to_owned(), text));
    }
}

#[test]
fn texts_speak_of_processes_in_the_fields_words() {
    let (mut texts, mut wrong) = (Vec::new(), Vec::new());
    WRITTEN.iter().for_each(|at| written(&root().join(at), &mut texts));
    for (name, text) in texts {
        for (at, line) in text.lines().enumerate() {
            let words = prose(line, &name);
            let is_whole = |at: usize, word: &str| {
                // In backticks, or in a path, it is a name: `nobody` is a user of the system.
                let letter =
                    |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '`' | '/'));
                !letter(words[..at].chars().next_back()) && !letter(words[at + word.len()..].chars().next())
            };
            let found = WORDS.iter().filter(|word| words.match_indices(**word).any(|(at, _)| is_whole(at, word)));
            let found = found.map(|word| (*word).to_owned()).chain(by_their_neighbours(&words));
            wrong.extend(found.map(|word| format!("{name}:{}: \"{word}\": {}", at + 1, line.trim())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words of a comment of this length are counted; in a longer one a reader sees whether it is worth its lines.
const SHORT: usize = 3;

/// Words that add nothing to a name.
const FILLERS: &str = "a all an and are as at by for how in is it its of on one or own that the their them these this \
                       those to what when where whether which with";

/// The words of a text or of a name, in lower case.
fn words_of(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() || was_lower && c.is_ascii_uppercase() {
            words.push(String::new());
        }
        was_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        words.last_mut().unwrap().extend(Some(c.to_ascii_lowercase()).filter(char::is_ascii_alphanumeric));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether one line of a comment says what the line of its item does not. Without a full stop it is the help of an
/// option.
fn adds_a_word(doc: &str, item: &str) -> bool {
    let (doc_words, own) = (words_of(doc), words_of(item));
    let is_same = |one: &str, other: &str| one == other || one.len() > 2 && other.starts_with(one);
    let is_known = |word: &String| {
        FILLERS.split(' ').any(|filler| filler == word) || own.iter().any(|of| is_same(word, of) || is_same(of, word))
    };
    !doc.ends_with('.') || doc.split_whitespace().count() > SHORT || !doc_words.iter().all(is_known)
}

#[test]
fn a_doc_comment_adds_a_word_to_the_name_of_its_item() {
    assert!(!adds_a_word("The child.", "child: ChildId,") && !adds_a_word("Its paths.", "pub path: PathBuf,"));
    assert!(adds_a_word("The parent.", "child: ChildId,") && adds_a_word("Bytes.", "max: u64,"));
    let is_doc = |line: &str| line.trim_start().starts_with("///");
    let mut wrong = Vec::new();
    for (name, lines) in sources() {
        for (at, line) in lines.iter().enumerate() {
            let Some(doc) = line.trim_start().strip_prefix("/// ") else { continue };
            let mut below = lines[at + 1..].iter().map(|line| line.trim_start());
            let is_alone =
                !lines[..at].last().is_some_and(|line| is_doc(line)) && !below.clone().next().is_some_and(is_doc);
            let item = below.find(|line| !line.starts_with("#[")).unwrap_or_default();
            if is_alone && !adds_a_word(doc, item) {
                wrong.push(format!("{name}:{}: {doc} {item}", at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
