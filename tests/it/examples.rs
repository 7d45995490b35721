//! The examples that come in several languages, in real trees: the monitor of one program, the panic button, the
//! follower of events, the web server that is asked whether it is well. What is not installed is skipped, and the
//! reason printed.

use crate::harness::*;
use crate::languages::{self, Language, Words};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

const ALL: [Language; 5] = [Language::C, Language::Node, Language::Python, Language::Rust, Language::Shell];

fn example(language: Language, name: &str) -> Option<Words> {
    language.example(name).map_err(|why| eprintln!("skipped: {language:?}: {why}")).ok()
}

/// A program of a language in the directory of a test, so that it finds the instance that runs there.
fn program(language: Language, dir: &Path, words: &Words, arguments: &[&str]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(arguments).current_dir(dir).stdin(Stdio::null());
    command.env("TREEVISOR_RUNTIME_DIR", dir.join("run")).env("TREEVISOR_STATE_DIR", dir.join("state"));
    command.env("TREEVISOR_EXE", TREEVISOR);
    command.env_remove("TREEVISOR_INSTANCE").envs(language.environment(dir));
    command
}

/// `treevisor run` with these options, for a program of this language.
fn run(language: Language, options: &[&str], words: &Words, arguments: &[&str]) -> Tree {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let mut command = command_in(dir.path());
    command.args(["run", "--name", "app"]).args(options).arg("--").args(words).args(arguments);
    command.envs(language.environment(dir.path()));
    start(dir, command)
}

fn start(dir: tempfile::TempDir, mut command: Command) -> Tree {
    let root = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut tree = Tree::adopt(dir, root);
    tree.line("the tree is up");
    tree.follow();
    tree
}

#[test]
fn treevisor_run_monitors_the_arrhythmic_worker_of_every_language() {
    for language in ALL {
        let Some(words) = example(language, "arrhythmic") else { continue };
        let mut tree = run(language, &["--heartbeat", "200ms", "--misses", "2", "--grace", "10s"], &words, &[]);
        until("a beat that says which turn it is", || {
            beats(&tree, "/app") > 0 && tree.status("/app")["status_text"].as_str().unwrap_or("").starts_with("turn ")
        });
        let ended = tree.kind("/app", "exited");
        // Killed as hung, or a crash; in Rust that is a panic.
        assert!(ended["signal"] == 9 || ended["signal"] == 11 || ended["code"] == 101, "{language:?}: {ended}");
        tree.incarnation("/app", 2);
        tree.stop();
    }
}

#[test]
fn the_monitor_in_shell_is_the_whole_wrapper() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let worker = Language::Shell.example("arrhythmic").unwrap();
    let monitor = Language::Shell.example("monitor").unwrap();
    let command = program(Language::Shell, dir.path(), &monitor, &[worker[0].to_str().unwrap()]);
    let mut tree = start(dir, command);
    until("it beats", || beats(&tree, "/arrhythmic.sh") > 0);
    tree.run(&["panic", "/arrhythmic.sh"]).expect(0);
    assert_eq!(tree.incarnation("/arrhythmic.sh", 2)["kind"], "started");
    tree.stop();
}

const VICTIM: &str = r#"
name = "lab"
intensity = 10
[[child]]
name = "victim"
command = ["sleep", "1000"]
"#;

#[test]
fn the_panic_button_of_every_language_kills_and_says_so() {
    let mut tree = Tree::start(VICTIM);
    for (pressed, language) in (1..).zip(ALL) {
        let name = if language == Language::Shell { "panic-button" } else { "panic_button" };
        let Some(words) = example(language, name) else { continue };
        let press =
            |path: &str| -> Ran { program(language, tree.dir(), &words, &[path, "lab"]).output().unwrap().into() };
        let ran = press("/victim").expect(0);
        assert!(ran.stdout.contains("/victim") && ran.stdout.contains("kill"), "{language:?}: {}", ran.stdout);
        let ran = press("/nobody");
        assert!(matches!(ran.code, Some(1 | 4)), "{language:?}: {ran:?}");
        assert!(ran.stderr.contains("cannot panic /nobody"), "{language:?}: {}", ran.stderr);
        assert_eq!(tree.kind("/victim", "exited")["signal"], 9, "{language:?}, press {pressed}");
        tree.kind("/victim", "started");
    }
    tree.stop();
}

