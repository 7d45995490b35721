//! The state that all pages share: the tree, its events, and the frames that each page still has to be sent. It has no
//! descriptor and no clock.
//!
//! Threads that ask the root put in what they receive, and the connections of pages take out their frames. Nothing
//! waits for a page. The root has one follower and one request at a time, however many pages are open.

use super::keys::{Access, Proof};
use super::outbox::{Kind, Pushed, WAITING_MAX, frame};
use super::page::{Page, StreamRequest, View};
use super::reading::Reading;
use super::ring::Ring;
use super::schedule::{Question, Schedule};
use super::table::{Table, TableChange};
use crate::control::logs::LogsRead;
use crate::control::session::EventsRead;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::view::StatusView;
use axum::body::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Poll, Waker};
use tokio::sync::Notify;

/// A root that has sent nothing for this long counts as not answering.
pub(super) const SILENCE: Span = Span::from_secs(2);

/// Most pages at a time.
pub(super) const PAGES: usize = 64;

/// Most paths whose output is followed for all pages together.
const READ: usize = 64;

/// How long changes of rows are gathered, in milliseconds.
const GATHER_MS: u64 = 50;

/// How often pages are sent a sign of life, in milliseconds; a page that gets none takes the stream for broken.
const TICK_MS: u64 = 15_000;

/// How long the root is still followed after the last page was closed, so that a page that reconnects misses nothing.
const LINGER_MS: u64 = 10_000;

/// A page that has taken nothing for this long while many events wait is slow: it has to fetch the tree anew.
const SLOW_MS: u64 = 1_000;

/// Stands for the number of the next event while that is not known: earlier events are not wanted.
const FROM_NOW_ON: u64 = u64::MAX;

/// The state of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Here,
    /// The root runs and does not answer.
    Silent,
    Gone,
}

impl Root {
    fn word(self) -> &'static str {
        match self {
            Root::Here => "here",
            Root::Silent => "silent",
            Root::Gone => "gone",
        }
    }
}

/// What is to be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    /// The generation of the run, and the number of the first event that is needed; without a number, all events that
    /// the root has in memory.
    pub(super) follow: Option<(u64, Option<u64>)>,
    /// The paths whose output is needed.
    pub(super) logs: BTreeSet<Path>,
}

pub(super) struct Hub {
    instance: String,
    run: String,
    /// The number of the run, counted by this console.
    generation: u64,
    root: Root,
    /// When the root last sent something.
    told_at: u64,
    /// Since when the root does not answer.
    silent_since: u64,
    ring: Ring,
    /// Whether the number of the first event is known.
    numbered: bool,
    caught_up: bool,
    table: Table,
    schedule: Schedule,
    used_at: u64,
    dirty_since: Option<u64>,
    ticked_at: u64,
    reading: Reading,
    pages: Vec<Page>,
}

impl Hub {
    pub(super) fn new() -> Hub {
        Hub {
            instance: String::new(),
            run: String::new(),
            generation: 0,
            root: Root::Gone,
            told_at: 0,
            silent_since: 0,
            ring: Ring::default(),
            numbered: false,
            caught_up: false,
            table: Table::default(),
            schedule: Schedule::default(),
            used_at: 0,
            dirty_since: None,
            ticked_at: 0,
            reading: Reading::default(),
            pages: Vec::new(),
        }
    }

    pub(super) fn root(&self) -> Root {
        self.root
    }

    /// How long the root has been silent, if it runs and does not answer.
    pub(super) fn silent(&self, now: u64) -> Option<Span> {
        (self.root == Root::Silent).then(|| Span::from_millis(now.saturating_sub(self.silent_since)))
    }

    /// How many pages are open.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    // Input from the threads that ask the root.

    /// The root of a run is running.
    pub(super) fn here(&mut self, instance: &str, run: &str, now: u64) {
        if self.run != run {
            self.generation += 1;
            (self.instance, self.run) = (instance.to_owned(), run.to_owned());
            self.ring = Ring::default();
            self.table.clear();
            self.schedule = Schedule::default();
            (self.numbered, self.caught_up) = (false, false);
            self.become_(Root::Here, now);
            (0..self.pages.len()).for_each(|at| self.lose(at, 0, now));
        } else if self.root == Root::Gone {
            self.become_(Root::Here, now);
        }
    }

