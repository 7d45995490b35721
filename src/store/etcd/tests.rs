//! Against a server that answers as it should not, and against etcd itself where that is installed.
use super::*;
use crate::os::clock;
use crate::os::free_port::free_port;
use crate::store::Record;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

/// Limit for an answer on a busy machine: a test that waits this long hangs.
const LIMIT: Span = Span::from_secs(30);

/// Limit for a request whose answer never comes.
const SHORT: Span = Span::from_millis(300);

fn now() -> Time {
    clock::both().boottime
}

fn way(endpoints: &[&str]) -> Etcd {
    let endpoints: Vec<String> = endpoints.iter().map(|&text| text.into()).collect();
    Etcd::new(&endpoints, None, now).unwrap()
}

fn swap(store: &mut impl Store, key: &str, expected: Option<u64>, new: &str) -> Answer {
    store.ask(&Ask::Swap { key: key.into(), expected, new: new.into() }, LIMIT)
}

fn read(store: &mut impl Store, prefix: &str, limit: Span) -> Answer {
    store.ask(&Ask::Read { prefix: prefix.into() }, limit)
}

#[track_caller]
fn unknown(answer: Answer) -> String {
    match answer {
        Answer::Unknown(why) => why,
        other => panic!("{other:?}"),
    }
}

/// A server on loopback that does the same with each connection. Its threads end with the test's process.
fn server(act: impl Fn(TcpStream) + Send + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let act = act.clone();
            thread::spawn(move || act(stream));
        }
    });
    at
}

/// Reads a request to its end: all of ours have a length or nothing behind their head.
fn take_request(stream: &mut TcpStream) {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        text.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let _ = stream.read_exact(&mut vec![0; length]);
}

