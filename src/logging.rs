//! The log of a node: what treevisor itself reports, on standard error.
//!
//! One line a record: time (UTC), level, message, keys; or the same as a JSON object. Records go into a bounded buffer
//! which the loop empties as far as the reader takes it; what does not fit is dropped and counted, so that a log never
//! holds up supervision. An error is written at once, since the process may not live to the end of the turn.
//!
//! Nothing that is written into a message or a value can break the line or reach the terminal as a command.

mod journald;
mod live;

pub(crate) use crate::logs::Format;

use self::journald::{ToJournald, priority_of};
use self::live::OnTerminal;
use crate::logs::Unreported;
use crate::logs::journald::reads;
use crate::logs::live::Live;
use crate::logs::outlet::Outlet;
use crate::os::clock;
use crate::text;
use crate::time::Span;
use anstyle::Style;
use serde_json::json;
use slog::{Drain, FnValue, Level, LevelFilter, Logger, Never, OwnedKVList, PushFnValue, Record, o};
use slog_json::Json;
use slog_term::{Decorator, FullFormat, RecordDecorator};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// So much is kept for a reader that is slow.
pub(crate) const CAPACITY: usize = 64 * 1024;

/// The names of the levels, the gravest first.
const LEVELS: [(&str, Level); 6] = [
    ("critical", Level::Critical),
    ("error", Level::Error),
    ("warn", Level::Warning),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];

/// The logger of a node on standard error, and the handle by which its loop empties the buffer. Records graver than or
/// as grave as `level` are written.
/// `instance` is what entries of systemd's journal name.
pub(crate) fn root(level: Level, format: Format, instance: &str) -> (Logger, LogHandle) {
    if format == Format::Journald {
        let to = ToJournald::new(instance);
        let handle =
            LogHandle { outlet: Arc::new(Mutex::new(Outlet::nowhere())), live: None, journald: Some(to.clone()) };
        return (Logger::root(LevelFilter::new(to, level).ignore_res(), o!()), handle);
    }
    let stderr = std::io::stderr();
    on(stderr.as_fd(), level, format, reads(stderr.as_fd()))
}

/// The same on any descriptor.
#[cfg(test)]
pub(crate) fn root_on(fd: BorrowedFd<'_>, level: Level, format: impl Into<Format>) -> (Logger, LogHandle) {
    on(fd, level, format.into(), false)
}

/// The same on any descriptor; into the void if that cannot be used.
fn on(fd: BorrowedFd<'_>, level: Level, format: Format, journal: bool) -> (Logger, LogHandle) {
    let outlet = Outlet::open(fd, CAPACITY, "the log").unwrap_or_else(|_| Outlet::nowhere());
    let outlet = Arc::new(Mutex::new(outlet.in_json(format == Format::Json)));
    let mut handle = LogHandle { outlet, live: None, journald: None };
    if let Format::Live { colour, column } = format {
        let live = Live { colour, column: column.into() };
        let live = OnTerminal::new(Arc::clone(&handle.outlet), live, level);
        handle.live = Some(live.clone());
        return (Logger::root(live, o!()), handle);
    }
    if format == Format::Json {
        let objects = Objects::new(Arc::clone(&handle.outlet));
        return (Logger::root(LevelFilter::new(objects, level).ignore_res(), o!()), handle);
    }
    let lines = OneLine { outlet: Arc::clone(&handle.outlet), colour: format == Format::Coloured, journal };
    let timestamp = if journal { no_timestamp } else { timestamp };
    let format = FullFormat::new(lines).use_original_order().use_custom_timestamp(timestamp).build();
    let drain = LevelFilter::new(Mutex::new(format), level).ignore_res();
    (Logger::root(drain, o!()), handle)
}