    /// The root does not answer, or is gone. The known state is kept.
    pub(super) fn is_not(&mut self, root: Root, now: u64) {
        if self.root != root && (self.root == Root::Here || root == Root::Gone) {
            // At most `SILENCE` of the time before counts as silence: until it was asked, the root had no reason to
            // send anything.
            self.silent_since = self.told_at.max(now.saturating_sub(SILENCE.as_millis()));
            self.become_(root, now);
        }
    }

    fn become_(&mut self, root: Root, now: u64) {
        self.root = root;
        self.each(Kind::Needed, &self.root_frame(), now);
    }

    fn root_frame(&self) -> Bytes {
        frame("root", None, json!({ "is": self.root.word(), "run": self.run }).to_string().as_bytes())
    }

    /// No follower is left, so the known state becomes outdated.
    pub(super) fn follows_no_more(&mut self) {
        self.caught_up = false;
        self.schedule.forget();
    }

    /// Takes in events that a follower of that run has received.
    pub(super) fn events(&mut self, generation: u64, read: &EventsRead, now: u64) {
        if generation != self.generation {
            return;
        }
        let first = read.next.saturating_sub(read.events.len() as u64);
        if !self.numbered {
            self.numbered = true;
            self.ring = Ring::at(first);
            self.table.skip(first);
        }
        let missing = first.saturating_sub(self.ring.end());
        if missing > 0 {
            self.ring.skip(missing);
            self.table.skip(missing);
            self.schedule.missed(now);
        }
        let known = usize::try_from(self.ring.end().saturating_sub(first)).unwrap_or(usize::MAX);
        let mut other = false;
        for event in read.events.iter().skip(known) {
            // Texts and numbers can always be serialised.
            self.ring.push(serde_json::to_vec(event).unwrap_or_else(|_| b"null".to_vec()));
            other |= self.table.event(event, now);
        }
        if other {
            self.schedule.changed(now);
        }
        if read.caught_up && !self.caught_up {
            self.caught_up = true;
            self.schedule.missed(now);
            let end = self.ring.end();
            self.pages.iter_mut().filter(|page| page.next == FROM_NOW_ON).for_each(|page| page.next = end);
        }
        self.dirty_since.get_or_insert(now);
        self.answered(now);
        for at in 0..self.pages.len() {
            let page = &mut self.pages[at];
            if page.next < self.ring.end() {
                page.outbox.waits(now);
                let waits = self.ring.bytes_from(page.next.max(self.ring.first()));
                if waits > WAITING_MAX as u64 && page.outbox.stuck_ms(now) > SLOW_MS {
                    self.lose(at, self.ring.end() - self.pages[at].next, now);
                }
            }
            self.pages[at].wake();
        }
    }

    /// Notes that the root has sent something.
    pub(super) fn answered(&mut self, now: u64) {
        self.told_at = now;
        if self.root == Root::Silent {
            self.become_(Root::Here, now);
        }
    }

    /// Takes in the answer to a question.
    pub(super) fn answer(&mut self, question: &Question, status: &StatusView, now: u64) {
        self.answered(now);
        self.dirty_since.get_or_insert(now);
        self.schedule.answered(question, now);
        if question.whole {
            let first = self.table.is_empty();
            if self.table.whole(status, question.next, now) == TableChange::Other && !first {
                // The stream of events is not interrupted.
                self.pages.iter_mut().for_each(|page| page.outbox.drop_rows());
                self.each(Kind::Needed, &frame("lost", None, b"{\"count\":0}"), now);
            }
        } else if self.table.part(&status.root, question.next, now) {
            self.schedule.changed(now);
        }
        for page in &mut self.pages {
            let rows = page.view.rows().filter(|path| question.whole || question.has(path));
            let numbers: Vec<Value> = rows.filter_map(|path| self.table.numbers(path)).collect();
            if !numbers.is_empty() {
                let numbers = frame("numbers", None, json!(numbers).to_string().as_bytes());
                page.outbox.push(Kind::Numbers, numbers, now);
                page.wake();
            }
        }
    }

    /// Begins with another reader of output, or with none; lines that the previous reader still delivers are ignored.
    /// Returns the reader's number.
    pub(super) fn reads_anew(&mut self) -> u64 {
        self.reading.begin()
    }

    /// From now on that reader delivers all output of these paths.
    pub(super) fn reads(&mut self, number: u64, paths: &BTreeSet<Path>, now: u64) {
        if self.reading.is(number) {
            self.reading.reads(paths);
            (0..self.pages.len()).for_each(|at| self.tell_reading(at, now));
        }
    }

