//! The rooms of the house, and which may import which: structure is tested like behaviour.
//!
//! The table is the one of `docs/architecture.md`. When an arrow that it lacks is right, the table and the map change
//! in the same commit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What every room may import.
const HALLWAY: &[&str] = &["ids", "time", "error", "text", "signal", "files", "pattern"];

/// Room, and what it may import besides the hallway.
const ARROWS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("time", &[]),
    ("text", &[]),
    ("signal", &[]),
    ("error", &[]),
    ("files", &[]),
    ("pattern", &[]),
    ("logging", &["os", "logs"]),
    ("spec", &[]),
    ("supervision", &["spec"]),
    ("hosts", &[]),
    ("wire", &[]),
    ("explain", &["wire"]),
    ("metrics", &["wire"]),
    ("os", &["spec"]),
    ("instance", &["os"]),
    ("link", &["wire", "os"]),
    ("logs", &["spec", "os"]),
    ("node", &["spec", "supervision", "hosts", "wire", "os", "explain", "link", "instance", "logs", "logging"]),
    ("control", &["wire", "link", "instance", "os"]),
    ("store", &[]),
    ("host", &["spec", "wire", "hosts", "node", "control", "store", "link", "instance", "logging", "os"]),
    ("web", &["spec", "wire", "metrics", "control", "instance", "explain", "os"]),
    (
        "cli",
        &["spec", "wire", "metrics", "control", "web", "node", "logging", "logs", "link", "instance", "explain", "os"],
    ),
    ("main", &["cli"]),
    ("bin", &["host", "os"]),
];