/// What a process reports that has no log yet: a line of the given kind.
pub(crate) fn complaint(format: Format, text: &str) -> String {
    match format {
        Format::Plain | Format::Coloured | Format::Live { .. } | Format::Journald => format!("treevisor: {text}"),
        Format::Json => json!({ "at": clock::rfc3339_now(), "level": "error", "message": text }).to_string(),
    }
}

/// The journal has a time of its own.
fn no_timestamp(_: &mut dyn Write) -> io::Result<()> {
    Ok(())
}

fn timestamp(to: &mut dyn Write) -> io::Result<()> {
    slog_term::timestamp_utc(to)?;
    to.write_all(b"Z")
}

/// The loop's end of the log.
#[derive(Debug, Clone)]
pub(crate) struct LogHandle {
    outlet: Arc<Mutex<Outlet>>,
    live: Option<OnTerminal>,
    journald: Option<ToJournald>,
}

impl LogHandle {
    /// Whether the log is the foreground's on a terminal, which shows events by [`happened`](Self::happened).
    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Shows what has happened to the part of the tree at `path`, in the foreground on a terminal.
    pub(crate) fn happened(&self, level: Level, path: &str, style: Style, words: &str) {
        if let Some(live) = &self.live {
            live.write(level, path, style, words);
        }
    }

    /// Whether the log goes to systemd's journal, which gets events by [`send_entry`](Self::send_entry).
    pub(crate) fn is_to_journald(&self) -> bool {
        self.journald.is_some()
    }

    /// Sends an entry with these fields, where the log goes to systemd's journal.
    pub(crate) fn send_entry<'a>(
        &self,
        level: Level,
        message: &str,
        fields: impl IntoIterator<Item = (&'static str, &'a str)>,
    ) {
        if let Some(journald) = &self.journald {
            journald.send(level, message, fields);
        }
    }

    /// Writes what can be written without waiting. Returns whether something is left for later.
    pub(crate) fn flush(&self) -> bool {
        Outlet::locked(&self.outlet).flush()
    }

    /// Waits until all is written, for no longer than `limit`. Whether it is.
    pub(crate) fn settle(&self, limit: Span) -> bool {
        Outlet::locked(&self.outlet).settle(limit)
    }

    /// Waits until all is written, for no longer than `limit`. For processes that end.
    pub(crate) fn finish(&self, limit: Span) {
        Outlet::locked(&self.outlet).finish(limit);
    }

    /// The lines that were lost and that no notice reports yet; see [`Outlet::unreported`].
    pub(crate) fn unreported(&self) -> Unreported {
        Outlet::locked(&self.outlet).unreported()
    }

    /// Goes on after the image before; see [`Outlet::take_over`].
    pub(crate) fn take_over(&self, before: Unreported) {
        Outlet::locked(&self.outlet).take_over(before);
    }

    /// Writes a line as it is, behind all that was logged.
    pub(crate) fn say(&self, line: impl fmt::Display) {
        if self.is_to_journald() {
            return self.send_entry(Level::Error, &line.to_string(), []);
        }
        let mut outlet = Outlet::locked(&self.outlet);
        outlet.push(format!("{}\n", text::page(&line.to_string())).as_bytes());
        outlet.flush();
    }

    /// Whether lines wait to be written.
    #[cfg(test)]
    pub(crate) fn wants_write(&self) -> bool {
        Outlet::locked(&self.outlet).wants_write()
    }

    /// What to watch for becoming writable; `None` where waiting is of no use.
    #[cfg(test)]
    pub(crate) fn fd(&self) -> Option<std::os::fd::RawFd> {
        Outlet::locked(&self.outlet).fd()
    }

    /// Lines that were lost because the reader was too slow.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> crate::logs::Lost {
        Outlet::locked(&self.outlet).lost()
    }
}

/// One record as one JSON object in one line: `at`, `level`, `message`, and the keys.
struct Objects {
    json: Mutex<Json<RecordWriter>>,
    outlet: Arc<Mutex<Outlet>>,
}

