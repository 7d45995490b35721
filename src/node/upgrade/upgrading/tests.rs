use super::*;
use crate::supervision::ChildId;
use crate::wire::view::testing::event;
use serde_json::json;

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
fn what_was_started_again_is_behind_no_more_unless_what_is_above_it_is() {
    let path = |text: &str| Path::parse(text).unwrap();
    let behind = ["/mid", "/mid/deep", "/other"].map(|at| (path(at), "1".into()));
    let mut upgrading = Upgrading::default();
    upgrading.behind.renew(behind.into());
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
fn what_was_left_behind_twice_has_its_own_version() {
    let one = |path: &str, state, version: &str| Supervisor {
        path: path.into(),
        state,
        version: version.into(),
        gap_ms: None,
        message: None,
    };
    let mut behind = LeftBehind::default();
    behind.renew(vec![(Path::parse("/mid").unwrap(), "1".into()), (Path::parse("/other").unwrap(), "1".into())]);
    // The root could not ask /mid, and /web has refused: it reports both with the version that it has itself.
    let states = [("/", State::Upgraded, "3"), ("/mid", State::Failed, "2"), ("/web", State::Kept, "2")];
    let with_other = states.iter().chain([&("/other", State::Upgraded, "3")]);
    let found = with_other.map(|&(path, state, version)| one(path, state, version)).collect();
    let result = behind.corrected(upgrade::Upgrade::new("2".into(), "3".into(), true, found));
    let versions: Vec<_> = result.supervisors.iter().map(|one| one.version.as_str()).collect();
    assert_eq!(versions, ["3", "1", "2", "3"], "{result:?}");
    // The same is kept for the next one.
    behind.renew(vec![(Path::parse("/mid").unwrap(), "2".into()), (Path::parse("/web").unwrap(), "2".into())]);
    let mid = Path::parse("/mid").unwrap();
    assert!(behind.refuses(Some(&mid), "3").unwrap().contains("/mid runs treevisor 1 and"));
    assert!(behind.refuses(Some(&Path::parse("/other").unwrap()), "3").is_none());
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
