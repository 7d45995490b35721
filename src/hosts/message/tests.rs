use super::*;
use crate::hosts::shown::{CandidateShown, ChildShown, StoreShown};

fn subject() -> Subject {
    Subject { instance: "shop".into(), path: "/db".into(), run: 7, root_token: 3 }
}

fn shown() -> Shown {
    let candidates = vec![CandidateShown { host: "b".into(), fit: true, why: "fit".into() }];
    let path = "/db".to_owned();
    let child = ChildShown {
        path,
        token: Some(9),
        since_ms: Some(5),
        start: Some("move".into()),
        candidates,
        ..ChildShown::default()
    };
    let store = StoreShown { lost: true, age_ms: 4_000 };
    Shown { question: 7, cluster: "shop".into(), store, children: vec![child], more: true }
}

fn back(message: &Message) -> Message {
    let (header, frames) = message.frames();
    let header = serde_json::to_vec(&header).unwrap();
    let frames = frames.iter().map(|frame| frame.to_vec()).collect();
    Message::read(message.kind(), &header, frames).unwrap()
}

#[test]
fn each_message_comes_back_as_it_was() {
    let placement = Placing { spread: SpreadPolicy::Label("zone".into()), exclusive: false, ..Placing::default() };
    let place = Place {
        subject: subject(),
        start: Start::Failover,
        from: Some("b".into()),
        placement,
        spec: Arc::new(b"tree".to_vec()),
        ..Place::default()
    };
    let mut all = vec![Message::Place(Box::new(place))];
    for outcome in [
        Outcome::Started { token: 9, pid: 42 },
        Outcome::Adopted { token: 9, pid: 42 },
        Outcome::Failed(Failure { stage: "exec".into(), errno: 2, message: "no such file".into() }),
        Outcome::Held { by: "c".into() },
        Outcome::Refused { why: Refusal::NoLease, detail: "its lease ends in 0.4 s".into() },
        Outcome::NoHost { why: "a: it is being drained".into() },
    ] {
        all.push(Message::Placed(Placed { subject: subject(), outcome, ..Placed::default() }));
    }
    for what in [
        OrderAction::Stop,
        OrderAction::Kill,
        OrderAction::Done,
        OrderAction::Inspect,
        OrderAction::Clear,
        OrderAction::Move { to: Some("c".into()) },
        OrderAction::Paths { paths: vec!["/db".into()] },
        OrderAction::Show(Show { question: 7 }),
    ] {
        all.push(Message::Order(Order { subject: subject(), what, ..Order::default() }));
    }
    for what in [
        ReportBody::Noted,
        ReportBody::Exited { end: Ended::Signal(9), detail: serde_json::json!({"out_of_memory": true}) },
        ReportBody::Lost(Loss::of("b is dead")),
        ReportBody::Inspected { found: Value::Null },
        ReportBody::Unreachable { why: "no link".into() },
        ReportBody::Cleared,
        ReportBody::Done,
        ReportBody::HostThere,
        ReportBody::Move { to: "a".into(), start: Start::Takeover },
        ReportBody::Moving { to: "a".into() },
        ReportBody::NotMoved { why: "no other host is fit".into() },
        ReportBody::Shown(Box::new(shown())),
    ] {
        all.push(Message::Told(RunReport { subject: subject(), what }));
    }
    for message in all {
        assert_eq!(back(&message), message);
        assert_eq!(message.subject(), &subject());
    }
}

#[test]
fn a_header_is_one_flat_object() {
    let told = RunReport { subject: subject(), what: ReportBody::Exited { end: Ended::Code(10), detail: Value::Null } };
    let (header, frames) = Message::Told(told).frames();
    assert!(frames.is_empty());
    let wanted =
        r#"{"instance":"shop","path":"/db","run":7,"root_token":3,"what":"exited","end":{"code":10},"detail":null}"#;
    assert_eq!(header, serde_json::from_str::<Value>(wanted).unwrap());
}

#[test]
fn what_a_later_version_sends_is_passed_over_or_refused_in_words() {
    let header = br#"{"instance":"shop","path":"/db","run":7,"root_token":3,"what":"later","with":[1]}"#;
    let Message::Told(told) = Message::read("TOLD", header, Vec::new()).unwrap() else { panic!("a TOLD") };
    assert_eq!(told.what, ReportBody::Unknown);
    let Message::Order(order) = Message::read("ORDER", header, Vec::new()).unwrap() else { panic!("an ORDER") };
    assert_eq!(order.what, OrderAction::Unknown);
    let words = |kind, header: &[u8], frames| Message::read(kind, header, frames).unwrap_err().to_string();
    assert_eq!(words("PULSE", b"{}", vec![]), "\"PULSE\" is no kind of message about placed subtrees");
    assert!(words("TOLD", b"[", vec![]).starts_with("the header of a TOLD cannot be read: "));
    assert_eq!(words("PLACE", b"{}", vec![]), "a PLACE has 1 frames after its header; this one has 0");
}

#[test]
fn runs_are_ordered_by_the_root_before_the_number() {
    assert!(subject().is_after(3, 6) && subject().is_after(2, 99));
    assert!(!subject().is_after(3, 7) && !subject().is_after(4, 1));
}

#[test]
fn one_host_and_no_label_is_pinned() {
    let of = |hosts: &str, require: &str, exclusive| {
        let on = serde_json::from_str(&format!(r#"{{"hosts":{hosts},"require":{require}}}"#)).unwrap();
        let placing = Placing { on, exclusive, ..Placing::default() };
        (placing.is_pinned(), placing.by_lease())
    };
    for one in [r#"["a"]"#, r#"[["a"]]"#] {
        assert_eq!(of(one, "{}", true), (true, false));
        assert_eq!(of(one, r#"{"disk":"ssd"}"#, true), (false, true));
        assert_eq!(of(one, "{}", false), (false, false));
    }
    for more in ["[]", r#"["a","b"]"#, r#"[["a","b"]]"#] {
        assert_eq!(of(more, "{}", true), (false, true));
    }
}
