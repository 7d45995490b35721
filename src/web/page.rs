//! A page: what it shows, and the frames that still have to be sent to it.

use super::keys::Proof;
use super::outbox::{Kind, Outbox, STUCK_MS, frame};
use super::ring::Ring;
use super::table::Table;
use crate::control::logs::LogsRead;
use crate::ids::Path;
use axum::body::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::task::{Poll, Waker};
use tokio::sync::Notify;

/// Most rows whose numbers one page is sent.
pub(super) const IN_VIEW: usize = 200;

/// About how many bytes of events go into one frame.
const EVENTS_MAX: usize = 64 << 10;

/// What a page shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// The rows whose numbers it needs.
    pub(super) paths: Vec<Path>,
    /// The selected row, whose numbers and output it needs.
    pub(super) select: Option<Path>,
    /// Further paths whose output it needs.
    pub(super) logs: Vec<Path>,
}

impl View {
    pub(super) fn rows(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().chain(&self.select)
    }

    pub(super) fn reads(&self) -> impl Iterator<Item = &Path> {
        self.logs.iter().chain(&self.select)
    }

    /// The paths whose output it needs and that are in the tree. The root refuses a request that names any other path,
    /// and one request is made for all pages.
    pub(super) fn reads_in<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Path> {
        self.reads().filter(|path| table.is_supervisor(path).is_some())
    }
}

/// A page whose stream is open.
pub(super) struct Page {
    pub(super) id: String,
    /// Closed once the stream is to end: the page is sent the frames that wait, and then it ends.
    pub(super) outbox: Outbox,
    /// Number of the next event that it is to be sent.
    pub(super) next: u64,
    pub(super) view: View,
    /// What proves that its client may view.
    pub(super) proof: Proof,
    waker: Option<Waker>,
    /// Notified to close its connection.
    close: Arc<Notify>,
}

/// What a page presents when it opens its stream.
#[derive(Clone, Default)]
pub(super) struct StreamRequest {
    /// Number of the next event.
    pub(super) from: Option<u64>,
    /// The run that the number belongs to.
    pub(super) run: Option<String>,
    /// What proves that its client may view.
    pub(super) proof: Proof,
}

impl Page {
    /// A page that is to be sent the events from this number on.
    pub(super) fn new(id: String, next: u64, proof: Proof, close: Arc<Notify>) -> Page {
        let (outbox, view) = (Outbox::default(), View::default());
        Page { id, outbox, next, view, proof, waker: None, close }
    }

    /// Wakes its connection: there is something to take.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Queues lines of output, if the page needs them.
    pub(super) fn logs(&mut self, told: &LogsRead, now: u64) {
        let wanted = |path: &Path| self.view.reads().any(|top| path.is_within(top));
        let lines: Vec<Value> = told.lines.iter().filter(|line| wanted(&line.path)).map(|line| json!(line)).collect();
        let lost = self.outbox.lines_lost() + if self.view.reads().next().is_some() { told.lost } else { 0 };
        if lost > 0 || !lines.is_empty() {
            // If the frame is dropped, those that were lost before are lost with it.
            let count = lost + lines.len() as u64;
            self.outbox.push(Kind::Logs(count), logs_frame(lost, lines), now);
            self.wake();
        }
    }

    /// The lines that were dropped, once no frame waits: no further line may come.
    fn lost_lines(&mut self) -> Option<Bytes> {
        let lost = self.outbox.lines_lost();
        (lost > 0).then(|| logs_frame(lost, Vec::new()))
    }

    /// Ends the stream after the frames that wait.
    pub(super) fn end(&mut self) {
        self.outbox.close();
        self.wake();
    }

    /// Ends the stream at once, without the frames that wait.
    pub(super) fn cut_off(&mut self) {
        self.outbox = Outbox::default();
        self.end();
    }

    /// Closes its connection if it has taken nothing for too long.
    pub(super) fn close_if_stuck(&self, now: u64) {
        if self.outbox.stuck_ms(now) > STUCK_MS {
            self.close.notify_one();
        }
    }

    /// The next frame: one that waits, or else events. `None` at the end of the stream. While there is none, `waker` is
    /// kept to be woken for the next.
    pub(super) fn take(&mut self, ring: Option<&Ring>, waker: &Waker, now: u64) -> Poll<Option<Bytes>> {
        let ring = ring.filter(|_| !self.outbox.is_closed());
        let frame = self.outbox.take().or_else(|| self.lost_lines()).or_else(|| {
            let (list, next) = ring?.list_from(self.next, EVENTS_MAX)?;
            self.next = next;
            Some(frame("events", Some(next), &list))
        });
        self.outbox.moved(now);
        if ring.is_some_and(|ring| self.next < ring.end()) {
            self.outbox.waits(now);
        }
        if frame.is_none() && !self.outbox.is_closed() {
            self.waker = Some(waker.clone());
            return Poll::Pending;
        }
        Poll::Ready(frame)
    }
}

fn logs_frame(lost: u64, mut lines: Vec<Value>) -> Bytes {
    if lost > 0 {
        lines.insert(0, json!({ "lost": lost }));
    }
    frame("logs", None, json!(lines).to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::outbox::WAITING_MAX;
    use super::*;
    use crate::wire::view::LogView;

    #[test]
    fn every_line_that_is_dropped_is_counted_and_told() {
        let path = Path::parse("/a").unwrap();
        let mut page = Page::new("p".into(), 0, Proof::Kernel, Arc::new(Notify::new()));
        page.view.logs.push(path.clone());
        let full = Bytes::from(vec![b'x'; WAITING_MAX]);
        page.outbox.push(Kind::Needed, full.clone(), 0);
        let lines = |count, lost| LogsRead {
            lines: vec![LogView::untimed(path.clone(), "x".into()); count],
            lost,
            ..LogsRead::default()
        };
        // Two, then two and one that was lost on its way here, then none but one that was lost.
        for (count, lost) in [(2, 0), (2, 1), (0, 1)] {
            page.logs(&lines(count, lost), 0);
        }
        let mut take = || match page.take(None, Waker::noop(), 1) {
            Poll::Ready(frame) => frame,
            Poll::Pending => None,
        };
        assert_eq!(take(), Some(full));
        assert_eq!(take(), Some(logs_frame(6, Vec::new())));
        assert_eq!(take(), None);
        page.logs(&lines(1, 0), 2);
        let Poll::Ready(Some(frame)) = page.take(None, Waker::noop(), 2) else { panic!("no line") };
        assert!(!String::from_utf8_lossy(&frame).contains("lost"));
    }
}
