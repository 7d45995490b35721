//! `treevisor web` over plain HTTP: which users are let in, what is refused, what is shown, and that the tree does not
//! notice.

use crate::harness::{LIMIT, Ran, TREEVISOR, Tree, command_in, signal, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const QUIET: &str =
    "[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n[[child]]\nname = \"b\"\ncommand = \"sleep 1000\"\n";

/// A console, and what a browser has of it.
struct Console {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    key: String,
    port: u16,
    cookie: Option<String>,
    csrf: Option<String>,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn read(from: &mut impl Read) -> Answer {
        let mut text = Vec::new();
        let _ = from.read_to_end(&mut text);
        Answer::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status: status.unwrap_or(0), headers, body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Whether something can be read.
fn has_answer(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let has = matches!(stream.peek(&mut [0]), Ok(1));
    stream.set_nonblocking(false).unwrap();
    has
}

impl Console {
    #[track_caller]
    fn start(dir: &Path, arguments: &[&str]) -> Console {
        let mut process = web(dir).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut link = String::new();
        output.read_line(&mut link).unwrap();
        let metrics = || link.trim().strip_suffix("metrics").map(|url| (url, ""));
        let parts = link.trim().split_once("#key=").or_else(metrics);
        let (url, key) = parts.unwrap_or_else(|| panic!("no link: {link}"));
        let port = url.trim_end_matches('/').rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
        Console { process, output, key: key.to_owned(), port, cookie: None, csrf: None }
    }

    /// One that is logged in.
    #[track_caller]
    fn opened(dir: &Path, arguments: &[&str]) -> Console {
        let mut console = Console::start(dir, arguments);
        let key = console.key.clone();
        console.login(&key);
        console
    }

    #[track_caller]
    fn login(&mut self, key: &str) -> Value {
        let answer = self.post("/login", &json!({ "key": key }));
        assert_eq!(answer.status, 200, "{answer:?}");
        self.take(&answer)
    }

    fn take(&mut self, answer: &Answer) -> Value {
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
        self.cookie = cookie.split(';').next().map(str::to_owned);
        self.csrf = answer.json()["csrf"].as_str().map(str::to_owned);
        answer.json()
    }

    /// The whole tree, as soon as the console has it: on a busy machine the root may answer late.
    fn tree(&self) -> Value {
        let mut answer = self.get("/api/tree");
        until("the console knows the tree", || {
            if answer.status == 503 {
                answer = self.get("/api/tree");
            }
            answer.status == 200
        });
        answer.json()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// How many sockets its process has.
    fn sockets(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().flatten();
        let links = open.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// Sends what is given, and reads to the end of the connection.
    fn raw(&self, text: &str) -> Answer {
        let mut stream = self.connect();
        // A refusal may come before all is sent.
        let _ = stream.write_all(text.as_bytes());
        Answer::read(&mut stream)
    }

    fn headers(&self, more: &[(&str, &str)]) -> String {
        let mut headers = vec![("Host", format!("127.0.0.1:{}", self.port)), ("Connection", "close".into())];
        headers.extend(self.cookie.clone().map(|cookie| ("Cookie", cookie)));
        for (name, value) in more {
            headers.retain(|(known, _)| known != name);
            if !value.is_empty() {
                headers.push((name, (*value).to_owned()));
            }
        }
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
    }

    fn get_with(&self, path: &str, more: &[(&str, &str)]) -> Answer {
        self.raw(&format!("GET {path} HTTP/1.1\r\n{}\r\n", self.headers(more)))
    }

    fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    fn post_with(&self, path: &str, body: &str, more: &[(&str, &str)]) -> Answer {
        let origin = format!("http://127.0.0.1:{}", self.port);
        let (length, csrf) = (body.len().to_string(), self.csrf.clone().unwrap_or_default());
        let mut headers = vec![("Origin", origin.as_str()), ("Content-Type", "application/json")];
        headers.extend([("Content-Length", length.as_str()), ("X-Treevisor-CSRF", csrf.as_str())]);
        headers.extend(more);
        self.raw(&format!("POST {path} HTTP/1.1\r\n{}\r\n{body}", self.headers(&headers)))
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &body.to_string(), &[])
    }

    #[track_caller]
    fn stream(&self, query: &str) -> Stream {
        let mut stream = self.connect();
        write!(stream, "GET /api/stream{query} HTTP/1.1\r\n{}\r\n", self.headers(&[])).unwrap();
        Stream::read(stream)
    }

    fn end(mut self) {
        signal(self.process.id(), 15);
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        signal(self.process.id(), 18);
        signal(self.process.id(), 9);
        let _ = self.process.wait();
    }
}

fn web(dir: &Path) -> Command {
    let mut command = command_in(dir);
    command.args(["web", "--listen", "127.0.0.1:0", "-i", "tree"]).stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> Ran {
    command.output().unwrap().into()
}

/// The stream of a page.
struct Stream {
    lines: Box<dyn BufRead>,
    /// Number of the next event.
    next: Option<u64>,
}

/// A frame of it.
#[derive(Debug)]
struct Frame {
    name: String,
    data: Value,
}

impl Stream {
    #[track_caller]
    fn read(stream: impl Read + 'static) -> Stream {
        let mut lines: Box<dyn BufRead> = Box::new(BufReader::new(stream));
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while !line.trim().is_empty() {
            line.clear();
            lines.read_line(&mut line).unwrap();
        }
        Stream { lines, next: None }
    }

    /// The next frame; `None` at the end.
    fn frame(&mut self) -> Option<Frame> {
        let (mut name, mut line) = (None, String::new());
        loop {
            line.clear();
            if !self.lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                return None;
            }
            // Around the frames stand the sizes of HTTP's chunks.
            let line = line.trim_end();
            if let Some(event) = line.strip_prefix("event: ") {
                name = Some(event.to_owned());
            } else if let Some(id) = line.strip_prefix("id: ") {
                self.next = id.parse().ok();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some(Frame { name: name?, data: serde_json::from_str(data).unwrap() });
            }
        }
    }

    /// The next frame of that name for which `wanted` holds.
    #[track_caller]
    fn wait(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until(name, |frame| frame.name == name && wanted(&frame.data)).data
    }

    /// The next frame for which `wanted` holds, which looks at each.
    #[track_caller]
    fn until(&mut self, what: &str, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        let end = Instant::now() + LIMIT;
        let mut seen = Vec::new();
        while let Some(frame) = self.frame().filter(|_| Instant::now() < end) {
            if wanted(&frame) {
                return frame;
            }
            seen.push(frame);
        }
        panic!("no {what}: {seen:?}");
    }
}

fn has(list: &Value, wanted: impl Fn(&Value) -> bool) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(wanted))
}

#[test]
fn every_answer_has_the_headers_and_says_nothing_to_a_stranger() {
    let tree = Tree::start(QUIET);
    let mut console = Console::start(tree.dir(), &[]);
    let page = console.get("/");
    let asset = page.body.split('"').find(|word| word.starts_with("assets/") && word.ends_with(".js")).unwrap();
    let asset = format!("/{asset}");
    let answers = [
        ("/", console.get("/"), 200),
        (&asset, console.get(&asset), 200),
        ("/healthz", console.get("/healthz"), 204),
        ("/assets/app.js", console.get("/assets/app.js"), 404),
        ("/nothing", console.get("/nothing"), 404),
        ("/login", console.get("/login"), 405),
        ("/api/tree", console.get("/api/tree"), 401),
        ("/api/stream", console.get("/api/stream"), 401),
        ("/api/status/a", console.get("/api/status/a"), 401),
        ("/api/status/none", console.get("/api/status/none"), 401),
        ("/api/events", console.get("/api/events"), 401),
        ("/api/why/a", console.get("/api/why/a"), 401),
        ("/api/logs/a", console.get("/api/logs/a"), 401),
        ("/plain", console.get("/plain"), 401),
        ("/metrics", console.get("/metrics"), 401),
        ("act", console.post("/api/act", &json!({ "verb": "stop", "path": "/a", "incarnation": 1 })), 401),
        ("view", console.post("/api/view", &json!({ "stream": "x" })), 401),
        ("logout", console.post("/logout", &json!({})), 401),
        ("login", console.post("/login", &json!({})), 401),
        ("bad", console.post_with("/login", "{", &[]), 400),
        ("host", console.get_with("/", &[("Host", "evil.example")]), 421),
        ("origin", console.post_with("/login", "{}", &[("Origin", "")]), 403),
    ];
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                  base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    for (what, answer, status) in &answers {
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
        for (name, value) in [
            ("content-security-policy", policy),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{what}: {answer:?}");
        }
        let cached = if *what == asset { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), Some(cached), "{what}");
        assert!(answer.header("access-control-allow-origin").is_none());
        assert!(!answer.body.contains("sleep") && !answer.body.contains("\"/a\""), "{what}: {answer:?}");
    }
    let key = console.key.clone();
    assert_eq!(console.login(&key)["may"], "act");
    assert_eq!(console.get("/api/status/a").json()["root"]["state"], "running");
    assert!(console.get("/plain/a").body.contains("running"));
    console.end();
    tree.stop();
}

#[test]
fn a_request_has_to_be_for_us() {
    let tree = Tree::start(QUIET);
    let console = Console::opened(tree.dir(), &[]);
    let port = console.port;
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        (format!("LocalHost:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        (format!("127.0.0.2:{port}"), 200),
        ("127.0.0.1".into(), 421),
        (format!("127.0.0.1:{}", port - 1), 421),
        (format!("evil.example:{port}"), 421),
        (format!("localhost.evil.example:{port}"), 421),
        (format!("127.0.0.1.nip.io:{port}"), 421),
        (format!("0.0.0.0:{port}"), 421),
        (format!("2130706433:{port}"), 421),
        (format!("user@127.0.0.1:{port}"), 421),
        (format!("127.0.0.1:{port}, evil"), 421),
    ] {
        assert_eq!(console.get_with("/api/tree", &[("Host", &host)]).status, status, "{host}");
    }
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    let cookie = console.cookie.clone().unwrap();
    let tail = format!("Cookie: {cookie}\r\nConnection: close\r\n\r\n");
    for (what, text, status) in [
        ("none", format!("GET /api/tree HTTP/1.1\r\n{tail}"), 421),
        ("of old", format!("GET /api/tree HTTP/1.0\r\n{tail}"), 421),
        ("two", format!("GET /api/tree HTTP/1.1\r\n{own}{own}{tail}"), 421),
        ("in the line", format!("GET http://evil.example/api/tree HTTP/1.1\r\n{own}{tail}"), 421),
        ("ours in the line", format!("GET http://127.0.0.1:{port}/api/tree HTTP/1.1\r\n{own}{tail}"), 200),
        ("theirs behind ours", format!("GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: evil.example\r\n{tail}"), 421),
    ] {
        assert_eq!(console.raw(&text).status, status, "{what}");
    }
    // What another site can make a browser send changes nothing.
    let action = json!({ "verb": "panic", "path": "/a", "incarnation": 1 }).to_string();
    let act = |more: &[(&str, &str)]| console.post_with("/api/act", &action, more).status;
    for (more, status) in [
        (&[("Origin", "")][..], 403),
        (&[("Origin", "null")], 403),
        (&[("Origin", "http://evil.example")], 403),
        (&[("Origin", "http://localhost:1")], 403),
        (&[("Content-Type", "application/x-www-form-urlencoded")], 415),
        (&[("Content-Type", "text/plain")], 415),
        (&[("Content-Type", "")], 415),
        (&[("X-Treevisor-CSRF", "")], 403),
        (&[("X-Treevisor-CSRF", "0000000000000000000000000000000000000000000000000000000000000000")], 403),
        (&[("Cookie", "")], 401),
        (&[("Cookie", "tv-tree=0000000000000000000000000000000000000000000000000000000000000000")], 401),
    ] {
        assert_eq!(act(more), status, "{more:?}");
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let answer = console.raw(&format!("{method} /api/act HTTP/1.1\r\n{}\r\n", console.headers(&[])));
        assert_eq!(answer.status, 403, "{method}");
    }
    assert_eq!(tree.status("/a")["incarnation"], 1);
    console.end();
    tree.stop();
}

#[test]
fn keys_and_sessions() {
    let tree = Tree::start(QUIET);
    let dir = tree.dir().to_owned();
    let mut console = Console::start(&dir, &[]);
    let file = dir.join("state/tree/web-keys.json");
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let link = |arguments: &[&str]| {
        let mut command = command_in(&dir);
        command.args(["web", "-i", "tree"]).args(arguments);
        let link = run(command).expect(0).stdout;
        link.trim().split_once("#key=").unwrap().1.to_owned()
    };
    let key = console.key.clone();
    console.login(&key);
    let first = (console.cookie.clone(), console.csrf.clone());
    // A link logs in once.
    let begun = Instant::now();
    let again = console.post("/login", &json!({ "key": key }));
    assert_eq!((again.status, again.header("set-cookie")), (401, None));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // The page of a session gets what it may; the cookie alone does not get the other half.
    assert_eq!(console.post("/login", &json!({})).json(), json!({ "may": "act", "csrf": first.1 }));
    assert_eq!(console.post_with("/login", "{}", &[("X-Treevisor-CSRF", "")]).status, 401);
    assert!(first.0.as_ref().unwrap().starts_with(&format!("tv-tree-{}=", console.port)));
    // A key for looking on sees, and does not act.
    let view = link(&["--url", "--view"]);
    assert_eq!(console.login(&view)["may"], "view");
    assert_eq!(console.get("/api/tree").status, 200);
    let action = json!({ "verb": "stop", "path": "/a", "incarnation": 1 });
    assert_eq!(console.post("/api/act", &action).status, 403);
    // Logging out ends that session, and no other.
    assert_eq!(console.post("/logout", &json!({})).status, 204);
    assert_eq!(console.get("/api/tree").status, 401);
    (console.cookie, console.csrf) = first;
    assert_eq!(console.get("/api/tree").status, 200);
    // A session lasts through a restart of the console.
    let (cookie, csrf) = (console.cookie.take(), console.csrf.take());
    console.end();
    let mut console = Console::start(&dir, &[]);
    (console.cookie, console.csrf) = (cookie, csrf);
    assert_eq!(console.get("/api/tree").status, 401, "it is for another port, as of a console of the same name");
    let token = console.cookie.take().unwrap();
    console.cookie = Some(format!("tv-tree-{}={}", console.port, token.split_once('=').unwrap().1));
    assert_eq!(console.get("/api/tree").status, 200);
    // New keys end all of it, and streams that are open; the new ones look on in a header.
    let mut stream = console.stream("");
    stream.wait("hello", |_| true);
    let mut command = command_in(&dir);
    command.args(["web", "-i", "tree", "--new-keys"]);
    let keys = run(command).expect(0).stdout;
    until("the session has ended", || console.get("/api/tree").status == 401);
    let end = Instant::now() + LIMIT;
    while stream.frame().is_some() {
        assert!(Instant::now() < end, "its stream goes on");
    }
    let old = console.key.clone();
    assert_eq!(console.post("/login", &json!({ "key": old })).status, 401);
    (console.cookie, console.csrf) = (None, None);
    for (name, key) in keys.lines().map(|line| line.split_once(' ').unwrap()) {
        let bearer = format!("Bearer {key}");
        assert_eq!(console.get_with("/metrics", &[("Authorization", &bearer)]).status, 200, "{name}");
        assert_eq!(console.get_with("/api/tree", &[("Authorization", &bearer)]).status, 200, "{name}");
        let act = console.post_with("/api/act", &action.to_string(), &[("Authorization", &bearer)]);
        assert_eq!(act.status, 403, "{name}");
        assert_eq!(console.get_with("/metrics", &[("Authorization", &format!("Basic {key}"))]).status, 401);
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(keys.lines().all(|line| !kept.contains(line.split_once(' ').unwrap().1)), "{kept}");
    // Ten logins a minute.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> =
            (0..12).map(|_| scope.spawn(|| console.post("/login", &json!({ "key": "x" })).status)).collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(statuses.contains(&429) && statuses.contains(&401), "{statuses:?}");
    // A stranger's wrong keys do not keep out the user with the right one.
    let right = link(&["--url"]);
    assert_eq!(console.login(&right)["may"], "act");
    console.end();
    // With --read-only none may act.
    let console = Console::opened(&dir, &["--read-only"]);
    assert_eq!(console.post("/api/act", &action).status, 403);
    console.end();
    tree.stop();
}

#[test]
fn heads_bodies_and_connections_are_bounded() {
    let tree = Tree::start(QUIET);
    let console = Console::opened(tree.dir(), &[]);
    until("the login is over", || console.get("/healthz").status == 204);
    let sockets = console.sockets();
    let long = "x".repeat(20 << 10);
    assert_eq!(console.get_with("/", &[("X-Long", &long)]).status, 431);
    let body = json!({ "stream": "y".repeat(70 << 10) }).to_string();
    assert_eq!(console.post_with("/api/view", &body, &[]).status, 413);
    until("what was refused is closed", || console.sockets() <= sockets);
    let begun = Instant::now();
    let mut slow = console.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    // One that asks for more and more, and reads nothing.
    let mut unread = console.connect();
    unread.set_nonblocking(true).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", console.port).repeat(100);
    until("the answers are in its way", || unread.write_all(request.as_bytes()).is_err());
    // Three hundred at a time: those beyond 256 are refused, and the others are served.
    let mut open: Vec<TcpStream> = (0..300).map(|_| console.connect()).collect();
    until("those beyond 256 are refused", || open.iter().filter(|stream| has_answer(stream)).count() >= 44);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for stream in &mut open {
        let text = format!("GET /healthz HTTP/1.1\r\n{}\r\n", console.headers(&[]));
        let _ = stream.write_all(text.as_bytes());
        *statuses.entry(Answer::read(stream).status).or_default() += 1;
    }
    assert!(statuses[&204] >= 200 && statuses[&204] <= 256, "{statuses:?}");
    assert_eq!(statuses.values().sum::<usize>(), 300);
    assert!(statuses.keys().all(|status| matches!(status, 204 | 503 | 0)), "{statuses:?}");
    drop(open);
    until("there is room again", || console.get("/healthz").status == 204);
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    until("the one that reads nothing is closed", || console.sockets() <= sockets);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(120), "{took:?}");
    assert_eq!(tree.status("/a")["incarnation"], 1);
    // Streams.
    let streams: Vec<Stream> = (0..64).map(|_| console.stream("")).collect();
    assert_eq!(console.get("/api/stream").status, 503);
    drop(streams);
    until("there is room for a stream", || {
        let mut stream = console.connect();
        write!(stream, "GET /api/stream HTTP/1.1\r\n{}\r\n", console.headers(&[])).unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).is_ok() && line.ends_with(b"200")
    });
    console.end();
    tree.stop();
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let tree = Tree::start(QUIET);
    let mut command = command_in(tree.dir());
    command.args(["web", "-i", "tree", "--url"]);
    let none = run(command).expect(1).stderr;
    assert!(none.contains("cannot print a link: no console of \"tree\" runs"), "{none}");
    assert!(none.contains("start one with `treevisor web -i tree`"), "{none}");
    let mut console = Console::opened(tree.dir(), &[]);
    assert_eq!(console.get("/metrics?path=/nope&path=/a").status, 200, "one of them is there");
    let nope = console.get("/metrics?path=/nope&path=/x*");
    let text = nope.json()["error"].as_str().unwrap().to_owned();
    assert_eq!(
        (nope.status, text.as_str()),
        (404, "nothing in this tree is called /nope or /x*; /api/status shows its paths")
    );
    console.cookie = None;
    let stranger = console.get("/metrics?path=/nope");
    assert!(stranger.status == 401 && stranger.body.contains("Authorization: Bearer KEY"), "{stranger:?}");
    assert!(stranger.body.contains("`treevisor web --new-keys`"), "{stranger:?}");
    console.end();
    tree.stop();
}

/// Opens as many connections as it can, of 300, and keeps them; tells how many.
const KNOCKS: &str = r#"
use Socket;
my @open;
for (1 .. 300) {
    socket(my $one, PF_INET, SOCK_STREAM, 0) or last;
    connect($one, pack_sockaddr_in($ARGV[0], inet_aton("127.0.0.1"))) or last;
    push @open, $one;
}
$| = 1;
print scalar(@open), "\n";
sleep 1000;
"#;

#[test]
fn a_stranger_has_its_part_of_the_connections_and_the_user_of_the_tree_the_rest() {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let perl = Command::new("perl").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !root || !perl {
        return eprintln!("skipped: needs root, to be another user too, and perl");
    }
    let tree = Tree::start(QUIET);
    let console = Console::opened(tree.dir(), &[]);
    let quiet = console.sockets();
    let mut perl = Command::new("perl");
    perl.args(["-e", KNOCKS, &console.port.to_string()]).uid(54_321).gid(54_321).stdout(Stdio::piped());
    let mut stranger = perl.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(stranger.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "300\n");
    until("only its part is kept open", || (60..=70).contains(&console.sockets().saturating_sub(quiet)));
    let open: Vec<TcpStream> = (0..128).map(|_| console.connect()).collect();
    assert_eq!(console.get("/healthz").status, 204);
    assert_eq!(open.iter().filter(|stream| has_answer(stream)).count(), 0);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    console.end();
    tree.stop();
}

#[test]
fn where_tcp_is_full_the_unix_socket_still_answers() {
    let tree = Tree::start(QUIET);
    let path = tree.dir().join("web.sock");
    let console = Console::start(tree.dir(), &["--listen", &format!("unix:{}", path.display())]);
    let open: Vec<TcpStream> = (0..300).map(|_| console.connect()).collect();
    until("there is no room over TCP", || open.iter().filter(|stream| has_answer(stream)).count() >= 44);
    let mut stream = UnixStream::connect(&path).unwrap();
    write!(stream, "GET /plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let answer = Answer::read(&mut stream);
    assert!(answer.status == 200 && answer.body.contains("- a  running"), "{answer:?}");
    drop(open);
    console.end();
    tree.stop();
}

#[test]
fn the_stream_tells_what_changes_and_an_action_what_becomes_of_it() {
    let mut tree = Tree::start(
        "[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n[[child]]\nname = \"talks\"\ncommand = \"sh -c 'while :; do echo \\\"<script>\\\"; sleep 0.2; done'\"\n",
    );
    let console = Console::opened(tree.dir(), &[]);
    let told = console.tree();
    let (next, run) = (told["next"].as_u64().unwrap(), told["run"].as_str().unwrap());
    assert_eq!(told["rows"]["name"], json!(["/", "a", "talks"]));
    let mut stream = console.stream(&format!("?from={next}&run={run}"));
    let hello = stream.wait("hello", |_| true);
    assert_eq!((&hello["may"], &hello["run"], &hello["instance"]), (&json!("act"), &told["run"], &json!("tree")));
    let view = json!({ "stream": hello["stream"], "paths": ["/a", "/talks"], "select": "/talks", "logs": null });
    assert_eq!(console.post("/api/view", &view).status, 204);
    stream.wait("reading", |_| true);
    stream.wait("numbers", |rows| has(rows, |row| row["path"] == "/a" && row["usage"]["processes"] == 1));
    stream.wait("logs", |lines| has(lines, |line| line["text"] == "<script>"));
    signal(tree.pid("/a"), 9);
    // A look at the states that was under way anyway may be there before the event.
    let (mut exited, mut again) = (false, false);
    stream.until("the exit of /a, and its next incarnation", |Frame { name, data }| {
        exited |= name == "events" && has(data, |event| event["path"] == "/a" && event["kind"] == "exited");
        again |= name == "rows" && has(data, |row| row["path"] == "/a" && row["incarnation"] == 2);
        exited && again
    });
    let act = |verb: &str, path: &str, incarnation: u64| {
        console.post("/api/act", &json!({ "verb": verb, "path": path, "incarnation": incarnation }))
    };
    let stale = act("panic", "/a", 1);
    assert_eq!((stale.status, &stale.json()["incarnation"]), (409, &json!(2)));
    assert_eq!(act("panic", "/none", 1).status, 404);
    assert_eq!(act("remove", "/a", 2).status, 422);
    let done = act("restart", "/a", 2);
    assert_eq!(done.status, 202);
    let number = done.json()["action"].clone();
    stream.wait("action", |action| action["action"] == number && action["is"] == "done");
    let stopping = tree.event("the stop of /a", |event| event["path"] == "/a" && event["kind"] == "stopping");
    let by = stopping["by"].as_str().unwrap();
    assert!(by.contains("; web, acting key, 127.0.0.1)"), "{by}");
    assert_eq!(act("panic", "/a", 3).status, 202);
    tree.incarnation("/a", 4);
    let held = console.post("/api/act", &json!({ "verb": "panic", "path": "/a", "hold": true, "incarnation": 4 }));
    assert_eq!(held.status, 202);
    stream.wait("rows", |rows| has(rows, |row| row["path"] == "/a" && row["state"] == "held"));
    let lines = console.get("/api/logs/talks?lines=3").json();
    assert_eq!(lines.as_array().unwrap().len(), 3);
    assert_eq!(console.get("/api/why/a").json()["state"], "held");
    let exits = console.get("/api/events?path=/a&kind=exited").json();
    assert_eq!(exits.as_array().unwrap().len(), 4);
    assert_eq!(console.get("/api/events?n=1").json().as_array().unwrap().len(), 1);
    assert_eq!(console.get("/api/events?kind=x").status, 400);
    assert_eq!(console.get("/api/status/none").status, 404);
    console.end();
    assert_eq!(stream.wait("root", |root| root["is"] == "gone")["run"], told["run"]);
    assert!(stream.frame().is_none());
    tree.stop();
}

#[test]
fn two_quick_actions_with_the_same_incarnation_are_one() {
    let worker = "command = [\"sh\", \"-c\", \"trap 'sleep 0.3; exit' TERM; while :; do sleep 0.05; done\"]\n";
    let mut tree = Tree::start(&format!(
        "[[child]]\nname = \"a\"\n{worker}[[child]]\nname = \"in\"\n[[child.child]]\nname = \"x\"\n{worker}"
    ));
    let console = Console::opened(tree.dir(), &[]);
    for path in ["/a", "/in/x"] {
        let restart = || console.post("/api/act", &json!({ "verb": "restart", "path": path, "incarnation": 1 }));
        let mut answers = thread::scope(|scope| {
            let both = [scope.spawn(restart), scope.spawn(restart)];
            both.map(|one| one.join().unwrap())
        });
        answers.sort_by_key(|answer| answer.status);
        assert_eq!(answers.each_ref().map(|answer| answer.status), [202, 409], "{answers:?}");
        let why = answers[1].json()["error"].as_str().unwrap().to_owned();
        assert!(why.contains(path) && why.contains("incarnation"), "{why}");
        tree.incarnation(path, 2);
        let late = restart();
        assert_eq!((late.status, &late.json()["incarnation"]), (409, &json!(2)), "{late:?}");
        let exits = console.get(&format!("/api/events?path={path}&kind=exited")).json();
        assert_eq!(exits.as_array().unwrap().len(), 1, "{exits}");
    }
    console.end();
    tree.stop();
}

/// Workers that end again and again: the first twenty rounds of each are reported in full. A second each, so that the
/// root has time left on a machine that is busy with other things as well.
const BUSY: &str = "intensity = \"unlimited\"\n[[child]]\nname = \"w\"\ncount = 120\ncommand = \"sleep 1\"\n\
    restart = \"permanent\"\n";

#[test]
fn a_stream_that_comes_back_has_no_event_twice_and_misses_none() {
    let tree = Tree::start(BUSY);
    let console = Console::opened(tree.dir(), &[]);
    let told = console.tree();
    let (mut next, run) = (told["next"].as_u64().unwrap(), told["run"].as_str().unwrap());
    let mut events: Vec<String> = Vec::new();
    for _ in 0..8 {
        let mut stream = console.stream(&format!("?from={next}&run={run}"));
        let until = events.len() + 100;
        let end = Instant::now() + LIMIT;
        while events.len() < until {
            assert!(Instant::now() < end, "{} events", events.len());
            let frame = stream.frame().unwrap();
            assert_ne!(frame.name, "lost", "{frame:?}");
            if frame.name == "events" {
                let list = frame.data.as_array().unwrap();
                events.extend(list.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
            }
        }
        next = stream.next.unwrap();
    }
    // As the root has them: each once, in its order, none in between left out.
    let all = tree.run(&["events", "--json"]).expect(0).stdout;
    let all: Vec<String> = all
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    let first = all.iter().position(|id| *id == events[0]).expect("the root still has the first one");
    assert_eq!(all[first..first + events.len()], events);
    console.end();
    drop(tree);
}

#[test]
fn a_page_that_does_not_read_is_closed_and_nothing_waits_for_it() {
    let tree = Tree::start(
        "[[child]]\nname = \"talks\"\ncommand = \"sh -c 'while :; do seq 1000 1100; sleep 0.02; done'\"\n\
         [[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n",
    );
    let console = Console::opened(tree.dir(), &[]);
    console.get("/api/tree");
    let (mut slow, mut quick) = (console.stream(""), console.stream(""));
    let shows = |stream: &mut Stream| {
        let id = stream.wait("hello", |_| true)["stream"].clone();
        let view = json!({ "stream": id, "paths": ["/a"], "logs": "/talks" });
        assert_eq!(console.post("/api/view", &view).status, 204);
    };
    shows(&mut slow);
    shows(&mut quick);
    let streams = || {
        let metrics = console.get("/metrics").body;
        metrics.lines().find_map(|line| line.strip_prefix("treevisor_web_streams ").map(str::to_owned))
    };
    let (begun, mut looked) = (Instant::now(), Instant::now());
    // One that has taken nothing for 30 seconds is closed; the other one goes on meanwhile.
    loop {
        quick.wait("logs", |lines| has(lines, |line| line["text"] == "1100"));
        if looked.elapsed() > Duration::from_secs(1) {
            looked = Instant::now();
            if streams().as_deref() == Some("1") {
                break;
            }
        }
        assert!(begun.elapsed() < 2 * LIMIT);
    }
    assert!(begun.elapsed() >= Duration::from_secs(29), "{:?}", begun.elapsed());
    let memory = std::fs::read_to_string(format!("/proc/{}/statm", console.process.id())).unwrap();
    let pages: u64 = memory.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(pages * 4 < 200 << 10, "{} KiB", pages * 4);
    drop(slow);
    console.end();
    tree.stop();
}

#[test]
fn a_root_that_is_silent_or_gone_is_told_and_the_next_run_is_found() {
    let mut tree = Tree::start(QUIET);
    let console = Console::opened(tree.dir(), &[]);
    let run = console.tree()["run"].clone();
    let mut stream = console.stream("");
    stream.wait("root", |root| root["is"] == "here" && root["run"] == run);
    assert_eq!(console.get("/plain").status, 200);
    signal(tree.root_pid(), 19);
    stream.wait("root", |root| root["is"] == "silent");
    let tree_then = console.tree();
    assert_eq!(tree_then["root"], "silent");
    assert!(tree_then["silent_ms"].as_u64().unwrap() >= 1_000, "{tree_then}");
    assert_eq!(console.get("/api/status/a").status, 503);
    let plain = console.get("/plain");
    let (first, rest) = plain.body.split_once('\n').unwrap();
    let silent = first.strip_prefix("the root of \"tree\" does not answer; it has not for ");
    assert!(plain.status == 503 && silent.is_some_and(|silent| silent.ends_with('s')), "{plain:?}");
    assert!(rest.starts_with("`treevisor panic --force -i tree /`"), "{rest}");
    assert!(rest.split_once("\nAs it was ").is_some_and(|(_, then)| then.contains("- a  running")), "{rest}");
    assert!(!console.get("/plain/a").body.contains("As it was"));
    assert!(console.get("/metrics").body.contains("treevisor_up{tree=\"tree\"} 0"));
    signal(tree.root_pid(), 18);
    stream.wait("root", |root| root["is"] == "here");
    signal(tree.root_pid(), 9);
    stream.wait("root", |root| root["is"] == "gone");
    tree.wait();
    let plain = console.get("/plain");
    assert!(plain.status == 503 && plain.body.starts_with("\"tree\" does not run\n"), "{plain:?}");
    let action = json!({ "verb": "stop", "path": "/a", "incarnation": 1 });
    assert_eq!(console.post("/api/act", &action).status, 503);
    let events = console.get("/api/events").json();
    assert!(has(&events, |event| event["path"] == "/b" && event["kind"] == "started"), "{events}");
    let mut again = command_in(tree.dir());
    let again = again.args(["start", "tree.toml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut again = again.unwrap();
    stream.wait("root", |root| root["is"] == "here" && root["run"] != run);
    stream.wait("lost", |_| true);
    let told = console.tree();
    assert_ne!(told["run"], run);
    tree.run(&["stop"]).expect(0);
    again.wait().unwrap();
    console.end();
}

#[test]
fn a_unix_socket_lets_its_user_in_and_is_closed_to_others() {
    let tree = Tree::start(QUIET);
    let path = tree.dir().join("web.sock");
    let mut command = command_in(tree.dir());
    let address = format!("unix:{}", path.display());
    let mut process = command.args(["web", "-i", "tree", "--listen", &address]).stdout(Stdio::piped()).spawn().unwrap();
    let mut link = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut link).unwrap();
    assert!(link.starts_with("http://localhost/#key="), "{link}");
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o600);
    let ask = |head: &str, body: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        write!(stream, "{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        Answer::read(&mut stream)
    };
    assert_eq!(ask("GET /api/status/a HTTP/1.1\r\nHost: localhost", "").json()["root"]["path"], "/a");
    assert_eq!(ask("GET /api/tree HTTP/1.1\r\nHost: evil.example", "").status, 421);
    let post = "HTTP/1.1\r\nHost: localhost:9000\r\nOrigin: http://localhost:9000\r\nContent-Type: application/json";
    let session = ask(&format!("POST /login {post}"), "{}");
    assert_eq!(session.json()["may"], "act");
    let cookie = session.header("set-cookie").unwrap().split(';').next().unwrap();
    let action = json!({ "verb": "panic", "path": "/a", "incarnation": 1 }).to_string();
    assert_eq!(ask(&format!("POST /api/act {post}"), &action).status, 403);
    let csrf = session.json()["csrf"].as_str().unwrap().to_owned();
    let acting = format!("POST /api/act {post}\r\nCookie: {cookie}\r\nX-Treevisor-CSRF: {csrf}");
    assert_eq!(ask(&acting, &action).status, 202);
    signal(process.id(), 15);
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
    // In a directory that others may write to it is refused.
    let open = tree.dir().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = command_in(tree.dir());
    command.args(["web", "-i", "tree", "--listen", &format!("unix:{}/s", open.display())]);
    let refused = run(command).expect(1);
    assert!(refused.stderr.contains("others may write to it"), "{}", refused.stderr);
    tree.stop();
}

#[test]
fn behind_a_proxy_its_name_counts_and_not_the_user_whom_the_kernel_names() {
    let tree = Tree::start(QUIET);
    let path = tree.dir().join("web.sock");
    let address = format!("unix:{}", path.display());
    let mut command = command_in(tree.dir());
    command.args(["web", "-i", "tree", "--listen", &address, "--public-url", "https://ops.example/shop"]);
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut link = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut link).unwrap();
    let key = link.trim().strip_prefix("https://ops.example/shop/#key=").unwrap_or_else(|| panic!("{link}"));
    let ask = |line: &str, more: &str, body: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        let length = body.len();
        write!(stream, "{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}").unwrap();
        Answer::read(&mut stream)
    };
    let host = "Host: ops.example\r\n";
    assert_eq!(ask("GET /shop/", host, "").status, 200);
    assert_eq!(ask("GET /shop/api/tree", host, "").status, 401);
    let json = "Content-Type: application/json\r\n";
    let body = json!({ "key": key }).to_string();
    let foreign = format!("{host}{json}Origin: http://ops.example\r\n");
    assert_eq!(ask("POST /shop/login", &foreign, &body).status, 403);
    // A proxy may set another Host, and may take the path off.
    let own = format!("Host: localhost\r\n{json}Origin: https://ops.example\r\n");
    let session = ask("POST /login", &own, &body);
    let cookie = session.header("set-cookie").unwrap_or_else(|| panic!("{session:?}"));
    assert!(cookie.contains("; Path=/shop/;") && cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let cookie = format!("{host}Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(ask("GET /shop/api/status/a", &cookie, "").json()["root"]["path"], "/a");
    assert_eq!(ask("GET /api/status/a", &cookie, "").status, 200);
    signal(process.id(), 15);
    assert_eq!(process.wait().unwrap().code(), Some(0));
    tree.stop();
}

#[test]
fn where_it_may_listen() {
    let tree = Tree::start(QUIET);
    let console = Console::start(tree.dir(), &[]);
    let taken = format!("127.0.0.1:{}", console.port);
    let listen = |arguments: &[&str]| {
        let mut command = command_in(tree.dir());
        command.args(["web", "-i", "tree"]).args(arguments);
        command
    };
    let refused = run(listen(&["--listen", &taken])).expect(1);
    let holder = format!("process {}", console.process.id());
    // On a busy machine there is no time to find out which process has it.
    let named = refused.stderr.contains(&holder) || refused.stderr.contains("`ss -tlnp`");
    assert!(named && refused.stderr.contains("in use"), "{}", refused.stderr);
    for arguments in [
        &["--listen", "0.0.0.0:0"][..],
        &["--listen", "0.0.0.0:0", "--public-url", "http://ops.example"],
        &["--listen", "localhost:1"],
        &["--public-url", "ops.example"],
        &["--view"],
        &["--url", "--read-only"],
    ] {
        let refused = run(listen(arguments)).expect(2);
        assert!(!refused.stderr.is_empty(), "{arguments:?}");
    }
    console.end();
    let none = run(listen(&["--url"])).expect(1);
    assert!(none.stderr.contains("no console of \"tree\" runs"), "{}", none.stderr);
    // Below the path of a public name.
    let public = "https://ops.example/shop/";
    let mut process = web(tree.dir()).args(["--public-url", public]).stdout(Stdio::piped()).spawn().unwrap();
    let mut link = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut link).unwrap();
    assert!(link.starts_with("https://ops.example/shop/#key="), "{link}");
    signal(process.id(), 15);
    process.wait().unwrap();
    let console = Console::start(tree.dir(), &["--no-pages", "--open-metrics"]);
    assert_eq!((console.get("/").status, console.get("/api/tree").status), (404, 404));
    let metrics = console.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.body.contains("treevisor_up{tree=\"tree\"} 1\n"), "{metrics:?}");
    assert_eq!(console.get("/metrics?nothing=1").status, 400);
    assert!(!console.get("/metrics?workers=none").body.contains("path=\"/a\""));
    console.end();
    tree.stop();
}

#[test]
fn as_a_worker_it_beats_is_ready_and_finds_its_tree() {
    let toml = format!(
        "{QUIET}[[child]]\nname = \"console\"\ncommand = \"{TREEVISOR} web --listen 127.0.0.1:0\"\nready = \"notify\"\n\
         heartbeat = {{ interval = \"1s\", misses = 5 }}\n"
    );
    let mut tree = Tree::start(&toml);
    let line = tree.line("the console of \"tree\" is at");
    assert!(!line.contains("key="), "{line}");
    let link = tree.run(&["web", "--url", "-i", "tree"]).expect(0).stdout;
    let (url, key) = link.trim().split_once("#key=").unwrap();
    let port: u16 = url.trim_end_matches('/').rsplit_once(':').unwrap().1.parse().unwrap();
    let body = json!({ "key": key }).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "POST /login HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let session = Answer::read(&mut stream);
    let cookie = session.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        Answer::read(&mut stream)
    };
    assert_eq!(get("/api/tree").json()["self"], "/console");
    until("it beats", || tree.status("/console")["heartbeat"]["beats"].as_u64() > Some(2));
    // Stopped, it is taken for hung; killed, it is restarted: as any worker, and nothing else is touched.
    let pid = tree.pid("/console");
    signal(pid, 19);
    tree.kind("/console", "hung");
    tree.incarnation("/console", 2);
    signal(tree.pid("/console"), 9);
    tree.incarnation("/console", 3);
    assert_eq!((&tree.status("/a")["incarnation"], &tree.status("/b")["incarnation"]), (&json!(1), &json!(1)));
    tree.stop();
}
