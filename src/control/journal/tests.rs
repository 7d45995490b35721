use super::*;
use crate::wire::view::testing;
use serde_json::json;
use std::io::Write;

fn state() -> (tempfile::TempDir, StateDir) {
    let base = tempfile::tempdir().unwrap();
    let state = StateDir::of(base.path(), &Name::parse("shop").unwrap());
    state.create().unwrap();
    (base, state)
}

fn append(state: &StateDir, number: u64, lines: &[Vec<u8>]) {
    let path = state.segment(number).path;
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(&lines.concat()).unwrap();
}

fn at(minute: u32) -> String {
    format!("2026-01-02T03:{minute:02}:00.000000000Z")
}

fn run(id: &str, minute: u32) -> Vec<u8> {
    let text = || String::new();
    let (at, instance, run) = (at(minute), "shop".into(), id.into());
    Note::Run(RunNote { at, run, instance, version: text(), pid: 1, boot: text(), config: text() }).to_line()
}

fn end(id: &str, minute: u32, killed: bool) -> Vec<u8> {
    Note::End(EndNote { at: at(minute), run: id.into(), killed, code: None, signal: None, text: String::new() })
        .to_line()
}

fn event(seq: u32, path: &str, kind: &str) -> Vec<u8> {
    let event = EventView { at: at(seq), ..testing::event(seq, path, kind, json!({})) };
    let mut line = serde_json::to_vec(&event).unwrap();
    line.push(b'\n');
    line
}

/// The entries in short form, and how many lines were skipped.
fn told(state: &StateDir, filter: &Filter) -> (String, u64) {
    let mut words = Vec::new();
    let summary = read_each(state, filter, &mut |entry| {
        words.push(match entry {
            Entry::Run(run) => format!("run-{}", run.run),
            Entry::Event(event) => event.id.seq.to_string(),
            Entry::Lost { events, .. } => format!("lost-{events}"),
            Entry::End(end) => format!("end-{}", end.run),
        });
        ControlFlow::Continue(())
    });
    (words.join(" "), summary.unwrap().skipped)
}

#[test]
fn lines_from_elsewhere_are_read_as_those_of_files() {
    let (_base, state) = two_runs();
    let files = state.segments().unwrap().into_iter().map(|segment| fs::read(segment.path).unwrap());
    let mut bytes = files.collect::<Vec<_>>().concat();
    bytes.extend(b"{\"torn");
    let lines = || bytes.split(|byte| *byte == b'\n').map(|line| Ok::<_, &str>(line.to_vec()));
    let mut events = 0;
    let filter = Filter { path: Some(Path::parse("/web").unwrap()), ..Filter::default() };
    let summary = read_lines(lines(), &filter, &mut |entry| {
        events += usize::from(matches!(entry, Entry::Event(_)));
        ControlFlow::Continue(())
    });
    assert_eq!((events, summary), (4, Ok(Summary { skipped: 0, path_known: true })));
    let mut failing = lines().take(1).chain([Err("no link")]);
    let read = read_lines(&mut failing, &Filter::default(), &mut |_| ControlFlow::Continue(()));
    assert_eq!(read, Err("no link"));
}

fn two_runs() -> (tempfile::TempDir, StateDir) {
    let (base, state) = state();
    append(&state, 1, &[run("a", 0), event(1, "/web/api", "started"), event(2, "/web/api", "exited")]);
    append(&state, 2, &[run("a", 0), event(3, "/db", "started"), end("a", 4, true)]);
    append(&state, 2, &[run("b", 5), event(6, "/web", "started"), event(7, "/web/api", "started")]);
    (base, state)
}

