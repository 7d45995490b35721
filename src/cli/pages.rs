//! Reads the records on a host's disk line by line; the agent of this machine fetches them page by page.

use super::agent;
use super::failure::{ExitCode, Failure};
use crate::ids::ReportId;
use crate::time::Span;
use crate::wire::hosts::{HostReply, HostRequest};
use crate::wire::look::{Kept, Page, RecordCursor};
use crate::wire::view::EventView;
use serde_json::{Map, Value};

/// An iterator over the lines, the oldest first.
pub(super) struct Pages<F> {
    fetch: F,
    /// Where the next page begins.
    next: Option<RecordCursor>,
    /// Received lines that have not been returned yet, the next one last.
    lines: Vec<String>,
    /// The beginning of a line that continues on the next page.
    begun: String,
}

/// The lines of a host's records.
pub(super) fn of_host<'a>(
    doing: &'a str,
    host: &'a str,
    kept: Kept,
    limit: Span,
) -> Pages<impl FnMut(RecordCursor) -> Result<Page, Failure> + 'a> {
    Pages::by(move |from| {
        let ask = HostRequest::Look { host: host.to_owned(), kept: kept.clone(), from };
        match agent::ask(doing, &ask, &[], limit)? {
            HostReply::Page(page) if page.next.is_none_or(|next| next > from) => Ok(page),
            _ => Err(agent::not_understood(doing)),
        }
    })
}

impl<F: FnMut(RecordCursor) -> Result<Page, Failure>> Pages<F> {
    fn by(fetch: F) -> Pages<F> {
        Pages { fetch, next: Some(RecordCursor::default()), lines: Vec::new(), begun: String::new() }
    }
}

impl<F: FnMut(RecordCursor) -> Result<Page, Failure>> Iterator for Pages<F> {
    type Item = Result<Vec<u8>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.lines.pop() {
                return Some(Ok(line.into_bytes()));
            }
            let Some(from) = self.next.take() else {
                let last = std::mem::take(&mut self.begun);
                return (!last.is_empty()).then(|| Ok(last.into_bytes()));
            };
            let Page { text, next } = match (self.fetch)(from) {
                Ok(page) => page,
                Err(failure) => return Some(Err(failure)),
            };
            // A file that ends in the middle of a line was left by a writer that was killed.
            let another = next.is_some_and(|next| next.file != from.file);
            self.next = next;
            self.begun.push_str(&text);
            if another && !self.begun.is_empty() && !self.begun.ends_with('\n') {
                self.begun.push('\n');
            }
            let mut lines: Vec<String> = self.begun.split('\n').map(str::to_owned).collect();
            self.begun = lines.pop().unwrap_or_default();
            lines.retain(|line| !line.is_empty());
            lines.reverse();
            self.lines = lines;
        }
    }
}

/// The `number`-th report of an agent as an event; `None` if it is about another instance.
///
/// # Errors
/// The line cannot be read.
pub(super) fn report(line: &[u8], number: u32, instance: &str) -> serde_json::Result<Option<EventView>> {
    let mut fields: Map<String, Value> = serde_json::from_slice(line)?;
    if fields.remove("instance").is_some_and(|of| of != instance) {
        return Ok(None);
    }
    fields.insert("id".into(), serde_json::to_value(ReportId { node: 0, seq: number })?);
    fields.entry("path").or_insert_with(|| "/".into());
    for key in ["pid", "incarnation", "cause"] {
        fields.insert(key.into(), Value::Null);
    }
    serde_json::from_value(Value::Object(fields)).map(Some)
}

/// The name of the instance, which need not run: the wanted one, or else the only one of the cluster.
pub(super) fn instance(doing: &str, wanted: Option<&str>) -> Result<String, Failure> {
    if let Some(wanted) = wanted {
        return Ok(wanted.to_owned());
    }
    let names: Vec<String> = agent::hosts(doing)?.instances.into_iter().map(|one| one.instance).collect();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(Failure::new(ExitCode::NoInstance, format!("cannot {doing}: the cluster has no instance"))),
        names => {
            let message = format!("cannot {doing}: which instance? The cluster has {}", names.join(", "));
            Err(Failure::new(ExitCode::Usage, message).hint("name one with -i"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(pages: &[(&str, Option<(u64, u64)>)]) -> Vec<String> {
        let mut pages = pages.iter();
        let fetch = move |_| {
            let (text, next) = pages.next().unwrap();
            let next = next.map(|(file, offset)| RecordCursor { file, offset });
            Ok(Page { text: (*text).to_owned(), next })
        };
        Pages::by(fetch).map(|line| String::from_utf8(line.map_err(|_| "it fails").unwrap()).unwrap()).collect()
    }

    #[test]
    fn lines_are_put_together_over_pages_and_not_over_files() {
        assert_eq!(lines(&[("", None)]), Vec::<String>::new());
        assert_eq!(lines(&[("a\nb", Some((0, 3))), ("c\n\nd\n", None)]), ["a", "bc", "d"]);
        assert_eq!(lines(&[("a\ntor", Some((4, 0))), ("b\n", None)]), ["a", "tor", "b"]);
        assert_eq!(lines(&[("a\n", Some((0, 2))), ("", Some((4, 0))), ("b\nto", None)]), ["a", "b", "to"]);
    }

    #[test]
    fn what_an_agent_reports_is_an_event_of_the_instance_or_of_all() {
        let line = |value: Value| value.to_string().into_bytes();
        let at = "2026-01-02T03:04:05.000000000Z";
        let fenced = json!({"at": at, "kind": "fenced", "host": "b", "instance": "shop", "path": "/db", "token": 3, "late_ms": 7});
        let event = report(&line(fenced.clone()), 2, "shop").unwrap().unwrap();
        assert_eq!((event.path.as_str(), event.kind(), event.at.as_str()), ("/db", "fenced", at));
        let shown = serde_json::to_value(&event).unwrap();
        assert_eq!((&shown["host"], &shown["token"], &shown["late_ms"]), (&json!("b"), &json!(3), &json!(7)));
        assert_eq!(report(&line(fenced), 2, "web").unwrap(), None);
        let lost = json!({"at": at, "kind": "store_lost", "host": "b", "age_ms": 3_000});
        let event = report(&line(lost), 3, "shop").unwrap().unwrap();
        assert_eq!((event.path.as_str(), event.pid, event.cause), ("/", None, None));
        assert!(report(b"{\"at\"", 4, "shop").is_err() && report(b"[]", 4, "shop").is_err());
    }
}