impl Objects {
    fn new(outlet: Arc<Mutex<Outlet>>) -> Objects {
        let line = RecordWriter { bytes: Vec::new(), outlet: Arc::clone(&outlet) };
        // slog writes the last one first.
        let keys = o!(
            "message" => PushFnValue(|record: &Record<'_>, to| to.emit(record.msg())),
            "level" => FnValue(|record| level_name(record.level())),
            "at" => FnValue(|_| clock::rfc3339_now()),
        );
        // The flush at the end of a record is what makes a line of it.
        let json = Json::new(line).set_newlines(false).set_flush(true).add_key_value(keys).build();
        Objects { json: Mutex::new(json), outlet }
    }
}

impl Drain for Objects {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        // Half a record is left out; a value that cannot be written as JSON is no reason to fail.
        let _ = self.json.lock().unwrap_or_else(PoisonError::into_inner).log(record, values);
        if record.level().is_at_least(Level::Error) {
            Outlet::locked(&self.outlet).flush();
        }
        Ok(())
    }
}

fn level_name(level: Level) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("info", |(name, _)| name)
}

/// The bytes of one record.
struct RecordWriter {
    bytes: Vec<u8>,
    outlet: Arc<Mutex<Outlet>>,
}

impl Write for RecordWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut line = String::with_capacity(self.bytes.len() + 1);
        text::write_json(&String::from_utf8_lossy(&self.bytes), &mut line);
        line.push('\n');
        self.bytes.clear();
        Outlet::locked(&self.outlet).push(line.as_bytes());
        Ok(())
    }
}

/// Lays out one record as one line.
#[derive(Debug)]
struct OneLine {
    outlet: Arc<Mutex<Outlet>>,
    colour: bool,
    /// With the priority in front, as sd-daemon(3) has it, which the journal takes off.
    journal: bool,
}

impl Decorator for OneLine {
    fn with_record<F>(&self, record: &Record<'_>, _: &OwnedKVList, write: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let mut line = Layout { text: String::with_capacity(160), level: record.level(), colour: self.colour };
        write(&mut line)?;
        line.text.truncate(line.text.trim_end().len());
        line.style("\x1b[0m");
        line.text.push('\n');
        if self.journal {
            line.text = format!("<{}>{}", priority_of(record.level()), line.text.trim_start());
        }
        let mut outlet = Outlet::locked(&self.outlet);
        outlet.push(line.text.as_bytes());
        if record.level().is_at_least(Level::Error) {
            outlet.flush();
        }
        Ok(())
    }
}

struct Layout {
    text: String,
    level: Level,
    colour: bool,
}

impl Layout {
    fn style(&mut self, sequence: &str) {
        if self.colour {
            self.text.push_str(sequence);
        }
    }
}

