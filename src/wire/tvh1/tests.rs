//! Frames as bytes, limits, and arbitrary bytes.

use super::header::{Bundle, BundleWhat, ChangeRequest, Hello, Look, LookWhat, Operator, Pulse, RequestedChange};
use super::*;
use crate::wire::hosts::{Bundle as Files, BundleFile};
use crate::wire::look::{Kept, PAGE_MAX, RecordCursor};
use proptest::prelude::*;

fn frames_of(kind: Kind, header: &impl Serialize, payload: &[&[u8]]) -> Vec<String> {
    let payload = payload.iter().map(|frame| frame.to_vec()).collect();
    let message = Message::new(kind, header, payload).unwrap();
    let frames = encode(&message, 7_000);
    let read = decode(frames.clone()).unwrap();
    assert_eq!((read.kind, &read.payload), (kind, &message.payload));
    assert_eq!(read.stamp().unwrap().sent_ms, 7_000);
    frames.into_iter().map(|frame| String::from_utf8(frame).unwrap()).collect()
}

#[test]
fn the_frames_are_these() {
    let hello = Hello { host: "a".into(), cluster: "shop".into(), version: "0.1.0".into(), protocol: 1, epoch: 3 };
    assert_eq!(
        frames_of(Kind::Hello, &hello, &[]),
        ["TVH1", "HELLO", r#"{"sent_ms":7000,"host":"a","cluster":"shop","version":"0.1.0","protocol":1,"epoch":3}"#]
    );
    assert_eq!(
        frames_of(Kind::Pulse, &Pulse { epoch: 3, seq: 12 }, &[]),
        ["TVH1", "PULSE", r#"{"sent_ms":7000,"epoch":3,"seq":12}"#]
    );
    let files = Files {
        instance: "shop".into(),
        file: "shop.toml".into(),
        files: vec![BundleFile { path: "shop.toml".into(), bytes: 3 }],
    };
    for (what, payload, header) in [
        (BundleWhat::Offer, None, r#""what":"offer"}"#),
        (BundleWhat::Want { part: 2 }, None, r#""what":"want","part":2}"#),
        (BundleWhat::Part { part: 2, files: None }, Some("abc"), r#""what":"part","part":2}"#),
        (
            BundleWhat::Part { part: 0, files: Some(files) },
            Some("abc"),
            r#""what":"part","part":0,"files":{"instance":"shop","file":"shop.toml","files":[{"path":"shop.toml","bytes":3}]}}"#,
        ),
        (BundleWhat::Kept, None, r#""what":"kept"}"#),
        (BundleWhat::Refused { why: "full".into() }, None, r#""what":"refused","why":"full"}"#),
    ] {
        let bundle = Bundle { digest: "d1".into(), what };
        let payload: Vec<&[u8]> = payload.iter().map(|text: &&str| text.as_bytes()).collect();
        let frames = frames_of(Kind::Bundle, &bundle, &payload);
        assert_eq!(frames[..3], ["TVH1", "BUNDLE", &format!(r#"{{"sent_ms":7000,"digest":"d1",{header}"#)]);
        assert_eq!(frames.len(), 3 + payload.len());
        let read = decode(frames.into_iter().map(String::into_bytes).collect()).unwrap();
        assert_eq!(read.header::<Bundle>(), Ok(bundle));
    }
    let from = RecordCursor { file: 3, offset: 70 };
    for (what, payload, header) in [
        (
            LookWhat::Ask { kept: Kept::Instance("shop".into()), from },
            None,
            r#""what":"ask","kept":{"instance":"shop"},"from":{"file":3,"offset":70}}"#,
        ),
        (LookWhat::Page { next: None }, Some("{}\n"), r#""what":"page","next":null}"#),
        (LookWhat::Refused { why: "denied".into() }, None, r#""what":"refused","why":"denied"}"#),
    ] {
        let look = Look { number: 9, what };
        let payload: Vec<&[u8]> = payload.iter().map(|text: &&str| text.as_bytes()).collect();
        let frames = frames_of(Kind::Look, &look, &payload);
        assert_eq!(frames[..3], ["TVH1", "LOOK", &format!(r#"{{"sent_ms":7000,"number":9,{header}"#)]);
        let read = decode(frames.into_iter().map(String::into_bytes).collect()).unwrap();
        assert_eq!(read.header::<Look>(), Ok(look));
    }
    const { assert!(PAGE_MAX * 3 <= FRAME_MAX, "what is no UTF-8 becomes three times as long") };
    let operator = Operator { instance: "shop".into(), conversation: 5, end: None };
    assert_eq!(
        frames_of(Kind::Operator, &operator, &[b"TV1", b"ASK", b"{}"]),
        ["TVH1", "OPERATOR", r#"{"sent_ms":7000,"instance":"shop","conversation":5}"#, "TV1", "ASK", "{}"]
    );
    let over = Operator { end: Some("it has ended".into()), ..operator };
    assert_eq!(
        frames_of(Kind::Operator, &over, &[])[2],
        r#"{"sent_ms":7000,"instance":"shop","conversation":5,"end":"it has ended"}"#
    );
    assert_eq!(frames_of(Kind::Join, &serde_json::json!({}), &[])[2], r#"{"sent_ms":7000}"#);
    assert_eq!(
        frames_of(Kind::Wish, &ChangeRequest { what: RequestedChange::Undrain, void_after_ms: 1_000 }, &[]),
        ["TVH1", "WISH", r#"{"sent_ms":7000,"what":"undrain","void_after_ms":1000}"#]
    );
}

#[test]
fn kinds_are_read_as_they_are_written() {
    let words = Kind::ALL.map(Kind::as_str);
    assert_eq!(
        words,
        [
            "HELLO", "PULSE", "PLACE", "PLACED", "ORDER", "TOLD", "RELAY", "OPERATOR", "BUNDLE", "JOIN", "SIGNING",
            "WISH", "LOOK"
        ]
    );
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str().as_bytes()), Some(kind));
    }
}

#[test]
fn what_a_header_lacks_is_no_stamp_and_what_it_has_more_is_passed_over() {
    let read = |header: &str| decode([&b"TVH1"[..], b"ORDER", header.as_bytes()].map(<[u8]>::to_vec).to_vec()).unwrap();
    let stamp = read(r#"{"sent_ms":1,"void_after_ms":500,"later":[1]}"#).stamp();
    assert_eq!(stamp, Ok(Stamp { sent_ms: 1, void_after_ms: Some(500) }));
    assert!(read("{}").stamp().is_err());
    assert!(read(r#"{"sent_ms":-1}"#).stamp().is_err());
    assert!(read("").header::<Pulse>().is_err());
    let error = read(r#"{"sent_ms":1,"seq":1}"#).header::<Pulse>().unwrap_err().to_string();
    assert!(error.contains("epoch"), "{error}");
    assert!(read(&"[".repeat(100_000)).stamp().is_err(), "however deep it is");
}

#[test]
fn limits_are_judged_before_anything_is_read() {
    let of = |frames: &[&[u8]]| decode(frames.iter().map(|frame| frame.to_vec()).collect());
    assert_eq!(of(&[]), Err(Malformed::Version));
    assert_eq!(of(&[b"TV1", b"HELLO", b"{}"]), Err(Malformed::Version));
    assert!(matches!(of(&[b"TVH1"]), Err(Malformed::Kind { .. })));
    assert!(matches!(of(&[b"TVH1", b"hello", b"{}"]), Err(Malformed::Kind { .. })));
    assert_eq!(of(&[b"TVH1", b"HELLO"]), Err(Malformed::NoHeader));
    let most: Vec<&[u8]> = [&b"TVH1"[..], b"RELAY", b"{}"].into_iter().chain([&b""[..]; PAYLOAD_FRAMES_MAX]).collect();
    assert_eq!(of(&most).unwrap().payload.len(), PAYLOAD_FRAMES_MAX);
    assert_eq!(of(&[most.as_slice(), &[b""]].concat()), Err(Malformed::TooManyFrames { frames: FRAMES_MAX + 1 }));
    let long = vec![b'x'; FRAME_MAX + 1];
    assert!(of(&[b"TVH1", b"RELAY", b"{}", &long[1..]]).is_ok());
    assert_eq!(
        of(&[b"no", &long]),
        Err(Malformed::FrameTooLong { frame: 1, bytes: FRAME_MAX + 1 }),
        "before the version is looked at"
    );
    for error in [of(&[]), of(&[b"TVH1"]), of(&[&long])] {
        assert!(!error.unwrap_err().to_string().is_empty());
    }
}

#[test]
fn what_breaks_the_limits_is_not_sent_either() {
    let empty = serde_json::json!({});
    assert!(Message::new(Kind::Relay, &empty, vec![Vec::new(); PAYLOAD_FRAMES_MAX]).is_ok());
    assert!(Message::new(Kind::Relay, &empty, vec![Vec::new(); PAYLOAD_FRAMES_MAX + 1]).is_err());
    assert!(Message::new(Kind::Relay, &empty, vec![vec![0; FRAME_MAX + 1]]).is_err());
    assert!(Message::new(Kind::Place, &serde_json::json!({ "spec": "x".repeat(FRAME_MAX) }), Vec::new()).is_err());
    assert!(Message::new(Kind::Place, &[1], Vec::new()).is_err(), "a header is an object");
}

proptest! {
    #[test]
    fn arbitrary_frames_are_no_message_or_one_that_can_be_sent(
        kind in 0..13usize,
        rest in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
    ) {
        let name = Kind::ALL.get(kind).map_or("", |kind| kind.as_str());
        let frames = [vec![VERSION.to_vec(), name.as_bytes().to_vec()], rest].concat();
        if let Ok(message) = decode(frames) {
            let _ = message.stamp();
            prop_assert!(decode(encode(&message, 1)).is_ok());
        }
    }
}
