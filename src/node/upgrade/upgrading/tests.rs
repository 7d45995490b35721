use super::*;
use crate::node::upgrade::course::Wanted;
use crate::supervision::ChildId;
use crate::wire::view::testing::event;
use serde_json::json;

fn question(node: Run, request: u64) -> Question {
    let verb = Verb::Restart { path: Path::root() };
    Question { node, request, within_ms: 250, lasting: false, by: String::new(), verb, meant: None }
}

#[test]
fn what_is_held_is_taken_when_its_time_is_over_or_the_supervisor_has_connected() {
    let run = |child| Run { child: ChildId(child), incarnation: crate::ids::Incarnation::FIRST };
    let (replaced, connecting, other) = (run(1), run(2), run(3));
    let at = |secs| Time::ZERO + Span::from_secs(secs);
    let mut upgrading = Upgrading::default();
    for (node, connects) in [(replaced, false), (connecting, true)] {
        upgrading.away.insert(node, Away { until: at(5), held: Vec::new(), connects });
    }
    assert_eq!(upgrading.hold(at(1), question(other, 1)), Hold::Not(question(other, 1)));
    for (node, request) in [(replaced, 2), (connecting, 3), (connecting, 4), (connecting, 5)] {
        assert_eq!(upgrading.hold(at(1), question(node, request)), Hold::Until(at(5)));
    }
    // The child node has not connected yet. A question that has been given up is not sent to find out whether it
    // has.
    let taken = upgrading.take_due(at(2), |question| question.request != 3, |_| false);
    assert_eq!((taken.sent, taken.ask, upgrading.again), (vec![], vec![], Some(at(2) + AGAIN)));
    let taken = upgrading.take_due(at(3), |_| true, |first| first.request == 4);
    assert_eq!((taken.sent, taken.ask), (vec![4], vec![question(connecting, 5)]));
    assert_eq!(upgrading.hold(at(3), question(connecting, 6)), Hold::Not(question(connecting, 6)));
    let taken = upgrading.take_due(at(5), |_| true, |_| panic!("nothing is held for it"));
    assert_eq!((taken.sent, taken.ask), (vec![], vec![question(replaced, 2)]));
    assert_eq!(upgrading.hold(at(5), question(replaced, 7)), Hold::Not(question(replaced, 7)));
}

#[test]
fn a_parent_does_not_give_up_on_a_node_that_waits_for_those_below_it() {
    let run = Run { child: ChildId(1), incarnation: crate::ids::Incarnation::FIRST };
    let at = |secs| Time::ZERO + Span::from_secs(secs);
    let wanted = |asker| Wanted { asker, by: String::new(), check: false, rest: false };
    let course = |asker| {
        let mut course = Course::new(at(0), wanted(asker), "1".into(), None, vec![(run, Path::root())]);
        course.own_is_over(Supervisor {
            path: "/".into(),
            state: State::Upgraded,
            version: "2".into(),
            gap_ms: None,
            message: None,
        });
        course
    };
    let mut parent = course(Asker::None);
    for child in parent.next() {
        parent.asked(at(0), 7, child);
    }
    let mut node = Upgrading { course: Some(course(Asker::Parent { request: 7 })), ..Upgrading::default() };
    assert!(!node.reports_now(at(0)), "it waits for none");
    let mut passed = 0;
    for secs in 0..60 {
        let below = node.course.as_mut().unwrap();
        below.next().into_iter().for_each(|child| below.asked(at(secs), secs, child));
        if node.reports_now(at(secs)) {
            let upgrade = Box::new(node.course.as_ref().unwrap().upgrade());
            parent.answered(at(secs), 7, Reply::Upgraded { upgrade });
            passed += 1;
        }
        parent.due(at(secs));
        assert!(parent.has_asked(7), "given up after {secs} s");
        assert!(node.next_deadline().is_some_and(|due| due <= at(secs + 5)));
    }
    assert_eq!(passed, 12);
}

#[test]
fn a_supervisor_that_is_replaced_is_spared_until_it_is_back_and_beats() {
    let run = Run { child: ChildId(1), incarnation: crate::ids::Incarnation::FIRST };
    let mut upgrading = Upgrading::default();
    let spared = |upgrading: &Upgrading, after| upgrading.spares(run, Time::ZERO + Span::from_secs(after)).is_some();
    assert!(!spared(&upgrading, 0));
    upgrading.ordered(Time::ZERO, run);
    // A heartbeat that was sent before.
    upgrading.beat(run);
    // It waits as long as it may for its moment, and then both images take all their time.
    let longest = super::super::course::REST.as_millis() / 1_000 + 2 * u64::from(super::super::rehearsal::LIMIT);
    assert!(spared(&upgrading, longest + 1) && !spared(&upgrading, longest + 5));
    upgrading.is_back(run);
    assert!(spared(&upgrading, 14));
    upgrading.beat(run);
    assert!(!spared(&upgrading, 14));
    // A child node that was not ordered to be replaced.
    upgrading.is_back(run);
    assert!(!spared(&upgrading, 0));
}

