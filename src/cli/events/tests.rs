use super::*;
use crate::wire::journal::{Note, RunNote};
use crate::wire::view::testing;
use serde_json::{Value, json};
use std::fs;

fn event(path: &str) -> EventView {
    testing::event(1, path, "ready", json!({}))
}

#[test]
fn words_stand_below_each_other() {
    let mut shown = render::Events::default();
    let mut columns = |events: &[EventView]| -> Vec<usize> {
        let text = lines(events, &mut shown, Look::PLAIN);
        text.lines().map(|line| line.find("is ready").unwrap()).collect()
    };
    assert_eq!(columns(&[event("/"), event("/web/api"), event("/db")]), [36, 36, 36]);
    // Wider paths move the following columns, up to a limit.
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

#[test]
fn a_journal_without_the_present_run_is_none() {
    let base = tempfile::tempdir().unwrap();
    let state = StateDir::of(base.path(), &Name::parse("shop").unwrap());
    assert!(!has_run(&state, "b"));
    // With `--detach` the directory is there although no journal is kept.
    state.create().unwrap();
    assert!(!has_run(&state, "b"));
    let run = |id: &str| {
        let text = String::new;
        let (at, instance, run) = (text(), text(), id.into());
        Note::Run(RunNote { at, run, instance, version: text(), pid: 1, boot: text(), config: text() }).to_line()
    };
    fs::write(state.segment(1).path, run("a")).unwrap();
    assert!(!has_run(&state, "b"));
    fs::write(state.segment(2).path, run("b")).unwrap();
    assert!(has_run(&state, "b"));
}
