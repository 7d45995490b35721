use super::super::super::render::testing::shop;
use super::*;
use crate::wire::view::testing;
use serde_json::json;

fn state() -> State {
    State::new(shop(), "2026-01-01T00:00:00.000000000Z".into())
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// Types keys: words are the names of keys, everything else its characters.
fn press(state: &mut State, keys: &[&str]) -> Option<Effect> {
    let mut wish = None;
    let now = state.now;
    for key in keys {
        let named = match *key {
            "up" => Some(Key::Up),
            "down" => Some(Key::Down),
            "left" => Some(Key::Left),
            "right" => Some(Key::Right),
            "home" => Some(Key::Home),
            "end" => Some(Key::End),
            "page down" => Some(Key::PageDown),
            "enter" => Some(Key::Enter),
            "esc" => Some(Key::Escape),
            "back" => Some(Key::Backspace),
            "tab" => Some(Key::Tab),
            "ctrl-c" => Some(Key::Interrupt),
            _ => None,
        };
        let keys = named.map_or_else(|| key.chars().map(Key::Char).collect(), |key| vec![key]);
        for key in keys {
            wish = state.update(now, Input::Key(key));
        }
    }
    wish
}

fn selected(state: &mut State, keys: &[&str]) -> String {
    press(state, keys);
    state.selected.to_string()
}

fn shown(state: &State) -> Vec<&str> {
    state.rows().iter().map(|row| row.view.name()).collect()
}

fn event(seq: u32, at: &str, path: &str, kind: &str, detail: serde_json::Value) -> EventView {
    EventView { at: at.into(), ..testing::event(seq, path, kind, detail) }
}

#[test]
fn the_selection_goes_along_the_rows_and_stays_within() {
    let mut state = state();
    assert_eq!(selected(&mut state, &["up"]), "/");
    assert_eq!(selected(&mut state, &["down", "j"]), "/web");
    assert_eq!(selected(&mut state, &["end", "down"]), "/mail");
    assert_eq!(selected(&mut state, &["home"]), "/");
    assert_eq!(selected(&mut state, &["page down"]), "/mail");
}

#[test]
fn supervisors_are_folded_and_opened() {
    let mut state = state();
    assert_eq!(shown(&state), ["shop", "db", "web", "api", "jobs", "mail"]);
    // From a worker the first step is up, to what can be folded.
    assert_eq!(selected(&mut state, &["down", "down", "down", "left"]), "/web");
    press(&mut state, &["left"]);
    assert_eq!(shown(&state), ["shop", "db", "web", "mail"]);
    assert_eq!(selected(&mut state, &["right"]), "/web");
    assert_eq!(selected(&mut state, &["right"]), "/web/api");
    // A child that is folded away cannot remain selected.
    assert_eq!(selected(&mut state, &["a"]), "/web");
    assert_eq!(shown(&state), ["shop", "db", "web", "mail"]);
    press(&mut state, &["a", " "]);
    assert_eq!(shown(&state), ["shop", "db", "web", "mail"]);
}

#[test]
fn siblings_are_sorted_within_their_supervisor() {
    let mut state = state();
    press(&mut state, &["o"]);
    assert_eq!(shown(&state), ["shop", "db", "mail", "web", "api", "jobs"], "by name");
    press(&mut state, &["o"]);
    assert_eq!(shown(&state), ["shop", "web", "api", "jobs", "db", "mail"], "by CPU");
    press(&mut state, &["O", "O"]);
    assert_eq!(state.order, Order::Start);
    press(&mut state, &["O"]);
    assert_eq!(shown(&state), ["shop", "web", "api", "jobs", "db", "mail"], "by beat age");
}

#[test]
fn a_search_selects_as_it_is_typed_and_opens_what_hides() {
    let mut state = state();
    press(&mut state, &["down", "down", "left"]);
    assert_eq!(selected(&mut state, &["/", "JO"]), "/web/jobs");
    assert_eq!(state.mode, Mode::Search);
    assert!(shown(&state).contains(&"jobs"));
    assert_eq!(selected(&mut state, &["back", "back", "web", "enter"]), "/web/jobs", "it matches as well");
    assert_eq!(selected(&mut state, &["n"]), "/web");
    assert_eq!(selected(&mut state, &["N"]), "/web/jobs");
    press(&mut state, &["/", "nothing", "enter"]);
    assert!(matches!(&state.message, Some((Err(text), _)) if text.contains("nothing")));
}

#[test]
fn what_kills_asks_first() {
    let mut state = state();
    press(&mut state, &["down"]);
    assert_eq!(press(&mut state, &["p"]), None);
    assert_eq!(state.mode, Mode::Confirm(Kind::Panic, path("/db")));
    // Anything but y is a no, enter too.
    assert_eq!(press(&mut state, &["enter"]), None);
    assert_eq!((&state.mode, state.requests.len()), (&Mode::Normal, 0));
    for (number, (key, kind)) in
        [("s", Kind::Stop), ("r", Kind::Restart), ("p", Kind::Panic), ("h", Kind::Hold)].into_iter().enumerate()
    {
        let number = number as u64 + 1;
        assert_eq!(press(&mut state, &[key, "y"]), Some(Effect::Ask { number, kind, path: path("/db") }));
    }
    // All requests are under way, and each ends independently.
    assert_eq!(state.requests.len(), 4);
    let now = state.now;
    state.update(now, Input::Progress { number: 2, waiting_for: "/db is restarting\u{1b}[2J".into() });
    assert_eq!(state.requests[1].words, "/db is restarting\\x1b[2J");
    state.update(now, Input::Done { number: 2, result: Err("cannot restart /db".into()) });
    assert_eq!(state.requests.len(), 3);
    assert!(matches!(&state.message, Some((Err(_), _))));
    assert!(state.tick(now + Span::from_secs(10)) && state.message.is_none(), "messages do not stand for ever");
}

#[test]
fn quitting_is_always_possible() {
    for keys in [&["q"][..], &["/", "x", "ctrl-c"], &["?", "ctrl-c"], &["p", "ctrl-c"]] {
        assert_eq!(press(&mut state(), keys), Some(Effect::Quit), "{keys:?}");
    }
    // Keys typed into a search are not commands.
    assert_eq!(press(&mut state(), &["/", "q"]), None);
    let mut state = state();
    assert_eq!(state.update(Time::ZERO, Input::Signal(15)), Some(Effect::Die(15)));
}

#[test]
fn the_instance_may_end_and_come_back_as_another() {
    let mut state = state();
    press(&mut state, &["/", "api", "enter"]);
    state.update(Time::ZERO, Input::Ended);
    assert_eq!(shown(&state).len(), 6, "the last picture stays");
    assert_eq!(press(&mut state, &["s", "y"]), None, "there is nothing to be asked");
    assert!(state.message.is_some());
    let mut other = shop();
    let ChildView::Supervisor(root) = &mut other.root else { panic!() };
    let ChildView::Supervisor(web) = &mut root.children[1] else { panic!() };
    web.children.remove(0);
    state.update(Time::ZERO, Input::Status(Box::new(other)));
    assert_eq!((state.link.clone(), state.selected.as_str()), (Link::Live, "/web"));
}

#[test]
fn events_are_bounded_and_what_is_old_is_no_activity() {
    let mut state = state();
    let restarting = |seq, at: &str| event(seq, at, "/web/jobs", "restarting", json!({}));
    let events = vec![restarting(1, "2025-12-31T23:59:59.000000000Z"), restarting(2, "2026-01-02T00:00:00.000000000Z")];
    state.update(Time::ZERO, Input::Events { events, lost: 3 });
    state.update(Time::ZERO, Input::Status(Box::new(shop())));
    assert_eq!(state.activity.restarts(&path("/web")), [0, 1]);
    for seq in 0..50 {
        let events = (0..256).map(|n| restarting(seq * 256 + n, "2026-01-02T00:00:00.000000000Z")).collect();
        state.update(Time::ZERO, Input::Events { events, lost: 1 });
    }
    assert_eq!((state.events.len(), state.lost), (EVENTS, 53));
}

#[test]
fn the_last_output_is_that_of_whoever_failed_last_at_or_below() {
    let mut state = state();
    let exited = |seq, path: &str, line: &str| event(seq, "", path, "exited", json!({"code": 1, "output": [line]}));
    let events = vec![exited(1, "/web/api", "a"), exited(2, "/web/jobs", "b"), exited(3, "/web/api", "c")];
    state.update(Time::ZERO, Input::Events { events, lost: 0 });
    let last = |state: &State| state.last_output().map(|output| (output.path.to_string(), output.lines.join(" ")));
    assert_eq!(last(&state), Some(("/web/api".into(), "c".into())));
    press(&mut state, &["/", "jobs", "enter"]);
    assert_eq!(last(&state), Some(("/web/jobs".into(), "b".into())));
    press(&mut state, &["/", "db", "enter"]);
    assert_eq!(last(&state), None);
}