/// A follower of events at work, and what it prints.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(mut command: Command) -> Follower {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Follower { child, lines }
    }

    /// Reads to a line that contains `text`.
    #[track_caller]
    fn line(&mut self, text: &str) {
        let end = Instant::now() + LIMIT;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with \"{text}\" ({error}); it printed:\n{}", seen.join("\n")),
            }
        }
    }

    /// Its exit code, once it has ended by itself.
    fn end(mut self) -> Option<i32> {
        assert!(gone_within(self.child.id(), LIMIT), "it goes on following");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_monitor_of_every_language_tells_what_happens_until_the_instance_ends() {
    for language in [Language::Node, Language::Python, Language::Rust] {
        let Some(words) = example(language, "monitor") else { continue };
        let tree = Tree::start(VICTIM);
        // The library has sentences for people; the others print the fields.
        let (started, killed) = match language {
            Language::Rust => ("/victim was started", "/victim was killed"),
            _ => ("/victim started", "/victim exited SIGKILL"),
        };
        let mut follower = Follower::start(program(language, tree.dir(), &words, &["lab"]));
        follower.line(started);
        tree.run(&["panic", "/victim"]).expect(0);
        follower.line(killed);
        follower.line(started);
        tree.run(&["stop"]).expect(0);
        assert_eq!(follower.end(), Some(0), "{language:?}");
        tree.ended_well();
        let without: Ran = {
            let dir = tempfile::tempdir().unwrap();
            program(language, dir.path(), &words, &["lab"]).output().unwrap().into()
        };
        assert!(without.expect(1).stderr.contains("cannot follow: "), "{language:?}");
    }
}

/// What a web server answers; nothing when it hangs up.
fn visit(port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    let _ = write!(stream, "GET {path} HTTP/1.0\r\n\r\n");
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_web_server_of_every_language_is_asked_and_healed_when_it_hangs() {
    for language in [Language::C, Language::Node, Language::Python, Language::Rust] {
        let Some(words) = example(language, "web_server") else { continue };
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}/health");
        let options = ["--probe-http", &url, "--heartbeat", "300ms", "--misses", "10", "--grace", "15s"];
        let mut tree = run(language, &options, &words, &[&port.to_string()]);
        until("it answers", || beats(&tree, "/app") >= 3);
        assert!(visit(port, "/").ends_with("hello\n"), "{language:?}");
        assert!(visit(port, "/nowhere").contains(" 404 "), "{language:?}");
        assert_eq!(visit(port, "/hang"), "", "{language:?}: its connection ends with it");
        let hung = tree.kind("/app", "hung");
        assert!(hung["probe"].as_str().unwrap_or("").contains(&url), "{language:?}: {hung}");
        tree.incarnation("/app", 2);
        until("the next one answers", || beats(&tree, "/app") >= 3);
        tree.stop();
    }
}

#[test]
fn the_file_of_web_servers_is_right_and_the_probe_of_another_server_too() {
    let directory = languages::repository().join("examples");
    let needs = [Language::Python, Language::Node].map(|language| example(language, "web_server").is_some());
    if needs.contains(&false) {
        return;
    }
    for (file, ports, paths) in [
        ("web-servers.toml", &["8081", "8082"][..], &["/python", "/node"][..]),
        ("http-probe.toml", &["8080"], &["/web"]),
    ] {
        let mut text = std::fs::read_to_string(directory.join(file))
            .unwrap()
            .replace("examples/", &format!("{}/", directory.display()));
        for port in ports {
            text = text.replace(port, &free_port().to_string());
        }
        let mut tree = Tree::begin(&text, &[]);
        tree.line("the tree is up");
        tree.follow();
        for path in paths {
            until("it answers", || beats(&tree, path) >= 2);
            signal(tree.pid(path), 19);
            tree.kind(path, "hung");
            tree.event("the next one is up", |event| {
                event["path"] == *path && event["kind"] == "ready" && event["incarnation"] == 2
            });
        }
        tree.stop();
    }
}

#[test]
fn status_and_panic_in_node() {
    if let Err(why) = languages::node() {
        return eprintln!("skipped: {why}");
    }
    let code = "const { status, panic } = require('treevisor');
        (async () => {
            const before = await status('/victim');
            await panic('/victim', { hold: true });
            const after = await status('/victim');
            const refused = await panic('/nobody').catch((error) => error.code);
            console.log(JSON.stringify([before.root.state, after.root.state, refused]));
        })();";
    let tree = Tree::start(VICTIM);
    let words = vec!["node".into()];
    let ran: Ran = program(Language::Node, tree.dir(), &words, &["-e", code]).output().unwrap().into();
    assert_eq!(ran.expect(0).json(), serde_json::json!(["running", "held", "no_such_path"]));
    tree.stop();
}
