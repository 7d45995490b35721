//! `treevisor events`: what happened, one event a line.

use super::args::{Events, When};
use super::out::{self, Out};
use super::render::{self, Look};
use super::{ExitCode, Failure, ask_failed, find};
use crate::control::Session;
use crate::wire::view::EventView;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::os::fd::AsFd;

/// Paths beyond this do not push the words of all other lines to the right.
const PATH_WIDTH_MAX: usize = 32;

pub(super) fn run(args: Events, when: When) -> Result<ExitCode, Failure> {
    let instance = find(&args.target, "see the events of", &args.path)?;
    let failed = |error| ask_failed("see the events of", &args.path, &instance, error);
    let mut session = Session::connect(&instance.runtime).map_err(failed)?;
    // Without a descriptor to spare the follower still goes, with the next event.
    if let Ok(output) = std::io::stdout().as_fd().try_clone_to_owned() {
        session.ends_with_reader_of(output);
    }
    let mut out = Out::open();
    let look = Look::of_stdout(when);
    let mut path_width = 0;
    let mut failure = None;
    let ended = session.events(&args.path, args.follow, args.timeout, &mut |events, lost| {
        if lost > 0 {
            // On stderr, since a line in between would be no event.
            out::say(when, &format!("{lost} events were lost here: this reader was too slow, or they are too old"));
        }
        let text = if args.json { json_lines(&events) } else { lines(&events, &mut path_width, look) };
        match text.and_then(|text| out.write(&text)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    ended.map_err(failed)?;
    if args.follow {
        out::say(when, &format!("the instance \"{}\" has ended", instance.name));
    }
    Ok(ExitCode::Done)
}

fn lines(events: &[EventView], path_width: &mut usize, look: Look) -> Result<String, Failure> {
    let widest = events.iter().map(|event| event.path.as_str().len()).max().unwrap_or(0);
    *path_width = (*path_width).max(widest).min(PATH_WIDTH_MAX);
    let mut text = String::new();
    for event in events {
        text.push_str(&render::event(event, *path_width, look));
    }
    Ok(text)
}

fn json_lines(events: &[EventView]) -> Result<String, Failure> {
    let mut text = String::new();
    for event in events {
        let line = serde_json::to_string(event)
            .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot write JSON: {error}")))?;
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Path, ReportId};
    use serde_json::{Map, Value};

    fn event(path: &str) -> EventView {
        EventView {
            id: ReportId { node: 1, seq: 1 },
            at: "2026-01-02T03:04:05.678901234Z".into(),
            path: Path::parse(path).unwrap(),
            kind: "ready".into(),
            pid: None,
            incarnation: None,
            cause: None,
            detail: Map::new(),
        }
    }

    #[test]
    fn words_stand_below_each_other() {
        let mut width = 0;
        let mut columns = |events: &[EventView]| -> Vec<usize> {
            let text = lines(events, &mut width, Look::PLAIN).unwrap();
            text.lines().map(|line| line.find("is up").unwrap()).collect()
        };
        assert_eq!(columns(&[event("/"), event("/web/api"), event("/db")]), [36, 36, 36]);
        // What is wider moves those that follow, up to a point.
        let long = format!("/{}", "x".repeat(60));
        assert_eq!(columns(&[event("/db"), event(&long)]), [60, 89]);
        assert_eq!(columns(&[event("/db")]), [60]);
    }

    #[test]
    fn the_json_has_the_keys_that_are_promised() {
        let text = json_lines(&[event("/")]).unwrap();
        assert!(text.ends_with("}\n"));
        let value: Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["at", "cause", "id", "incarnation", "kind", "path", "pid"]);
    }
}
