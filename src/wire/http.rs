//! The subset of HTTP/1.1 that a probe needs: one GET request, and the status of the response. No I/O.
//!
//! Only the status decides; a bad response also gives a reason for people. A short response is read to its end all the
//! same, so that the server sees no connection reset in the middle of writing. No more than [`READ_MAX`] bytes are
//! read.

use std::fmt;

/// Most bytes of an answer that are read.
pub const READ_MAX: usize = 64 * 1024;

/// Most bytes of a response's head, final or interim. Most servers have a limit of this order too.
const HEAD_MAX: usize = 16 * 1024;

/// Bytes of the body that are kept, for the reason in a report.
const SAID_MAX: usize = 200;

/// A GET request with `Connection: close`.
pub fn get(host: &str, path: &str) -> Vec<u8> {
    // The default port 80 is left out of `Host:`, as other clients do.
    let host = host.strip_suffix(":80").unwrap_or(host);
    let agent = concat!("treevisor/", env!("CARGO_PKG_VERSION"));
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// A response that is being received.
#[derive(Debug, Default)]
pub struct Answer {
    head: Vec<u8>,
    /// How many bytes of `head` were searched for the blank line that ends it, without a find.
    searched: usize,
    status: Option<Status>,
    /// Bytes of the body that are still to come; `None` if the body ends with the connection.
    left: Option<u64>,
    said: Vec<u8>,
    taken: usize,
}

/// The status line of a response, and whether its body can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Status {
    code: u16,
    reason: String,
    /// The body has neither a transfer nor a content coding, so its first line can be shown.
    legible: bool,
}

/// Why the received bytes are not an HTTP response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// The first line is not a status line.
    NotHttp,
    /// The head is longer than `HEAD_MAX`.
    HeadTooLong,
    /// No final response comes after [`READ_MAX`] bytes of interim ones.
    OnlyInterim,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoAnswer::NotHttp => "not HTTP",
            NoAnswer::HeadTooLong => "the head of its answer is too long",
            NoAnswer::OnlyInterim => "only interim answers (1xx)",
        })
    }
}

impl std::error::Error for NoAnswer {}

impl Answer {
    /// Takes in received bytes. Returns true when no more bytes are needed.
    ///
    /// # Errors
    /// The bytes are not an HTTP response.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, NoAnswer> {
        self.taken = self.taken.saturating_add(bytes.len());
        while self.status.is_none() {
            // The blank line may have begun in the bytes before these.
            let from = self.searched.saturating_sub(3);
            self.head.extend_from_slice(bytes);
            self.searched = self.head.len();
            bytes = &[];
            let beginning = b"HTTP/1.";
            let length = self.head.len().min(beginning.len());
            if self.head[..length] != beginning[..length] {
                return Err(NoAnswer::NotHttp);
            }
            let Some(end) = end_of_head(&self.head, from) else {
                return if self.head.len() > HEAD_MAX { Err(NoAnswer::HeadTooLong) } else { Ok(false) };
            };
            let rest = self.head.split_off(end);
            let head = std::mem::take(&mut self.head);
            let (status, left) = read_head(&head)?;
            if (100..200).contains(&status.code) {
                // An interim response (1xx); the final one follows.
                if self.taken >= READ_MAX {
                    return Err(NoAnswer::OnlyInterim);
                }
                self.head = rest;
                self.searched = 0;
                if self.head.is_empty() {
                    return Ok(false);
                }
                continue;
            }
            self.left = left;
            self.status = Some(status);
            return Ok(self.body(&rest));
        }
        Ok(self.body(bytes))
    }

    fn body(&mut self, bytes: &[u8]) -> bool {
        let room = SAID_MAX.saturating_sub(self.said.len()).min(bytes.len());
        self.said.extend_from_slice(&bytes[..room]);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes.len() as u64);
        }
        self.left == Some(0) || self.taken >= READ_MAX
    }

    /// The verdict on the response so far: `Ok` for a status of 2xx, else the reason. `None` while its head is
    /// incomplete.
    pub fn verdict(&self) -> Option<Result<(), String>> {
        let Status { code, reason, legible } = self.status.as_ref()?;
        if (200..300).contains(code) {
            return Some(Ok(()));
        }
        let mut why = format!("answered {code}");
        if !reason.is_empty() {
            why.push(' ');
            why.push_str(reason);
        }
        let said = String::from_utf8_lossy(&self.said);
        let said = said.lines().next().unwrap_or("").trim();
        // The first line of an HTML page tells nothing.
        if *legible && !said.is_empty() && !said.starts_with('<') {
            why.push_str(": ");
            why.push_str(said);
        }
        Some(Err(why))
    }
}

