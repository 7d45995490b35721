//! Explanations from a journal that is incomplete or damaged.

use super::*;

#[test]
fn a_chain_whose_beginning_was_forgotten_says_so() {
    let mut tree = escalated();
    tree.events.drain(..6);
    let explained = tree.explain("/", None);
    assert!(!explained.complete);
    assert_eq!(explained.first_cause.as_ref().map(|step| step.event.kind()), Some("gave_up"));
    assert!(text(&tell(&explained)).contains("[Before] earlier events are forgotten or lost"));
}

#[test]
fn what_a_damaged_journal_may_hold_does_no_harm() {
    let mut tree = Tree::default();
    let one = tree.add(1, "/db", "exited", Some(ReportId { node: 1, seq: 2 }), json!({}));
    let broken = ["hung", "gave_up", "panic", "start_failed", "auto_shutdown", "stopping", "of_tomorrow"];
    for (kind, cause) in std::iter::once(("restarting", Some(one))).chain(broken.map(|kind| (kind, None))) {
        tree.add(1, "/db", "of_tomorrow", cause, json!({ "with": 3 }));
        if let Some(EventView { body: EventBody::Other { kind: name, .. }, .. }) = tree.events.last_mut() {
            *name = kind.into();
        }
    }
    for at in 0..tree.events.len() {
        let part = Tree { events: tree.events[at..].to_vec() };
        assert!(!text(&tell(&part.explain("/db", None))).is_empty());
        assert!(!tell_short(&part.explain("/", None), 1).iter().any(String::is_empty));
    }
    let explained = tree.explain("/db", None);
    let json = serde_json::to_string(&explained).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explained);
}
