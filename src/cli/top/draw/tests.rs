use super::super::super::render::testing::{UNICODE, shop};
use super::super::keys::Key;
use super::super::state::Input;
use super::*;
use crate::time::{Span as Period, Time};
use crate::wire::view::{EventView, testing};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

/// A tree in which something happens.
fn state() -> State {
    let mut state = State::new(shop(), "2026-01-01T00:00:00.000000000Z".into());
    let event = |seq, path: &str, kind: &str, detail: serde_json::Value| EventView {
        at: format!("2026-01-02T03:04:{seq:02}.678901234Z"),
        pid: Some(4713),
        incarnation: Some(3),
        ..testing::event(seq, path, kind, detail)
    };
    let output = json!({"code": 1, "output": ["reading jobs", "cannot reach \u{1b}[31mdb: Connection refused"]});
    let events = vec![
        event(1, "/web/jobs", "exited", output),
        event(2, "/web/jobs", "restarting", json!({"strategy": "rest-for-one", "used": 2, "max": 5, "delay_ms": 1500})),
        event(3, "/web/api", "started", json!({})),
    ];
    state.update(Time::ZERO, Input::Events { events, lost: 0 });
    for beats in [3, 7, 12] {
        let mut view = shop();
        let crate::wire::view::ChildView::Supervisor(root) = &mut view.root else { panic!() };
        let crate::wire::view::ChildView::Supervisor(web) = &mut root.children[1] else { panic!() };
        let crate::wire::view::ChildView::Worker(api) = &mut web.children[0] else { panic!() };
        api.heartbeat.as_mut().unwrap().beats += beats;
        state.update(Time::ZERO, Input::Status(Box::new(view)));
    }
    state
}

fn screen(state: &mut State, width: u16, height: u16, look: Look) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, look)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
}

fn press(state: &mut State, keys: &str) {
    for c in keys.chars() {
        let key = match c {
            '\n' => Key::Enter,
            '\t' => Key::Tab,
            c => Key::Char(c),
        };
        state.update(Time::ZERO, Input::Key(key));
    }
}

#[test]
fn a_screen_of_80_by_24() {
    insta::assert_snapshot!("80x24", screen(&mut state(), 80, 24, UNICODE));
}

#[test]
fn a_screen_of_200_by_60() {
    insta::assert_snapshot!("200x60", screen(&mut state(), 200, 60, UNICODE));
}

#[test]
fn folded_with_the_last_output_of_what_is_below() {
    let mut state = state();
    press(&mut state, "/web\n \t");
    insta::assert_snapshot!("folded", screen(&mut state, 80, 24, UNICODE));
}

#[test]
fn without_unicode_it_is_ascii() {
    let mut state = state();
    press(&mut state, "/api\n");
    let text = screen(&mut state, 80, 24, Look::PLAIN);
    assert!(text.replace('\u{fffd}', "").is_ascii(), "{text}");
    press(&mut state, "?");
    let text = screen(&mut state, 80, 24, Look::PLAIN);
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn the_help_fits_the_smallest_screen() {
    let mut state = state();
    press(&mut state, "?");
    insta::assert_snapshot!("help", screen(&mut state, 80, 24, UNICODE));
}

#[test]
fn the_last_line_says_what_is_asked_done_and_gone() {
    let mut state = state();
    let last = |state: &mut State| screen(state, 80, 24, UNICODE).lines().last().unwrap().to_owned();
    assert_eq!(last(&mut state), "/  ? help  q quit  l logs  w why  s stop  r restart  p panic  h hold  o sort");
    press(&mut state, "/db");
    assert_eq!(last(&mut state), "/db");
    press(&mut state, "\nh");
    assert_eq!(last(&mut state), "kill all of /db now and leave it down? y: yes, any other key: no");
    press(&mut state, "y");
    state.tick(Time::ZERO + Period::from_secs(3));
    assert_eq!(last(&mut state), "panic --hold /db … 3s");
    state.update(Time::ZERO, Input::Done { number: 1, result: Ok("/db killed and held".into()) });
    assert_eq!(last(&mut state), "/db killed and held");
}

#[test]
fn what_is_selected_is_explained_and_its_output_read_on_the_whole_screen() {
    let mut state = state();
    press(&mut state, "/jobs\nw");
    insta::assert_snapshot!("why", screen(&mut state, 80, 24, UNICODE));
    press(&mut state, "l");
    insta::assert_snapshot!("logs", screen(&mut state, 80, 24, UNICODE));
    press(&mut state, "l");
    assert!(screen(&mut state, 80, 24, UNICODE).contains("TREE"));
}

#[test]
fn the_column_that_is_sorted_by_is_marked_and_stays() {
    let mut state = state();
    for (column, width) in [("TREE▴", 30), ("CPU%▾", 50), ("MEM▾", 50), ("RESTARTS▾", 50), ("BEAT▾", 50)] {
        press(&mut state, "o");
        let text = screen(&mut state, width, 24, UNICODE);
        assert!(text.lines().nth(2).is_some_and(|heads| heads.contains(column)), "{column}:\n{text}");
    }
}

#[test]
fn an_end_and_a_silence_are_told_on_top() {
    let mut state = state();
    let first = |state: &mut State| screen(state, 80, 24, UNICODE).lines().next().unwrap().to_owned();
    state.update(Time::ZERO, Input::Silent("the root does not answer, after 2s".into()));
    assert_eq!(first(&mut state), "shop; the root does not answer, after 2s; what stands below is older");
    state.update(Time::ZERO, Input::Ended);
    assert_eq!(first(&mut state), "shop; the instance has ended; what stands below was its last state");
}

#[test]
fn every_size_can_be_drawn_and_the_selected_row_is_always_there() {
    let mut state = state();
    press(&mut state, "/mail\n");
    for (width, height) in [(1, 1), (3, 2), (20, 4), (40, 9), (80, 15), (80, 17), (119, 24), (120, 24), (300, 100)] {
        let text = screen(&mut state, width, height, UNICODE);
        assert_eq!(text.lines().count(), usize::from(height));
        if width >= 20 && height >= 9 {
            assert!(text.lines().any(|line| line.starts_with("└─ mail")), "{width}x{height}:\n{text}");
        }
    }
}

#[test]
fn no_colour_means_none() {
    let colours = |look| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &mut state(), look)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        buffer.content.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert_eq!(colours(UNICODE), 0);
    assert!(colours(Look { colour: true, ..UNICODE }) > 20);
}