/// The index after the blank line that ends the head. A line ends with CR LF, or with LF alone.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find_map(|at| match &bytes[at..] {
        [b'\n', b'\n', ..] => Some(at + 2),
        [b'\n', b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// The status, and the length of the body where the head gives it.
fn read_head(head: &[u8]) -> Result<(Status, Option<u64>), NoAnswer> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or("").trim_end().splitn(3, ' ');
    let version = words.next().unwrap_or("");
    let code = words.next().filter(|code| code.len() == 3).and_then(|code| code.parse::<u16>().ok());
    let code = code.filter(|code| version.len() == "HTTP/1.1".len() && *code >= 100).ok_or(NoAnswer::NotHttp)?;
    let reason = words.next().unwrap_or("").trim().chars().take(80).collect();
    let mut left = None;
    let mut legible = true;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            left = value.parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") || name.eq_ignore_ascii_case("content-encoding") {
            legible = false;
        }
    }
    if matches!(code, 204 | 304) {
        left = Some(0);
    }
    Ok((Status { code, reason, legible }, left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fed(text: &str) -> (Result<bool, NoAnswer>, Option<Result<(), String>>) {
        let mut answer = Answer::default();
        let done = answer.feed(text.as_bytes());
        (done, answer.verdict())
    }

    #[test]
    fn the_request_names_host_and_path_and_ends_the_connection() {
        let text = String::from_utf8(get("localhost:8080", "/health?full")).unwrap();
        assert!(text.starts_with("GET /health?full HTTP/1.1\r\nHost: localhost:8080\r\n"), "{text}");
        assert!(text.contains("\r\nConnection: close\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(String::from_utf8(get("[::1]:80", "/")).unwrap().contains("\r\nHost: [::1]\r\n"));
    }

    #[test]
    fn good_is_2xx_and_nothing_else() {
        assert_eq!(fed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), (Ok(true), Some(Ok(()))));
        assert_eq!(fed("HTTP/1.0 204 No Content\r\n\r\n"), (Ok(true), Some(Ok(()))));
        assert_eq!(fed("HTTP/1.1 299\n\n"), (Ok(false), Some(Ok(()))), "the body goes on to the end of the connection");
        let bad = |text: &str| fed(text).1.unwrap().unwrap_err();
        assert_eq!(bad("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), "answered 302 Found");
        assert_eq!(
            bad("HTTP/1.1 503 Busy\r\n\r\nthe database is down\r\nat line 7"),
            "answered 503 Busy: the database is down"
        );
        assert_eq!(bad("HTTP/1.1 500 Oh\r\n\r\n<!DOCTYPE html>"), "answered 500 Oh");
        assert_eq!(bad("HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nno!!"), "answered 500 Oh");
    }

    #[test]
    fn no_verdict_before_the_head_is_complete() {
        assert_eq!(fed(""), (Ok(false), None));
        assert_eq!(fed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"), (Ok(false), None));
        assert_eq!(fed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"), (Ok(false), Some(Ok(()))));
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        assert_eq!(fed(early), (Ok(false), None));
        assert_eq!(fed(&format!("{early}HTTP/1.1 204 Done\r\n\r\n")), (Ok(true), Some(Ok(()))));
    }

    #[test]
    fn what_is_no_answer_is_refused_at_once() {
        assert_eq!(fed("SSH-2.0-x").0, Err(NoAnswer::NotHttp));
        assert_eq!(fed("HTTP/2 200\r\n\r\n").0, Err(NoAnswer::NotHttp));
        assert_eq!(fed("HTTP/1.1 20 OK\r\n\r\n").0, Err(NoAnswer::NotHttp));
        assert_eq!(fed("HTTP/1.1 +20 OK\r\n\r\n").0, Err(NoAnswer::NotHttp));
        assert_eq!(fed(&format!("HTTP/1.1 200 OK\r\n{}", "x".repeat(HEAD_MAX))).0, Err(NoAnswer::HeadTooLong));
    }

    #[test]
    fn an_endless_body_is_left_after_a_while() {
        let mut answer = Answer::default();
        assert_eq!(answer.feed(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(false));
        let chunk = [b'x'; 4096];
        let reads = (1..).find(|_| answer.feed(&chunk) == Ok(true)).unwrap();
        assert!(reads <= READ_MAX / 4096);
    }

    #[test]
    fn endless_interim_answers_are_left_after_a_while() {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(200);
        // Whole heads, and heads that each read cuts in another place.
        for size in ["HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".len() * 100, 4096] {
            let mut answer = Answer::default();
            let (mut reads, mut at) = (0, 0);
            let end = loop {
                let piece: Vec<u8> = hints.bytes().cycle().skip(at).take(size).collect();
                (reads, at) = (reads + 1, (at + size) % hints.len());
                match answer.feed(&piece) {
                    Ok(done) => assert!(!done && reads <= READ_MAX / size, "{reads} reads of {size} bytes"),
                    Err(error) => break error,
                }
            };
            assert_eq!((end, answer.verdict()), (NoAnswer::OnlyInterim, None));
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_an_answer_is_cut(cuts in proptest::collection::vec(1usize..9, 0..40)) {
            let text = b"HTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 503 Busy\nContent-Length: 5\r\n\r\nlater";
            let mut answer = Answer::default();
            let (mut rest, mut done) = (&text[..], false);
            for cut in cuts {
                let (piece, more) = rest.split_at(cut.min(rest.len()));
                done = answer.feed(piece).unwrap();
                rest = more;
            }
            if !rest.is_empty() {
                done = answer.feed(rest).unwrap();
            }
            prop_assert!(done);
            prop_assert_eq!(answer.verdict(), Some(Err("answered 503 Busy: later".to_string())));
        }

        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut answer = Answer::default();
            let _ = answer.feed(&bytes);
            let mut answer = Answer::default();
            let _ = answer.feed(b"HTTP/1.1 ");
            let _ = answer.feed(&bytes);
            let _ = answer.verdict();
        }
    }
}
