use super::*;
use crate::ids::Path;
use crate::supervision::ChildId;
use crate::wire::message::Verb;

fn question(node: Run, request: u64) -> Question {
    let verb = Verb::Restart { path: Path::root() };
    Question { node, request, within_ms: 250, lasting: false, by: String::new(), verb, meant: None }
}

#[test]
fn what_is_held_is_taken_when_its_time_is_over_or_the_supervisor_has_connected() {
    let run = |child| Run { child: ChildId(child), incarnation: crate::ids::Incarnation::FIRST };
    let (replaced, connecting, other) = (run(1), run(2), run(3));
    let at = |secs| Time::ZERO + Span::from_secs(secs);
    let mut nodes = ReplacedNodes::default();
    for (node, connects) in [(replaced, false), (connecting, true)] {
        nodes.away.insert(node, Away { until: at(5), held: Vec::new(), connects });
    }
    assert_eq!(nodes.hold(at(1), question(other, 1)), Hold::Not(question(other, 1)));
    for (node, request) in [(replaced, 2), (connecting, 3), (connecting, 4), (connecting, 5)] {
        assert_eq!(nodes.hold(at(1), question(node, request)), Hold::Until(at(5)));
    }
    // The child node has not connected yet. A question that has been given up is not sent to find out whether it
    // has.
    let taken = nodes.take_due(at(2), |question| question.request != 3, |_| false);
    assert_eq!((taken.sent, taken.ask, taken.is_all), (vec![], vec![], false));
    let taken = nodes.take_due(at(3), |_| true, |first| first.request == 4);
    assert_eq!((taken.sent, taken.ask, taken.is_all), (vec![4], vec![question(connecting, 5)], true));
    assert_eq!(nodes.hold(at(3), question(connecting, 6)), Hold::Not(question(connecting, 6)));
    let taken = nodes.take_due(at(5), |_| true, |_| panic!("nothing is held for it"));
    assert_eq!((taken.sent, taken.ask), (vec![], vec![question(replaced, 2)]));
    assert_eq!(nodes.hold(at(5), question(replaced, 7)), Hold::Not(question(replaced, 7)));
}

#[test]
fn a_supervisor_that_is_replaced_is_spared_until_it_is_back_and_beats() {
    let run = Run { child: ChildId(1), incarnation: crate::ids::Incarnation::FIRST };
    let mut nodes = ReplacedNodes::default();
    let spared = |nodes: &ReplacedNodes, after| nodes.spares(run, Time::ZERO + Span::from_secs(after)).is_some();
    assert!(!spared(&nodes, 0));
    nodes.ordered(Time::ZERO, run);
    // A heartbeat that was sent before.
    nodes.beat(run);
    // It waits as long as it may for its moment, and then both images take all their time.
    let longest =
        crate::node::upgrade::course::REST.as_millis() / 1_000 + 2 * u64::from(crate::node::upgrade::rehearsal::LIMIT);
    assert!(spared(&nodes, longest + 1) && !spared(&nodes, longest + 5));
    nodes.is_back(run);
    assert!(spared(&nodes, 14));
    nodes.beat(run);
    assert!(!spared(&nodes, 14));
    // A child node that was not ordered to be replaced.
    nodes.is_back(run);
    assert!(!spared(&nodes, 0));
}

#[test]
fn nothing_is_held_until_a_child_node_is_about_to_be_replaced() {
    let run = Run { child: ChildId(1), incarnation: crate::ids::Incarnation::FIRST };
    let at = |secs| Time::ZERO + Span::from_secs(secs);
    let mut nodes = ReplacedNodes::default();
    nodes.ordered(at(0), run);
    assert_eq!(nodes.hold(at(1), question(run, 1)), Hold::Not(question(run, 1)));
    nodes.leaves(at(4), run);
    assert_eq!(nodes.hold(at(5), question(run, 2)), Hold::Until(at(4) + AWAY));
    nodes.leaves(at(5), run);
    let taken = nodes.take_due(at(4) + AWAY, |_| true, |_| panic!("it need not connect"));
    assert_eq!((taken.sent, taken.ask), (vec![], vec![question(run, 2)]));

    // The supervisor above it was replaced just before, and has not had its `hello` yet.
    let mut nodes = ReplacedNodes::that_connect(at(0), [run]);
    nodes.leaves(at(4), run);
    assert_eq!(nodes.hold(at(4), question(run, 3)), Hold::Until(at(4) + AWAY));
    let taken = nodes.take_due(at(5), |_| true, |_| panic!("it is being replaced"));
    assert!(taken.sent.is_empty() && taken.ask.is_empty());
}