    fn tell_reading(&mut self, at: usize, now: u64) {
        if self.reading.covers(self.pages[at].view.reads_in(&self.table)) {
            self.push(at, Kind::Needed, frame("reading", None, b"{}"), now);
        }
    }

    /// Takes in lines of output from the reader with this number.
    pub(super) fn logs(&mut self, number: u64, told: &LogsRead, now: u64) {
        if self.reading.is(number) {
            self.pages.iter_mut().for_each(|page| page.logs(told, now));
        }
    }

    /// Takes in the progress or result of an action.
    pub(super) fn action(&mut self, action: &Value, now: u64) {
        self.each(Kind::Needed, &frame("action", None, action.to_string().as_bytes()), now);
    }

    // Output to the pages.

    /// Opens the stream of a page; `None` if there are too many.
    pub(super) fn open(
        &mut self,
        id: String,
        may: Access,
        request: &StreamRequest,
        close: Arc<Notify>,
        now: u64,
    ) -> Option<()> {
        if self.pages.len() >= PAGES {
            return None;
        }
        self.used_at = now;
        self.send_changes(now);
        let mut page = Page::new(id, self.end_of_events(), request.proof.clone(), close);
        let hello = json!({ "stream": page.id, "may": may, "instance": self.instance, "run": self.run });
        page.outbox.push(Kind::Needed, frame("hello", None, hello.to_string().as_bytes()), now);
        page.outbox.push(Kind::Needed, self.root_frame(), now);
        let (at, end) = (self.pages.len(), page.next);
        self.pages.push(page);
        let same_run = request.run.as_ref().is_none_or(|run| *run == self.run);
        match request.from {
            Some(from) if same_run && self.numbered && self.ring.reaches(from) && self.table.has_rows_of(from) => {
                self.pages[at].next = from;
                let rows = self.table.since(from, now);
                if !rows.is_empty() {
                    self.push(at, Kind::Rows, rows_frame(&rows), now);
                }
            }
            Some(from) => self.lose(at, if same_run && end != FROM_NOW_ON { end.saturating_sub(from) } else { 0 }, now),
            None => {}
        }
        Some(())
    }

    /// Removes a page whose connection is gone.
    pub(super) fn close(&mut self, id: &str, now: u64) {
        self.pages.retain(|page| page.id != id);
        self.used_at = now;
    }

    /// Ends the streams of pages whose proof is no longer accepted.
    pub(super) fn end_unless(&mut self, may: impl Fn(&Proof) -> bool) {
        self.pages.iter_mut().filter(|page| !may(&page.proof)).for_each(Page::cut_off);
    }

    /// Sets what a page shows; false if there is no such page.
    pub(super) fn show(&mut self, id: &str, view: View, now: u64) -> bool {
        let Some(at) = self.pages.iter().position(|page| page.id == id) else { return false };
        let before = std::mem::replace(&mut self.pages[at].view, view);
        if !before.reads().eq(self.pages[at].view.reads()) {
            self.tell_reading(at, now);
        }
        true
    }

    /// The next frame for a page; `None` at the end of the stream. While there is none, `waker` is kept to be woken for
    /// the next.
    pub(super) fn next_frame(&mut self, id: &str, waker: &Waker, now: u64) -> Poll<Option<Bytes>> {
        let Some(at) = self.pages.iter().position(|page| page.id == id) else { return Poll::Ready(None) };
        if self.pages[at].next < self.ring.first() && self.numbered {
            self.lose(at, self.ring.first() - self.pages[at].next, now);
        }
        self.pages[at].take(self.numbered.then_some(&self.ring), waker, now)
    }

    /// Ends all streams, with a last frame that reports the root as gone, because the console exits.
    pub(super) fn end(&mut self, now: u64) {
        self.root = Root::Gone;
        let last = self.root_frame();
        for page in &mut self.pages {
            page.outbox.push(Kind::Needed, last.clone(), now);
            page.end();
        }
    }

    /// Does what is due by time alone; `wall` is the moment for the pages. Returns the milliseconds until more is due.
    pub(super) fn tick(&mut self, now: u64, wall: impl FnOnce() -> String) -> u64 {
        if self.dirty_since.is_some_and(|since| now >= since + GATHER_MS) {
            self.send_changes(now);
        }
        if now >= self.ticked_at + TICK_MS {
            self.ticked_at = now;
            self.each(Kind::Needed, &frame("tick", None, json!({ "at": wall() }).to_string().as_bytes()), now);
        }
        self.pages.iter().for_each(|page| page.close_if_stuck(now));
        let flush = self.dirty_since.map_or(u64::MAX, |since| since + GATHER_MS);
        flush.min(self.ticked_at + TICK_MS).min(now + 1_000).saturating_sub(now).max(1)
    }

