//! Round trips, arbitrary bytes, limits, and the frames of version 1 as they were first written down.

mod for_nodes;

use super::*;
use proptest::prelude::*;

const TOKEN: Token = Token([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

fn from_child(body: ChildBody) -> FromChild {
    FromChild { token: TOKEN, body }
}

#[test]
fn a_plain_beat_has_three_frames() {
    let frames = encode_from_child(&from_child(ChildBody::Beat(BeatFrame::default())));
    assert_eq!(frames, [&b"TV1"[..], b"BEAT", b"000102030405060708090a0b0c0d0e0f"]);
    assert_eq!(decode_from_child(&frames), Ok(from_child(ChildBody::Beat(BeatFrame::default()))));
}

#[test]
fn what_is_not_said_is_empty_or_left_out() {
    let beat = BeatFrame { pending: Some(0), ..BeatFrame::default() };
    let frames = encode_from_child(&from_child(ChildBody::Beat(beat.clone())));
    assert_eq!(frames[3..], [&b""[..], b"", b"0"]);
    assert_eq!(decode_from_child(&frames), Ok(from_child(ChildBody::Beat(beat))));
}

#[test]
fn a_long_status_is_cut_between_characters_and_controls_become_spaces() {
    let text = format!("\u{1b}[2J\n{}", "ü".repeat(200));
    let beat = BeatFrame { status: Some(text), ..BeatFrame::default() };
    let frames = encode_from_child(&from_child(ChildBody::Beat(beat)));
    let status = std::str::from_utf8(&frames[7]).unwrap();
    assert!(status.starts_with(" [2J ü") && status.ends_with('ü'));
    assert_eq!(status.len(), 255, "the 256th byte would be half a character");
    // The receiver replaces control characters too, if a sender does not.
    let hostile =
        [&b"TV1"[..], b"BEAT", TOKEN.to_string().as_bytes(), b"", b"", b"", b"", b"\x1b[2Jhello"].map(<[u8]>::to_vec);
    let ChildBody::Beat(beat) = decode_from_child(&hostile).unwrap().body else { panic!("no beat") };
    assert_eq!(beat.status.as_deref(), Some(" [2Jhello"));
}

#[test]
fn a_lease_is_rounded_up() {
    let beat = BeatFrame { busy_for: Some(Span::from_micros(1_001)), ..BeatFrame::default() };
    assert_eq!(encode_from_child(&from_child(ChildBody::Beat(beat)))[6], b"2");
}

#[test]
fn each_breach_has_its_name() {
    let token: &[u8] = b"000102030405060708090a0b0c0d0e0f";
    let long = vec![b'1'; WORKER_FRAME_MAX + 1];
    let cases: &[(&[&[u8]], &str)] = &[
        (&[], "no_frames"),
        (&[b""], "version"),
        (&[b"TV2", b"BEAT", token], "version"),
        (&[b"", b"TV1", b"BEAT", token], "version"),
        (&[b"TV1"], "kind"),
        (&[b"TV1", b"beat", token], "kind"),
        (&[b"TV1", b"ASK", b"{}"], "kind"),
        (&[b"TV1", b"BEAT"], "token"),
        (&[b"TV1", b"BEAT", b""], "token"),
        (&[b"TV1", b"BEAT", b"g00102030405060708090a0b0c0d0e0f"], "token"),
        (&[b"TV1", b"BEAT", token, b"+1"], "number"),
        (&[b"TV1", b"BEAT", token, b"1", b" 1"], "number"),
        (&[b"TV1", b"BEAT", token, b"1", b"1", b"18446744073709551616"], "number"),
        (&[b"TV1", b"BEAT", token, b"1", b"1", b"1", b"1.5"], "number"),
        (&[b"TV1", b"BEAT", token, b"", b"", b"", b"", b"\xff"], "utf8"),
        (&[b"TV1", b"BEAT", token, b"", b"", b"", b"", b"", b""], "too_many_frames"),
        (&[b"TV1", b"READY", token, b""], "too_many_frames"),
        (&[b"TV1", b"BEAT", token, &long], "frame_too_long"),
    ];
    for (frames, word) in cases {
        let error = decode_from_child(frames).unwrap_err();
        assert_eq!(error.word(), *word, "{error}");
        assert!(!error.to_string().is_empty());
    }
    let largest = decode_from_child(&[&b"TV1"[..], b"BEAT", token, b"18446744073709551615"]).unwrap();
    assert_eq!(largest.body, ChildBody::Beat(BeatFrame { seq: u64::MAX, ..BeatFrame::default() }));
}

#[test]
fn what_is_kept_of_a_bad_message_is_small() {
    let huge = vec![0xff; 10_000_000];
    for frames in [vec![huge.clone()], vec![VERSION.to_vec(), huge]] {
        let text = decode_from_child(&frames).unwrap_err().to_string();
        assert!(text.is_ascii() && text.len() < 2 * Excerpt::MAX, "{text}");
    }
}

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

/// The cells of the table below a mark in the document, without its head.
fn table(mark: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = PROTOCOL.split_once(&format!("<!-- {mark}: held by a test -->")).expect("the mark is there");
    let rows = rest.trim_start().lines().take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()).collect()
}

#[test]
fn the_document_has_the_same_frames() {
    let child = ["version", "kind", "token"];
    let beat: Vec<&str> = child.iter().chain(&BEAT_FIELDS).copied().collect();
    let frames = |frames: &[&str], json: &[&str]| [frames, json].concat().join(", ");
    let expected = [
        (kind::BEAT, "child", "node", frames(&beat, &[])),
        (kind::READY, "child", "node", frames(&child, &[])),
        (kind::STOPPING, "child", "node", frames(&child, &[])),
        (kind::NODE, "child node", "node", frames(&child, &["json..."])),
        (kind::NODE, "node", "child node", frames(&child[..2], &["json..."])),
        (kind::ASK, "operator", "root", frames(&child[..2], &["json..."])),
        (kind::TOLD, "root", "operator", frames(&child[..2], &["json..."])),
    ];
    let expected: Vec<Vec<String>> = expected
        .into_iter()
        .map(|(kind, from, to, frames)| vec![kind.escape_ascii().to_string(), from.into(), to.into(), frames])
        .collect();
    assert_eq!(table("frames"), expected);
    assert_eq!(beat.len(), WORKER_FRAMES_MAX);
}

#[test]
fn the_document_has_the_same_limits() {
    let rows = table("limits");
    let limits: Vec<(&str, &str)> = rows.iter().map(|row| (row[0], row[1])).collect();
    macro_rules! limits {
        ($($name:ident),*) => { [$((stringify!($name), crate::wire::$name.to_string())),*] };
    }
    let expected = limits!(
        WORKER_FRAMES_MAX,
        WORKER_FRAME_MAX,
        WORKER_MESSAGE_MAX,
        NODE_FRAMES_MAX,
        NODE_FRAME_MAX,
        JSON_DEPTH_MAX,
        BEATS_PER_SECOND_MAX
    );
    assert_eq!(limits, expected.each_ref().map(|(name, value)| (*name, value.as_str())));
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic(frames in hostile_frames()) {
        let _ = decode_from_child(&frames);
        let _ = peek_from_child(&frames);
        {
            let _ = decode_to_node(&frames);
            let _ = decode_ask(&frames);
            let _ = decode_told(&frames);
        }
    }

    #[test]
    fn a_beat_is_read_as_it_was_written(token: [u8; 16], beat in any_beat()) {
        let message = FromChild { token: Token(token), body: ChildBody::Beat(beat) };
        let frames = encode_from_child(&message);
        prop_assert!(frames.len() <= WORKER_FRAMES_MAX && frames.iter().all(|frame| frame.len() <= WORKER_FRAME_MAX));
        prop_assert_eq!(peek_from_child(&frames), Ok((ChildKind::Beat, message.token)));
        prop_assert_eq!(decode_from_child(&frames), Ok(message));
    }

    #[test]
    fn any_status_can_be_sent(status in any::<String>()) {
        let beat = BeatFrame { status: Some(status), ..BeatFrame::default() };
        prop_assert!(decode_from_child(&encode_from_child(&from_child(ChildBody::Beat(beat)))).is_ok());
    }
}

/// Arbitrary frames whose head is often enough valid to reach the decoding of what follows.
fn hostile_frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let kinds = prop_oneof![
        Just(b"BEAT".to_vec()),
        Just(b"READY".to_vec()),
        Just(b"NODE".to_vec()),
        Just(b"ASK".to_vec()),
        Just(b"TOLD".to_vec()),
        any::<Vec<u8>>(),
    ];
    let rest = prop_oneof![
        any::<Vec<u8>>(),
        "[0-9]{0,25}".prop_map(String::into_bytes),
        Just(b"000102030405060708090a0b0c0d0e0f".to_vec()),
        Just(br#"{"is":"up"}"#.to_vec()),
        Just(br#"{"is":"reply","request":1,"reply":{"is":"#.to_vec()),
        (0usize..300).prop_map(|deep| b"[".repeat(deep)),
    ];
    let version = prop_oneof![9 => Just(VERSION.to_vec()), 1 => any::<Vec<u8>>()];
    (version, kinds, prop::collection::vec(rest, 0..12)).prop_map(|(version, kind, rest)| {
        let mut frames = vec![version, kind];
        frames.extend(rest);
        frames
    })
}

/// Beats that survive a round trip unchanged: whole milliseconds, and a status of one line within the limit, or none.
fn any_beat() -> impl Strategy<Value = BeatFrame> {
    let busy = prop::option::of((0..=u64::MAX / 1_000_000).prop_map(Span::from_millis));
    let status = prop::option::of("[^\\p{Cc}\\u{200e}\\u{200f}\\u{61c}\\u{2028}-\\u{202e}\\u{2066}-\\u{2069}]{1,64}");
    (any::<u64>(), any::<Option<u64>>(), any::<Option<u64>>(), busy, status)
        .prop_map(|(seq, progress, pending, busy_for, status)| BeatFrame { seq, progress, pending, busy_for, status })
}
