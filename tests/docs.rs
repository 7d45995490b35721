//! What the documentation shows is tried: every TOML is checked, every command is parsed by the program, every link
//! leads somewhere, every page is in the book.
//!
//! A block of TOML is a whole file, or keys of a worker or a supervisor. One that is marked `toml,lines` has
//! alternatives, each line one of them; `toml,host` is the file of a host, `toml,cargo` one of Cargo's.

#[path = "../src/os/free_port.rs"]
mod free_port;

use free_port::free_port;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// What files in the examples of the documentation are named, and exist where they are tried.
const FILES: &[(&str, &str)] = &[
    ("web.toml", "[[child]]\nname = \"included\"\ncommand = \"true\"\n"),
    ("conf.d/one.toml", "[[child]]\nname = \"included\"\ncommand = \"true\"\n"),
    ("secrets.env", "A=b\n"),
    ("common.env", "A=b\n"),
    ("shop.env", "A=b\n"),
];

/// A block of a page: page, line, info string, text.
struct Block {
    place: String,
    info: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown_below(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => markdown_below(&path, into),
            Some(extension) if extension == "md" => into.push(path),
            _ => {}
        }
    }
}

/// Every page, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "clients/README.md", "tests/vm/README.md"]
        .map(|page| root().join(page))
        .into();
    for folder in ["clients", "crates"] {
        let parts = fs::read_dir(root().join(folder)).unwrap().map(|part| part.unwrap().path().join("README.md"));
        pages.extend(parts.filter(|page| page.exists()));
    }
    markdown_below(&root().join("docs"), &mut pages);
    pages.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// A page's blocks of code, and the page without them.
fn split(path: &Path, text: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut rest, mut open) = (Vec::new(), String::new(), None::<Block>);
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(info)) => {
                let place = format!("{}:{}", path.strip_prefix(root()).unwrap().display(), number + 1);
                open = Some(Block { place, info: info.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => rest += &format!("{line}\n"),
        }
    }
    assert!(open.is_none(), "{}: a block without an end", path.display());
    (blocks, rest)
}

fn blocks(language: &str) -> Vec<Block> {
    let all = pages().into_iter().flat_map(|(path, text)| split(&path, &text).0);
    all.filter(|block| block.info.split(',').next() == Some(language)).collect()
}

/// A directory with the files that examples name, and nothing that runs.
fn workshop() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn treevisor(dir: &Path, arguments: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_treevisor"));
    command.args(arguments).current_dir(dir).env("NO_COLOR", "1").env("USER", "docs").stdin(Stdio::null());
    command.env("TREEVISOR_RUNTIME_DIR", dir.join("run")).env("TREEVISOR_STATE_DIR", dir.join("state"));
    #[allow(clippy::disallowed_methods, reason = "no node is involved here")]
    command.output().unwrap()
}