    /// Sends pages the rows that have changed. Done before rows are given out otherwise, as a change that is taken back
    /// before it is sent is not sent at all.
    fn send_changes(&mut self, now: u64) {
        self.dirty_since = None;
        let rows = self.table.changes(now);
        // A page that has not fetched the tree yet gets these rows with it.
        if !rows.is_empty() {
            self.each(Kind::Rows, &rows_frame(&rows), now);
        }
    }

    // Needs towards the root.

    /// Notes that a request needs the present tree.
    pub(super) fn uses(&mut self, now: u64) {
        self.used_at = now;
    }

    /// Whether nothing needs to be asked.
    pub(super) fn is_idle(&self, now: u64) -> bool {
        self.root == Root::Gone || !self.is_used(now)
    }

    fn is_used(&self, now: u64) -> bool {
        !self.pages.is_empty() || (self.used_at > 0 && now < self.used_at + LINGER_MS)
    }

    /// The whole tree, if its present state is known.
    pub(super) fn tree(&mut self, at: &str, now: u64) -> Option<Value> {
        let known = self.caught_up && self.schedule.has_whole();
        known.then(|| {
            self.send_changes(now);
            let mut tree = self.table.columns(&self.run, at, now);
            tree["root"] = json!(self.root.word());
            if let Some(silent) = self.silent(now) {
                tree["silent_ms"] = json!(silent.as_millis());
            }
            tree
        })
    }

    /// Whether all events are known that the root has in memory.
    pub(super) fn is_caught_up(&self) -> bool {
        self.caught_up
    }

    /// The events that are kept, and how many of the run came before them; `None` while events that the root has in
    /// memory are still missing.
    pub(super) fn events_kept(&self) -> Option<(Vec<Vec<u8>>, u64)> {
        self.caught_up.then(|| (self.ring.all().map(<[u8]>::to_vec).collect(), self.ring.first()))
    }

    /// The run that is shown; empty before the first one.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// The events and output to be followed now.
    pub(super) fn needs(&self, now: u64) -> Needs {
        if self.root == Root::Gone || !self.is_used(now) {
            return Needs { follow: None, logs: BTreeSet::new() };
        }
        // A path that several pages need, or one page twice, counts once.
        let logs: BTreeSet<&Path> = self.pages.iter().flat_map(|page| page.view.reads_in(&self.table)).collect();
        let logs = logs.into_iter().take(READ).cloned().collect();
        Needs { follow: Some((self.generation, self.numbered.then(|| self.ring.end()))), logs }
    }

    /// The next question, if one is due.
    pub(super) fn question(&mut self, now: u64) -> Option<Question> {
        if self.is_idle(now) || !self.caught_up {
            return None;
        }
        let in_view = self.table.supervisors_of(self.pages.iter().flat_map(|page| page.view.rows()));
        self.schedule.question(self.table.next(), self.root == Root::Silent, in_view, now)
    }

    // Pages.

    /// Number of the next event; unknown while earlier events are still arriving.
    fn end_of_events(&self) -> u64 {
        if self.numbered && self.caught_up { self.ring.end() } else { FROM_NOW_ON }
    }

    fn each(&mut self, kind: Kind, frame: &Bytes, now: u64) {
        (0..self.pages.len()).for_each(|at| self.push(at, kind, frame.clone(), now));
    }

    fn push(&mut self, at: usize, kind: Kind, frame: Bytes, now: u64) {
        if self.pages[at].outbox.push(kind, frame, now) == Pushed::Lost {
            self.lose(at, self.ring.end().saturating_sub(self.pages[at].next), now);
        }
        self.pages[at].wake();
    }

    /// Tells a page to fetch the tree anew; it is sent the events from now on.
    fn lose(&mut self, at: usize, count: u64, now: u64) {
        let (end, page) = (self.end_of_events(), &mut self.pages[at]);
        page.next = end;
        page.outbox.drop_rows();
        let lost = frame("lost", (end != FROM_NOW_ON).then_some(end), json!({ "count": count }).to_string().as_bytes());
        page.outbox.push(Kind::Needed, lost, now);
        page.wake();
    }
}

fn rows_frame(rows: &[Value]) -> Bytes {
    frame("rows", None, json!(rows).to_string().as_bytes())
}

#[cfg(test)]
mod tests;