/// Answers each request on a connection with this text.
fn saying(text: impl Into<String>) -> String {
    let text: String = text.into();
    server(move |mut stream| {
        loop {
            take_request(&mut stream);
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    })
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn empty_range(cluster: &str) -> String {
    ok(&format!(r#"{{"header":{{"cluster_id":"{cluster}","revision":"1"}}}}"#))
}

/// An address at which nothing listens.
fn nowhere() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

#[test]
fn an_answer_that_is_none_is_neither_yes_nor_no() {
    let answers = [
        ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned(), "HTTP status 500"),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".into(), "HTTP status 302"),
        (ok(r#"{"error":"etcdserver: mvcc: database space exceeded"}"#).replace("200 OK", "503 No"), "space exceeded"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".into(), ""),
        (ok("<html>"), "none of etcd's"),
        (ok("{}"), "none of etcd's"),
        (ok(r#"{"header":{"cluster_id":"1","revision":"9"},"succeeded":true}"#), "none of etcd's"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(), "none of etcd's"),
    ];
    for (text, part) in answers {
        let at = saying(text.clone());
        let why = unknown(swap(&mut way(&[&at]), "k", None, "v"));
        assert!(why.starts_with(&at) && why.contains(part), "{text}: {why}");
    }
}

#[test]
fn a_connection_that_is_cut_or_says_too_much_is_no_answer() {
    // Before the answer, and in its midst.
    let cut = server(|mut stream| take_request(&mut stream));
    let torn = server(|mut stream| {
        take_request(&mut stream);
        let text = empty_range("1");
        let _ = stream.write_all(&text.as_bytes()[..text.len() - 5]);
    });
    let huge = server(|mut stream| {
        take_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{\"header\":\"");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    for at in [cut, torn, huge, nowhere()] {
        unknown(read(&mut way(&[&at]), "/", LIMIT));
    }
}

#[test]
fn what_does_not_come_is_not_waited_for() {
    // A server that takes the request and is silent; one that sends a byte now and then; one that does not even accept.
    let silent = server(|mut stream| {
        take_request(&mut stream);
        let _ = stream.read(&mut [0]);
    });
    let slow = server(|mut stream| {
        take_request(&mut stream);
        for byte in empty_range("1").bytes() {
            clock::pause(Span::from_millis(50));
            if stream.write_all(&[byte]).is_err() {
                return;
            }
        }
    });
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf_at = format!("http://{}", deaf.local_addr().unwrap());
    for at in [&silent, &slow, &deaf_at] {
        let begin = now();
        unknown(read(&mut way(&[at]), "/", SHORT));
        assert!(now() >= begin + SHORT, "{at}");
    }
    // The next question begins with the next endpoint; the one after it stays there.
    let well = saying(empty_range("1"));
    let mut store = way(&[&silent, &well]);
    unknown(read(&mut store, "/", SHORT));
    assert_eq!(read(&mut store, "/", LIMIT), Answer::Records(vec![]));
    assert_eq!(read(&mut store, "/", LIMIT), Answer::Records(vec![]));
}

#[test]
fn what_fails_at_once_is_tried_with_the_next_within_the_same_question() {
    let (bad, well) = (saying("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), saying(empty_range("1")));
    let gone = nowhere();
    let mut store = way(&[&gone, &bad, &well]);
    assert_eq!(read(&mut store, "/", LIMIT), Answer::Records(vec![]));
    let why = unknown(read(&mut way(&[&gone, &bad]), "/", LIMIT));
    assert!(why.contains(&gone) && why.contains(&bad), "{why}");
}

#[test]
fn two_clusters_are_not_one_store() {
    let (one, other) = (saying(empty_range("1")), saying(empty_range("2")));
    let mut first = way(&[&one]);
    assert_eq!(read(&mut first, "/", LIMIT), Answer::Records(vec![]));
    // A clone shares the id of the cluster.
    let mut second = first.clone();
    second.endpoints().set(vec![other]);
    assert!(unknown(read(&mut second, "/", LIMIT)).contains("another cluster"));
}

#[test]
fn endpoints_are_looked_at_before_they_are_used() {
    let refused = |text: &str| Etcd::new(&[text.to_owned()], None, now).unwrap_err().to_string();
    assert!(refused("127.0.0.1:2379").contains("no endpoint"));
    assert!(refused("ftp://a").contains("http://"));
    assert!(refused("https://a:2379").contains("`ca`"));
    assert!(refused("http://me:secret@a:2379").contains("user"));
    assert!(refused("http://a:2379/v3").contains("after the port"));
    assert!(Etcd::new(&[], None, now).is_err());
    let tls = |ca: &str| Tls { ca: ca.into(), client: None };
    let with = |tls: &Tls| Etcd::new(&["https://a".into()], Some(tls), now).unwrap_err().to_string();
    assert!(with(&tls("")).contains("`ca` has no certificate"));
    assert_eq!(way(&["http://a:1/"]).endpoints().get()[0], "http://a:1");
}

/// An etcd of one member, on loopback, with its data in a directory of its own.
struct Server {
    child: Child,
    at: String,
    _dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_installed(program: &str) -> bool {
    let there = Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

fn etcd(scheme: &str, arguments: &[&str]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let (at, peer) = (format!("{scheme}://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let child = Command::new("etcd")
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .args(["--listen-client-urls", &at, "--advertise-client-urls", &at, "--listen-peer-urls", &peer])
        .args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}")])
        .args(["--quota-backend-bytes", "100000000"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Server { child, at, _dir: dir }
}

#[track_caller]
fn until_it_is_well(server: &mut Server, store: &mut Etcd) -> Health {
    let end = now() + LIMIT;
    loop {
        match store.ask(&Ask::Health, LIMIT) {
            Answer::Health(health) => return health,
            answer => assert!(now() < end && server.child.try_wait().unwrap().is_none(), "{answer:?}"),
        }
        clock::pause(Span::from_millis(20));
    }
}

#[test]
fn etcd_itself_compares_and_swaps() {
    if !is_installed("etcd") {
        return;
    }
    let mut server = etcd("http", &[]);
    let mut store = way(&[&nowhere(), &server.at]);
    let health = until_it_is_well(&mut server, &mut store);
    assert!(health.version.starts_with("3.") && health.size > 0 && health.alarms.is_empty(), "{health:?}");
    assert_eq!(health.quota, Some(100_000_000));

    let Answer::Done(first) = swap(&mut store, "/t/host/a", None, "one") else { panic!() };
    let there = |version, value: &str| Record { key: "/t/host/a".into(), version, value: value.into() };
    assert_eq!(swap(&mut store, "/t/host/a", None, "two"), Answer::Lost(Some(there(first, "one"))));
    assert_eq!(swap(&mut store, "/t/host/a", Some(first + 100), "two"), Answer::Lost(Some(there(first, "one"))));
    assert_eq!(swap(&mut store, "/t/host/b", Some(first), "two"), Answer::Lost(None));
    let Answer::Done(second) = swap(&mut store, "/t/host/a", Some(first), "") else { panic!() };
    assert!(second > first);
    // The same swap again is lost to its own first write.
    assert_eq!(swap(&mut store, "/t/host/a", Some(first), ""), Answer::Lost(Some(there(second, ""))));
    let Answer::Done(other) = swap(&mut store, "/t/own/x//", None, "three") else { panic!() };
    let Answer::Done(_) = swap(&mut store, "/tt", None, "beside") else { panic!() };
    let record = Record { key: "/t/own/x//".into(), version: other, value: b"three".into() };
    assert_eq!(read(&mut store, "/t/", LIMIT), Answer::Records(vec![there(second, ""), record]));
    assert_eq!(read(&mut store, "/u/", LIMIT), Answer::Records(vec![]));
}

#[test]
fn etcd_that_is_stopped_is_not_waited_for_and_goes_on() {
    if !is_installed("etcd") {
        return;
    }
    let mut server = etcd("http", &[]);
    let mut store = way(&[&server.at]);
    until_it_is_well(&mut server, &mut store);
    let process = crate::os::pidfd::PidFd::open(server.child.id()).unwrap();
    process.signal(libc::SIGSTOP).unwrap();
    // One of its threads takes the signal, and the others run until that one is scheduled.
    nix::sys::wait::waitpid(
        nix::unistd::Pid::from_raw(server.child.id() as i32),
        Some(nix::sys::wait::WaitPidFlag::WUNTRACED),
    )
    .unwrap();
    unknown(store.ask(&Ask::Swap { key: "/k".into(), expected: None, new: b"v".into() }, SHORT));
    process.signal(libc::SIGCONT).unwrap();
    // The swap that timed out was under way: it may have been carried out or not. Each outcome has to be reported as it
    // is.
    match swap(&mut store, "/k", None, "w") {
        Answer::Done(_) => {}
        Answer::Lost(Some(record)) => assert_eq!(record.value, b"v"),
        other => panic!("{other:?}"),
    }
}

/// An authority with two certificates, for a server on loopback and for a client.
fn certificates_in(dir: &Path) -> bool {
    let script = "
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority
        printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' >ext
        for end in server client; do
            openssl req -newkey rsa:2048 -nodes -keyout $end.key -out $end.csr -subj /CN=$end
            openssl x509 -req -in $end.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $end.pem
        done";
    let output = Command::new("sh").args(["-ec", script]).current_dir(dir).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn by_https_both_sides_are_certified() {
    if !is_installed("etcd") || !is_installed("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(certificates_in(dir.path()), "openssl has made no certificates");
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let pem = |name: &str| std::fs::read(file(name)).unwrap();
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let arguments = ["--cert-file", &cert, "--key-file", &key, "--trusted-ca-file", &ca, "--client-cert-auth"];
    let mut server = etcd("https", &arguments);
    let way = |tls: Tls| Etcd::new(std::slice::from_ref(&server.at), Some(&tls), now).unwrap();
    let client = Some((pem("client.pem"), pem("client.key")));
    let mut certified = way(Tls { ca: pem("ca.pem"), client: client.clone() });
    let mut without = way(Tls { ca: pem("ca.pem"), client: None });
    // The client's certificate is valid, but of an authority that the server does not trust.
    let mut other = way(Tls { ca: pem("client.pem"), client });
    until_it_is_well(&mut server, &mut certified);
    assert!(matches!(swap(&mut certified, "/k", None, "v"), Answer::Done(_)));
    unknown(read(&mut without, "/", LIMIT));
    assert!(unknown(read(&mut other, "/", LIMIT)).contains("certificate"));
}