/// What `check` has against a file; `None` where it has nothing.
fn refused(dir: &Path, toml: &str) -> Option<String> {
    fs::write(dir.join("tree.toml"), toml).unwrap();
    let output = treevisor(dir, &["check", "--portable", "tree.toml"].map(str::to_owned));
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_toml_is_right() {
    let dir = workshop();
    let mut wrong = String::new();
    for Block { place, info, text } in blocks("toml").into_iter().filter(|block| block.info != "toml,cargo") {
        if info == "toml,host" {
            fs::write(dir.path().join("host.toml"), &text).unwrap();
            let output = treevisor(dir.path(), &["host", "check", "host.toml"].map(str::to_owned));
            if !output.status.success() {
                wrong += &format!("{place}:\n{text}\n{}\n", String::from_utf8_lossy(&output.stderr));
            }
            continue;
        }
        let parts = if info == "toml,lines" { text.lines().map(str::to_owned).collect() } else { vec![text] };
        for part in parts.iter().filter(|part| !part.trim().is_empty()) {
            let child = "[[child]]\nname = \"docs\"\ncommand = \"true\"\n";
            let forms = if part.contains("[child]") || part.contains("[[child") {
                vec![part.clone()]
            } else {
                vec![format!("{child}{part}"), format!("{part}\n{child}")]
            };
            let complaints: Vec<_> = forms.iter().filter_map(|form| refused(dir.path(), form)).collect();
            if complaints.len() == forms.len() {
                wrong += &format!("{place}:\n{part}\n{}\n", complaints[0]);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The codes of the warnings that are made in a source file.
fn warnings_in(text: &str) -> impl Iterator<Item = &str> {
    let made = ["Finding::warning(", "Finding::advice("].into_iter().flat_map(|maker| text.split(maker).skip(1));
    made.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
}

fn rust_below(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => rust_below(&path, into),
            Some(extension) if extension == "rs" => into.push(path),
            _ => {}
        }
    }
}

#[test]
fn every_warning_is_in_the_table() {
    let page = fs::read_to_string(root().join("docs/spec.md")).unwrap();
    let table = page.split("## What `check` warns of").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: BTreeSet<String> = rows.map(str::to_owned).collect();
    let mut files = Vec::new();
    rust_below(&root().join("src"), &mut files);
    // A host has a file and a page of its own.
    files.retain(|file| !file.ends_with("spec/host.rs") && !file.starts_with(root().join("src/spec/host")));
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let codes: BTreeSet<String> = texts.iter().flat_map(|text| warnings_in(text)).map(str::to_owned).collect();
    assert!(codes.len() > 15, "{codes:?}");
    let missing: Vec<_> = codes.difference(&rows).collect();
    assert!(missing.is_empty(), "docs/spec.md has no row for {missing:?}");
    // Some are made in another way, as what cannot be had from the kernel is no matter of the file.
    let is_made = |code: &&String| texts.iter().any(|text| text.contains(&format!("\"{code}\"")));
    let gone: Vec<_> = rows.iter().filter(|code| !is_made(code)).collect();
    assert!(gone.is_empty(), "there is no warning {gone:?} any more");
}

/// The words of each call of treevisor in a block of shell commands.
fn calls(text: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    for line in text.lines() {
        let line = line.trim_start().trim_start_matches("$ ").replace('…', "");
        for command in line.split("&&").flat_map(|part| part.split(" | ")).flat_map(|part| part.split(';')) {
            let Some(words) = shlex::split(command.split(" > ").next().unwrap()) else { continue };
            let words: Vec<_> = words.into_iter().skip_while(|word| word.contains('=')).collect();
            if words.first().is_some_and(|word| word == "treevisor") {
                calls.push(words[1..].to_vec());
            }
        }
    }
    calls
}

#[test]
fn every_command_is_one_of_the_program() {
    let dir = workshop();
    let mut wrong = String::new();
    for block in blocks("sh").into_iter().chain(blocks("console")) {
        for mut call in calls(&block.text) {
            // What these would run is not here, and a server of systemd's would wait for it.
            if call.iter().any(|word| word == "--") || call.iter().any(|word| word == "PID") {
                continue;
            }
            // The console serves until it is ended, also where no tree runs; its arguments are read all the same.
            if call.first().is_some_and(|verb| verb == "web") {
                call.push("--help".to_owned());
            }
            let output = treevisor(dir.path(), &call);
            let error = String::from_utf8_lossy(&output.stderr);
            if output.status.code() == Some(2) && error.contains("Usage:") {
                wrong += &format!("{}: treevisor {}\n{error}\n", block.place, call.join(" "));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The anchor that a heading gets on GitHub and in mdBook: lower case, words joined by hyphens, punctuation left out.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = String::new();
    for (path, text) in pages() {
        let (_, prose) = split(&path, &text);
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let is_there = target.exists()
                && (wanted.is_empty()
                    || anchors(&split(&path, &fs::read_to_string(&target).unwrap_or_default()).1).contains(wanted));
            if !is_there {
                wrong += &format!("{}: {link}\n", path.display());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_page_is_in_the_book() {
    let book = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut pages = Vec::new();
    markdown_below(&root().join("docs"), &mut pages);
    for page in pages {
        let name = page.strip_prefix(root().join("docs")).unwrap().to_str().unwrap();
        assert!(name == "SUMMARY.md" || book.contains(&format!("({name})")), "{name} is not in SUMMARY.md");
    }
}

/// Whether all these programs are there.
fn have(programs: &[&str]) -> bool {
    let paths: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    programs.iter().all(|program| paths.iter().any(|path| path.join(program).exists()))
}

/// A shell of a reader of the tutorial.
struct Reader {
    home: TempDir,
    at: PathBuf,
    /// What stands in the pages, and what it is here, where others may use these ports.
    ports: [(&'static str, String); 2],
}

impl Reader {
    fn new() -> Reader {
        let free = || free_port().to_string();
        let ports = [("8080", free()), ("6390", free())];
        Reader { home: tempfile::tempdir().unwrap(), at: root().to_owned(), ports }
    }

    fn here(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (page, here)| text.replace(page, here))
    }

    fn shell(&self, commands: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_treevisor")).parent().unwrap();
        let path = std::env::join_paths(
            [program.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let home = self.home.path();
        let mut shell = Command::new("sh");
        shell.args(["-c", &self.here(commands)]).current_dir(&self.at).stdin(Stdio::null());
        shell.env("HOME", home).env("PATH", path.unwrap()).env("NO_COLOR", "1").env_remove("TREEVISOR_INSTANCE");
        shell.env("TREEVISOR_RUNTIME_DIR", home.join("run")).env("TREEVISOR_STATE_DIR", home.join("state"));
        shell
    }

    /// Types commands, which succeed, and returns what they print.
    #[track_caller]
    fn types(&mut self, commands: &str) -> String {
        #[allow(clippy::disallowed_methods, reason = "no node is involved here")]
        let output = self.shell(commands).output().unwrap();
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{commands}\n{out}\n{error}");
        out.into_owned()
    }

    /// Types a command again and again until it prints this.
    #[track_caller]
    fn sees(&mut self, commands: &str, text: &str) -> String {
        for _ in 0..600 {
            let printed = self.types(commands);
            if printed.contains(text) {
                return printed;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        panic!("{commands}\nnever prints {text:?}, but\n{}", self.types(commands));
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        #[allow(clippy::disallowed_methods, reason = "no node is involved here")]
        let _ = self.shell("treevisor panic --force /").output();
    }
}

/// The commands of the tutorial in their order, as a reader types them; and what it promises comes true.
#[test]
fn the_tutorial_can_be_followed() {
    if !have(&["redis-server", "redis-cli", "curl", "python3"]) {
        eprintln!("notice: Redis, curl or Python is missing; the tutorial is not tried");
        return;
    }
    let page = root().join("docs/tutorial.md");
    let (blocks, _) = split(&page, &fs::read_to_string(&page).unwrap());
    let mut typed = blocks.into_iter().filter(|block| block.info == "sh").map(|block| block.text);
    let mut next = |begin: &str| {
        let text = typed.next().unwrap_or_default();
        assert!(text.starts_with(begin), "the tutorial has another command now; this test has to follow it: {text}");
        text
    };
    let mut reader = Reader::new();
    reader.types(&next("cp -r examples/shop ~/shop"));
    reader.at = reader.home.path().join("shop");
    for file in ["supervisors.toml", "shop.env"] {
        let file = reader.at.join(file);
        fs::write(&file, reader.here(&fs::read_to_string(&file).unwrap())).unwrap();
    }
    assert!(reader.types(&next("treevisor check")).contains("`- web"));
    let status = reader.types(&next("treevisor start --detach\ntreevisor status"));
    assert!(status.contains("5 workers: 4 running, 1 done"), "{status}");
    assert!(reader.types(&next("curl ")).starts_with("version 1, copy "));
    // The crash: it is answered by nothing, so curl fails, or by the copy that is started next.
    let crash = next("curl ").replacen('\n', " || true\n", 1);
    // curl may fail before the supervisor has read the exit.
    reader.types(&crash);
    let events = reader.sees("treevisor events --since 1m", "exited with status 3");
    let crashed = if events.contains("/web/app-1  exited") { "/web/app-1" } else { "/web/app-2" };
    let why = next("treevisor why /web/app-1").replace("/web/app-1", crashed);
    assert!(reader.sees(&why, "is running").contains("fatal: asked to crash"));
    // The hang, which `events -f` would show.
    let hang = next("redis-cli").replace("treevisor events -f\n", "");
    reader.types(&hang);
    reader.sees("treevisor events /web/jobs", "was killed (hung");
    reader.types(&next("treevisor signal /redis KILL"));
    reader.sees("treevisor status", "4 running, 1 done");
    let file = reader.at.join("supervisors.toml");
    let changed = fs::read_to_string(&file).unwrap().replace("VERSION = \"1\"", "VERSION = \"2\"");
    fs::write(&file, changed).unwrap();
    assert!(reader.types(&next("treevisor reload --plan")).contains("2 to roll one after another"));
    // The second terminal: it asks until it has seen the new version of both, and no question fails.
    let asks = next("while curl").replace("; do", " >>answers || exit 1; do") + "false";
    let mut second = reader.shell(&asks).spawn().unwrap();
    reader.types(&next("treevisor reload"));
    assert!(reader.sees("cat answers", "version 2").contains("version 1"));
    assert!(second.try_wait().unwrap().is_none(), "no request was refused");
    let _ = second.kill();
    let _ = second.wait();
    let alerts = reader.types(&next("cat alerts.log"));
    assert!(
        alerts.contains(&format!("{crashed}: restarting {crashed}")) && alerts.contains("first cause:"),
        "{alerts}"
    );
    assert!(reader.types(&next("treevisor stop")).contains("stopped"));
    assert_eq!(typed.next(), None, "the tutorial has more commands than are tried here");
}