/// Crates that have one home.
const HOMES: &[(&str, &[&str])] = &[
    ("zmq", &["link", "os"]),
    ("zmq_sys", &["link", "os"]),
    ("nix", &["os"]),
    ("signal_hook", &["os"]),
    ("toml", &["spec"]),
    ("slog_term", &["logging"]),
    ("slog_json", &["logging"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("roff", &["cli"]),
    ("glob", &["pattern", "cli", "spec"]),
    ("clap", &["cli"]),
    ("ratatui", &["cli"]),
    ("indicatif", &["cli"]),
    ("miette", &["spec"]),
    ("treevisor_client", &["lib", "node", "cli", "web", "host"]),
    // No supervisor starts a thread of these, or touches a page of them.
    ("base64", &["store", "host"]),
    ("rcgen", &["host"]),
    ("ring", &["host"]),
    ("rustls", &["store"]),
    ("ureq", &["store"]),
    ("axum", &["web"]),
    ("http_body", &["web"]),
    ("hyper", &["web"]),
    ("hyper_util", &["web"]),
    ("sha2", &["web", "host"]),
    ("subtle", &["web"]),
    ("tokio", &["web"]),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    files
        .into_iter()
        .map(|path| {
            let inner = path.strip_prefix(&src).unwrap();
            let room = inner.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
            (room.to_string(), path.clone(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The source without its comments and without its test module, which may look where it likes.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        if line.trim_start().starts_with("#[cfg(test)]") && next.starts_with("mod ") && next.ends_with('{') {
            break;
        }
        out.push_str(line.split("//").next().unwrap_or_default());
        out.push('\n');
    }
    out
}

/// Whether this is a file of tests alone.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// The first parts of all `crate::…` paths in a source.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let inner = &group[..group.find('}').unwrap_or(group.len())];
            found.extend(inner.split(',').map(|part| first_word(part.trim())));
        } else {
            found.insert(first_word(rest));
        }
    }
    found.remove("");
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn every_arrow_is_on_the_map() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources() {
        if room == "lib" || is_test(&path) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: a room that is not on the map", path.display()));
            continue;
        };
        for target in imports(&code(&text)) {
            let is_room = ARROWS.iter().any(|(name, _)| *name == target);
            let fine = target == room || HALLWAY.contains(&target.as_str()) || allowed.contains(&target.as_str());
            if is_room && !fine {
                wrong.push(format!("{}: {room} imports {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_stay_at_home() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources() {
        if is_test(&path) {
            continue;
        }
        let code = code(&text);
        for (name, homes) in HOMES {
            let used = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                at == 0
                    || !code.as_bytes()[at - 1].is_ascii_alphanumeric()
                        && !matches!(code.as_bytes()[at - 1], b'_' | b':')
            });
            if used && !homes.contains(&room.as_str()) {
                wrong.push(format!("{}: {name} belongs into {homes:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure_and_unsafe_lives_in_os() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources() {
        if is_test(&path) {
            continue;
        }
        let code = code(&text);
        let mut refuse = |what: &str, why: &str| {
            let begins_a_word = |at: usize| {
                at == 0 || !matches!(code.as_bytes()[at - 1], b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_')
            };
            if code.match_indices(what).any(|(at, _)| begins_a_word(at)) {
                wrong.push(format!("{}: `{what}`: {why}", path.display()));
            }
        };
        if room != "os" {
            refuse("unsafe {", "unsafe code lives in os");
            refuse("unsafe fn", "unsafe code lives in os");
        }
        if room != "os" {
            refuse("Instant::now", "clocks are read in os::clock");
            refuse("SystemTime::now", "clocks are read in os::clock");
        }
        if matches!(room.as_str(), "supervision" | "hosts" | "wire" | "explain" | "metrics") {
            for what in
                ["std::fs", "std::process", "std::net", "std::thread", "std::env", "std::os", "slog", "println!"]
            {
                refuse(what, "this room does no I/O");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A supervisor must not start a thread of the console's runtime, nor touch a page of it: only the console's verb leads
/// there.
#[test]
fn the_console_is_a_process_of_its_own() {
    let leads_there = |text: &str| code(text).contains("web::") || imports(&code(text)).contains("web");
    let mut found: Vec<_> = sources()
        .into_iter()
        .filter(|(room, _, text)| room != "web" && leads_there(text))
        .map(|(_, path, _)| path)
        .collect();
    found.sort();
    let verb = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli");
    assert_eq!(found, [verb.join("mod.rs"), verb.join("web.rs")]);
}

/// What a worker links for its heartbeat must cost it nothing.
#[test]
fn the_client_has_no_dependencies() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/client/Cargo.toml");
    let text = fs::read_to_string(manifest).unwrap();
    let (_, rest) = text.split_once("[dependencies]\n").expect("the table is there to be empty");
    let table = rest.split("\n[").next().unwrap_or_default();
    assert_eq!(table.trim(), "");
}

/// Files that name the node as a whole, besides the one that defines it and turns its loop. This list may only shrink,
/// too: what hangs on `Node` cannot be made in a test.
const NAME_THE_NODE: &[&str] = &["node/boot/whole", "node/effects", "node/inputs", "node/orders", "node/replacing"];

/// A part of a node returns its events. The loop alone decides in which order they are handed in.
#[test]
fn no_part_puts_events_into_the_inbox() {
    let is_loop = |file: &str| file == "node/turn" || NAME_THE_NODE.contains(&file);
    let borrows = |text: &str| text.contains("VecDeque<Event>") || text.contains("inbox: &mut");
    let wrong: Vec<String> = modules()
        .into_iter()
        .filter(|(_, file, text)| file.starts_with("node/") && !is_loop(file) && borrows(text))
        .map(|(_, file, _)| format!("src/{file}.rs names the inbox, which is the loop's: let it return its events"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What every part of a node may read, and a part that belongs to another one.
const OPEN_FIELDS: &[&str] = &["Context::*", "Reactor::processes"];

/// A part owns its data: its fields are its own, or those of its folder.
#[test]
fn the_parts_of_a_node_keep_their_fields() {
    let modules = modules();
    let fields = |name: &str| {
        let head = format!("struct {name} {{");
        modules.iter().filter(|(module, ..)| module[0] == "node").find_map(|(module, _, text)| {
            let (body, _) = text.split_once(&head)?.1.split_once("\n}")?;
            Some((module.len(), body.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()))
        })
    };
    let (_, parts) = fields("Node").expect("a node has parts");
    let parts = parts.iter().filter_map(|line| Some(line.split_once(": ")?.1.trim_end_matches(',').to_owned()));
    let parts: Vec<String> = parts.chain(["Processes".to_owned()]).collect();
    assert!(parts.iter().any(|part| part == "Children"), "{parts:?}");
    let mut open = BTreeSet::new();
    for part in &parts {
        let Some((depth, fields)) = fields(part).filter(|_| !OPEN_FIELDS.contains(&format!("{part}::*").as_str()))
        else {
            continue;
        };
        // In a file beside the loop, what is open to the folder is open to the node.
        let is_own = |line: &str| !line.starts_with("pub") || depth > 2 && line.starts_with("pub(super) ");
        let field = |line: &String| Some(format!("{part}::{}", line.split_once(' ')?.1.split(':').next()?));
        open.extend(fields.iter().filter(|line| !is_own(line)).filter_map(field));
    }
    open.retain(|field| !OPEN_FIELDS.contains(&field.as_str()));
    assert!(open.is_empty(), "these fields are open to the whole node: {open:?}");
}

/// The modules of the library: path as parts, the file below src, and its code without tests.
fn modules() -> Vec<(Vec<String>, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources()
        .into_iter()
        .filter(|(room, path, _)| room != "main" && room != "lib" && !is_test(path) && !path.ends_with("testing.rs"))
        .map(|(_, path, text)| {
            let inner = path.strip_prefix(&src).unwrap().with_extension("");
            let mut module: Vec<String> = inner.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            (module, inner.to_str().unwrap().to_owned(), code(&text))
        })
        .collect()
}

/// The paths in a `use`, with groups written out.
fn paths(text: &str) -> Vec<String> {
    let text = text.trim();
    let Some(open) = text.find('{') else {
        return vec![text.split(" as ").next().unwrap_or_default().replace(' ', "")];
    };
    let (before, group) = (&text[..open], &text[open + 1..text.rfind('}').unwrap_or(text.len())]);
    let (mut found, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, letter) in group.char_indices().chain([(group.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.extend(
                    paths(&group[begin..at])
                        .into_iter()
                        .filter(|path| !path.is_empty())
                        .map(|path| format!("{}{path}", before.trim())),
                );
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// All `use` statements of a source, as paths.
fn used(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut statement: Option<String> = None;
    for line in text.lines() {
        let line = line.trim();
        let visible = line.strip_prefix("pub ").or_else(|| Some(line.strip_prefix("pub(")?.split_once(") ")?.1));
        match (&mut statement, visible.unwrap_or(line).strip_prefix("use ")) {
            (Some(begun), _) => begun.push_str(&format!(" {line}")),
            (none, Some(rest)) => *none = Some(rest.to_owned()),
            (None, None) => {}
        }
        if statement.as_ref().is_some_and(|text| text.ends_with(';')) {
            let text = statement.take().unwrap_or_default();
            found.extend(paths(text.trim_end_matches(';')));
        }
    }
    found
}

/// Paths that stand in code without a `use`.
fn inline(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.contains("use ") && !line.starts_with('#')) {
        for begin in ["crate::", "super::", "self::"] {
            for (at, _) in line.match_indices(begin) {
                let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
                if line[..at].chars().next_back().is_some_and(is_path) || line[..at].ends_with("(in ") {
                    continue;
                }
                let path: String = line[at..].chars().take_while(|c| is_path(*c)).collect();
                found.push(path.trim_end_matches(':').to_owned());
            }
        }
    }
    found
}

/// Whether something of a module below is named in code by that module alone.
fn names_module(text: &str, name: &str) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.contains("use ") && !line.starts_with('#'));
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let path = format!("{name}::");
    lines
        .flat_map(|line| line.match_indices(&path).map(move |(at, _)| &line[..at]))
        .any(|before| !before.ends_with(is_word))
}

/// Whatever can be reached from itself is in a circle.
fn circling(arrows: &[BTreeSet<usize>]) -> Vec<usize> {
    let reachable = |from: usize| {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
        while let Some(at) = waiting.pop() {
            waiting.extend(arrows[at].iter().copied().filter(|to| seen.insert(*to)));
        }
        seen
    };
    (0..arrows.len()).filter(|at| reachable(*at).contains(at)).collect()
}

/// Which modules of a room import which, by their places among `modules`.
fn arrows(modules: &[(Vec<String>, String, String)]) -> Vec<BTreeSet<usize>> {
    let number = |parts: &[String]| modules.iter().position(|(module, ..)| module == parts);
    let mut arrows: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); modules.len()];
    for (from, (module, _, text)) in modules.iter().enumerate() {
        let below = modules.iter().filter(|(other, ..)| other.len() == module.len() + 1 && other.starts_with(module));
        let own = below.filter_map(|(other, ..)| other.last()).filter(|name| names_module(text, name));
        let own = own.map(|name| format!("self::{name}"));
        for path in used(text).into_iter().chain(inline(text)).chain(own.collect::<Vec<_>>()) {
            let mut parts: Vec<String> = path.split("::").map(str::to_owned).collect();
            let mut base = module.clone();
            match parts[0].as_str() {
                "crate" => (base, parts) = (Vec::new(), parts.split_off(1)),
                "super" | "self" => {
                    while parts.first().is_some_and(|part| part == "super" || part == "self") {
                        if parts.remove(0) == "super" {
                            base.pop();
                        }
                    }
                }
                // A module of its own, or another crate.
                own => {
                    let mut below = base.clone();
                    below.push(own.to_owned());
                    if number(&below).is_none() {
                        continue;
                    }
                }
            }
            base.extend(parts);
            while !base.is_empty() && number(&base).is_none() {
                base.pop();
            }
            if let Some(to) = number(&base).filter(|to| *to != from && modules[*to].0[0] == module[0]) {
                arrows[from].insert(to);
            }
        }
    }
    arrows
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let modules = modules();
    let circling: BTreeSet<&str> = circling(&arrows(&modules)).into_iter().map(|at| modules[at].1.as_str()).collect();
    assert!(circling.is_empty(), "these files stand in a circle of imports within their room: {circling:?}");
}

/// Pairs in which a file of the one folder stands above the other: `os/cgroup/tree` starts a process to find out where
/// it may.
const FOLDERS_ABOVE: &[(&str, &str)] = &[("os/cgroup", "os/spawn")];

/// A folder is one thing: what it imports does not import any of it, so that each room can be read from its ground up.
#[test]
fn no_folders_of_a_room_import_each_other_in_a_circle() {
    let modules = modules();
    let top = |at: usize| modules[at].0.get(..2);
    let tops: Vec<&[String]> = (0..modules.len()).filter_map(top).collect::<BTreeSet<_>>().into_iter().collect();
    let place = |at: usize| top(at).and_then(|top| tops.iter().position(|one| *one == top));
    let mut between = vec![BTreeSet::new(); tops.len()];
    for (from, to) in arrows(&modules).into_iter().enumerate() {
        let Some(from) = place(from) else { continue };
        let is_above = |to: usize| FOLDERS_ABOVE.contains(&(&tops[from].join("/"), &tops[to].join("/")));
        between[from].extend(to.into_iter().filter_map(place).filter(|to| *to != from && !is_above(*to)));
    }
    let circling: Vec<String> = circling(&between).into_iter().map(|at| tops[at].join("/")).collect();
    assert!(circling.is_empty(), "these stand in a circle of imports within their room: {circling:?}");
}

/// Verbs that import another verb: where `top` cannot draw, it is a `status`.
const VERBS_OF_VERBS: &[(&str, &str)] = &[("cli/top/mod", "cli/status")];

/// What two verbs of the command line need lies in a file of its own. A verb names itself in its first line.
#[test]
fn no_verb_imports_another() {
    let sources = sources();
    let modules = modules();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let is_verb = |file: &str| {
        let text = sources.iter().find(|(_, path, _)| *path == src.join(format!("{file}.rs"))).map(|(.., text)| text);
        file.starts_with("cli/") && text.is_some_and(|text| text.starts_with("//! `treevisor "))
    };
    let mut wrong = Vec::new();
    for (from, to) in arrows(&modules).into_iter().enumerate() {
        let (from, parts) = (&modules[from].1, &modules[from].0);
        // The dispatch, and what lies below a verb of several files.
        for (below, to, _) in to.into_iter().map(|to| &modules[to]) {
            let is_inside = below.starts_with(parts) || parts.starts_with(below);
            if is_verb(to) && !is_inside && !VERBS_OF_VERBS.contains(&(from.as_str(), to.as_str())) {
                wrong.push(format!("src/{from}.rs imports {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn fewer_files_name_the_node() {
    let modules = modules();
    let naming: BTreeSet<&str> = modules
        .iter()
        .filter(|(_, file, text)| {
            let is_other = file != "node/turn";
            let is_whole =
                |at: usize| !text[at..].chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
            let names = ["turn::Node", "impl Node", "&Node", "&mut Node", ": Node"];
            let named = |name: &&str| text.match_indices(*name).any(|(at, name)| is_whole(at + name.len()));
            is_other && names.iter().any(named) || used(text).iter().any(|path| path.ends_with("turn::Node"))
        })
        .map(|(_, file, _)| file.as_str())
        .collect();
    // The list may only become shorter.
    let list: BTreeSet<&str> = NAME_THE_NODE.iter().copied().collect();
    let new: Vec<_> =
        naming.difference(&list).map(|file| format!("src/{file}.rs names `Node`, and did not before")).collect();
    let gone: Vec<_> =
        list.difference(&naming).map(|file| format!("src/{file}.rs has left the list: strike it out")).collect();
    assert!(new.is_empty() && gone.is_empty(), "{}", [new, gone].concat().join("\n"));
}