#[test]
fn nothing_is_held_until_a_child_node_is_about_to_be_replaced() {
    let run = Run { child: ChildId(1), incarnation: crate::ids::Incarnation::FIRST };
    let at = |secs| Time::ZERO + Span::from_secs(secs);
    let mut upgrading = Upgrading::default();
    upgrading.ordered(at(0), run);
    assert_eq!(upgrading.hold(at(1), question(run, 1)), Hold::Not(question(run, 1)));
    upgrading.leaves(at(4), run);
    assert_eq!(upgrading.hold(at(5), question(run, 2)), Hold::Until(at(4) + AWAY));
    upgrading.leaves(at(5), run);
    let taken = upgrading.take_due(at(4) + AWAY, |_| true, |_| panic!("it need not connect"));
    assert_eq!((taken.sent, taken.ask), (vec![], vec![question(run, 2)]));

    // The supervisor above it was replaced just before, and has not had its `hello` yet.
    let mut upgrading = Upgrading::unpack(Upgrading::default().pack(), at(0), [run]);
    upgrading.leaves(at(4), run);
    assert_eq!(upgrading.hold(at(4), question(run, 3)), Hold::Until(at(4) + AWAY));
    let taken = upgrading.take_due(at(5), |_| true, |_| panic!("it is being replaced"));
    assert!(taken.sent.is_empty() && taken.ask.is_empty());
}

#[test]
fn what_was_started_again_is_behind_no_more_unless_what_is_above_it_is() {
    let path = |text: &str| Path::parse(text).unwrap();
    let behind = ["/mid", "/mid/deep", "/other"].map(|at| (path(at), "1".into()));
    let mut upgrading = Upgrading { behind: behind.into(), ..Upgrading::default() };
    let happens = |upgrading: &mut Upgrading, at: &str, kind: &str, detail| {
        upgrading.has_happened(&event(1, at, kind, detail));
        ["/mid", "/mid/deep", "/other"].map(|at| upgrading.refuses_change(Some(&path(at))).is_some())
    };
    let all = [true; 3];
    assert_eq!(happens(&mut upgrading, "/mid/deep", "started", json!({})), all, "by a parent that is behind");
    assert_eq!(happens(&mut upgrading, "/mid", "ready", json!({})), all);
    assert_eq!(happens(&mut upgrading, "/mid", "started", json!({ "beside": "successor" })), all);
    assert_eq!(happens(&mut upgrading, "/middle", "started", json!({})), all);
    assert_eq!(happens(&mut upgrading, "/mid", "started", json!({})), [false, false, true]);
    assert_eq!(happens(&mut upgrading, "/other", "exited", json!({})), [false; 3]);
    assert!(upgrading.refuses_change(None).is_none());
}

#[test]
fn a_node_is_replaced_when_its_parent_holds_its_questions_and_reports_when_it_works_on() {
    let course = |asker| {
        let wanted = Wanted { asker, by: String::new(), check: false, rest: false };
        Course::new(Time::ZERO, wanted, "1".into(), None, Vec::new())
    };
    let parent = course(Asker::None);
    let mut node = Upgrading { course: Some(course(Asker::Parent { request: 7 })), ..Upgrading::default() };
    let (start, later) = (Time::ZERO, Time::ZERO + AGAIN);
    let (request, report) = node.before_gap(start).unwrap();
    assert!(request == 7 && parent.is_left_by(&report));
    assert_eq!(node.before_gap(start), None, "it waits for the parent's message");
    node.holding(6);
    assert!(node.waits_above() && node.before_gap(later).is_some(), "that was another order");
    assert_eq!(node.works_on("why"), None, "nothing is held");
    node.holding(7);
    assert!(!node.waits_above());
    let (request, report) = node.works_on("why").unwrap();
    assert!(request == 7 && !parent.is_left_by(&report));
    assert!(node.waits_above(), "the next attempt needs it again");
    // The root waits for nothing.
    let mut root = Upgrading { course: Some(course(Asker::None)), ..Upgrading::default() };
    root.holding(7);
    assert!(!root.waits_above() && root.before_gap(start).is_none());
}