impl Write for Layout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The newline at the end of a record comes alone; it is set by `with_record`.
        if bytes != b"\n" {
            text::write_printable(bytes, &mut self.text);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for Layout {
    fn reset(&mut self) -> io::Result<()> {
        self.style("\x1b[0m");
        Ok(())
    }

    fn start_timestamp(&mut self) -> io::Result<()> {
        self.style("\x1b[2m");
        Ok(())
    }

    fn start_whitespace(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn start_level(&mut self) -> io::Result<()> {
        self.style(match self.level {
            Level::Critical | Level::Error => "\x1b[0;1;31m",
            Level::Warning => "\x1b[0;35m",
            Level::Info => "\x1b[0;32m",
            Level::Debug | Level::Trace => "\x1b[0;36m",
        });
        Ok(())
    }

    fn start_comma(&mut self) -> io::Result<()> {
        self.style("\x1b[0;2m");
        Ok(())
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.style("\x1b[0;2m");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slog::{debug, error, info};
    use std::io::Read;

    fn logged(colour: bool, write: impl FnOnce(&Logger)) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let (plain, handle) = root_on(writer.as_fd(), Level::Info, colour);
        let logger = plain.new(o!("node" => "/web"));
        write(&logger);
        assert!(!handle.flush());
        drop((logger, plain, handle, writer));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_record_is_one_line_with_its_keys_in_order() {
        let text = logged(false, |logger| {
            info!(logger, "child exited"; "path" => "/web/api", "code" => 3);
            debug!(logger, "not asked for");
        });
        let (time, rest) = text.split_once("Z ").unwrap();
        assert_eq!(rest, "INFO child exited, node: /web, path: /web/api, code: 3\n", "{time}");
    }

    #[test]
    fn the_journal_gets_the_priority_and_no_second_time() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (logger, handle) = on(writer.as_fd(), Level::Info, Format::Plain, true);
        slog::warn!(logger, "late"; "path" => "/a");
        info!(logger, "up");
        handle.flush();
        drop((logger, handle, writer));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "<4>WARN late, path: /a\n<6>INFO up\n");
    }

    #[test]
    fn nothing_breaks_the_line_or_paints_the_terminal() {
        let text = logged(false, |logger| {
            info!(logger, "{}", "a\nb\x1b[2J"; "error" => "x\r\ny\x07", "bidi" => "\u{202e}");
        });
        assert_eq!(text.lines().count(), 1);
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
        assert!(text.contains("a\\nb\\x1b[2J"), "{text:?}");
    }

    #[test]
    fn a_record_is_an_object_with_its_keys() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (plain, handle) = root_on(writer.as_fd(), Level::Info, Format::Json);
        let logger = plain.new(o!("node" => "/web"));
        info!(logger, "child {}", "exited"; "code" => 3, "odd" => "a\n\u{1b}[2J\u{9b}\u{202e}");
        debug!(logger, "not asked for");
        assert!(!handle.flush());
        drop((logger, plain, handle, writer));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().chars().any(char::is_control) && !text.contains('\u{202e}'), "{text:?}");
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&object["level"], &object["message"]), (&json!("info"), &json!("child exited")));
        assert_eq!((&object["node"], &object["code"]), (&json!("/web"), &json!(3)));
        assert_eq!(object["odd"], "a\n\u{1b}[2J\u{9b}\u{202e}");
        assert!(object["at"].as_str().is_some_and(|at| at.ends_with('Z')));
    }

    #[test]
    fn what_is_lost_of_a_log_in_json_is_told_in_json() {
        let (reader, writer) = io::pipe().unwrap();
        let (logger, handle) = root_on(writer.as_fd(), Level::Info, Format::Json);
        for n in 0..5_000 {
            info!(logger, "a line of some length that no process reads"; "n" => n);
            handle.flush();
        }
        drop((logger, writer));
        let mut lost = 0;
        for line in io::BufRead::lines(io::BufReader::new(&reader)).take(2_000).map_while(Result::ok) {
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            lost += object["lines"].as_u64().unwrap_or(0);
            handle.flush();
            if lost > 0 {
                return;
            }
        }
        panic!("no report of {:?}", handle.lost());
    }

    #[test]
    fn colours_end_where_the_line_ends() {
        let text = logged(true, |logger| error!(logger, "gave up"; "path" => "/"));
        assert!(text.contains("\x1b[0;1;31mERRO"), "{text:?}");
        assert!(text.ends_with("\x1b[0m\n"), "{text:?}");
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time() {
        let (reader, writer) = io::pipe().unwrap();
        let (logger, handle) = root_on(writer.as_fd(), Level::Info, false);
        for n in 0..5_000 {
            info!(logger, "a line of some length that no process reads"; "n" => n);
            handle.flush();
        }
        assert!(handle.wants_write() && handle.fd().is_some());
        assert!(handle.lost().lines > 1_000, "{:?}", handle.lost());
        drop(reader);
        assert!(!handle.flush(), "after EPIPE it is silent");
        info!(logger, "without a reader");
        assert!(!handle.wants_write());
    }
}