#[test]
fn all_files_are_read_in_order_and_filtered() {
    let (_base, state) = two_runs();
    let all = Filter::default();
    assert_eq!(told(&state, &all), ("run-a 1 2 3 end-a run-b 6 7".into(), 0));
    let web = Filter { path: Some(Path::parse("/web").unwrap()), kinds: vec!["started".into()], ..Filter::default() };
    assert_eq!(told(&state, &web).0, "run-a 1 end-a run-b 6 7");
    let between = Filter { since: Some(at(2)), until: Some(at(6)), ..Filter::default() };
    assert_eq!(told(&state, &between).0, "run-a 2 3 end-a run-b 6");
    assert_eq!(told(&state, &Filter { runs: Runs::Last, ..Filter::default() }).0, "run-b 6 7");
    assert_eq!(told(&state, &Filter { runs: Runs::Only("a".into()), ..Filter::default() }).0, "run-a 1 2 3 end-a");
    assert_eq!(older(&state, &all, &[]).unwrap().len(), 5);
}

#[test]
fn events_that_the_journal_lacks_stand_in_their_place() {
    let event = |seq| event(seq, "/", "ready");
    let seen = |seq| EventView { at: at(seq), ..testing::event(seq, "/", "ready", json!({})) };
    for (journal, memory, all) in [
        (vec![1, 2, 5, 6], 2..=6, vec![1, 2, 3, 4, 5, 6]),
        // The first event in memory is one of those that are missing.
        (vec![1, 2, 5, 6], 3..=6, vec![1, 2, 3, 4, 5, 6]),
        (vec![1, 2], 4..=6, vec![1, 2, 4, 5, 6]),
        (vec![], 4..=6, vec![4, 5, 6]),
        // The journal was read after the root was asked.
        (vec![1, 2, 3, 4], 2..=3, vec![1, 2, 3]),
    ] {
        let (_base, state) = state();
        append(&state, 1, &[run("a", 0), event(1), run("b", 0)]);
        append(&state, 1, &journal.iter().map(|seq| event(*seq)).collect::<Vec<_>>());
        let filter = Filter { runs: Runs::Only("b".into()), ..Filter::default() };
        let memory: Vec<EventView> = memory.map(seen).collect();
        let read = older(&state, &filter, &memory).unwrap();
        assert_eq!(read.iter().chain(&memory).map(|event| event.id.seq).collect::<Vec<_>>(), all);
    }
}

#[test]
fn what_is_broken_is_passed_over_and_counted() {
    let (_base, state) = two_runs();
    append(
        &state,
        2,
        &[b"{\"id\":\"00000001-8\",\"at\":\"20\n\0\0\0\n".to_vec(), event(9, "/", "ready"), b"{\"id".to_vec()],
    );
    assert_eq!(told(&state, &Filter::default()), ("run-a 1 2 3 end-a run-b 6 7 9".into(), 2));
    // The incomplete line is no longer in the last file, so it is damaged and counted.
    append(&state, 3, &[run("c", 10), Note::Lost { at: at(11), events: 5, why: String::new() }.to_line()]);
    assert_eq!(told(&state, &Filter { runs: Runs::Last, ..Filter::default() }), ("run-c lost-5".into(), 3));
}

#[test]
fn runs_are_known_by_how_they_began_and_ended() {
    let (_base, state) = two_runs();
    let known: Vec<_> = runs(&state).unwrap().into_iter().map(|run| (run.began.run, run.ended)).collect();
    assert!(matches!(&known[..], [(a, Some(EndNote { killed: true, .. })), (b, None)] if a == "a" && b == "b"));
    // The keeper of a run that was killed may be the last one to write.
    append(&state, 2, &[end("b", 8, false), run("c", 9), end("b", 10, true)]);
    assert_eq!(last_run(&state).unwrap().unwrap().run, "c");
    assert!(runs(&state).unwrap()[1].ended.as_ref().is_some_and(|end| end.killed));
}

#[test]
fn a_journal_that_is_not_there_is_empty() {
    let base = tempfile::tempdir().unwrap();
    let state = StateDir::of(base.path(), &Name::parse("shop").unwrap());
    assert_eq!(told(&state, &Filter { runs: Runs::Last, ..Filter::default() }), (String::new(), 0));
    assert!(instances(base.path()).is_empty() && instances(&base.path().join("x")).is_empty());
    state.create().unwrap();
    append(&state, 1, &[run("a", 0)]);
    assert_eq!(instances(base.path())[0].0.as_str(), "shop");
}
