//! Clients of a web server that ask all the time, and what they get.

use crate::harness::until;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Why there is no good answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection was refused.
    Refused(String),
    /// The server went away with it.
    Lost(String),
    /// Another status than 200; the first line of the answer.
    Status(String),
}

/// One request for `/`; the whole answer.
pub(crate) fn ask(port: u16) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| Failure::Refused(error.to_string()))?;
    let mut answer = String::new();
    let asked = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").and_then(|()| stream.read_to_string(&mut answer));
    match (asked, answer.lines().next()) {
        (Err(error), _) => Err(Failure::Lost(error.to_string())),
        (Ok(_), None) => Err(Failure::Lost("no answer".into())),
        (Ok(_), Some(first)) if first.split(' ').nth(1) == Some("200") => Ok(answer),
        (Ok(_), Some(first)) => Err(Failure::Status(first.to_owned())),
    }
}

/// Clients that ask all the time.
pub(crate) struct Clients {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<Failure>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub(crate) fn of(port: u16, count: usize) -> Clients {
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let client = |_| {
            let (over, answered, failures) = (Arc::clone(&over), Arc::clone(&answered), Arc::clone(&failures));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    match ask(port) {
                        Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            })
        };
        let threads = (0..count).map(client).collect();
        Clients { over, answered, failures, threads }
    }

    /// Waits for so many more answers. Gives what has failed since the last call.
    pub(crate) fn answered(&self, more: usize) -> Vec<Failure> {
        let before = self.answered.load(Ordering::Relaxed);
        until("requests are answered", || self.answered.load(Ordering::Relaxed) >= before + more);
        std::mem::take(&mut self.failures.lock().unwrap())
    }

    /// As [`answered`](Self::answered): no connection was refused.
    pub(crate) fn none_refused(&self, more: usize) {
        let failures = self.answered(more);
        assert!(!failures.iter().any(|failure| matches!(failure, Failure::Refused(_))), "{failures:?}");
    }

    /// They ask no more. Gives what has failed since the last call.
    pub(crate) fn end(self) -> Vec<Failure> {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        std::mem::take(&mut self.failures.lock().unwrap())
    }
}
