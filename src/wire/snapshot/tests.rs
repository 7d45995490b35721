use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn facts() -> Facts<Value, Value> {
    Facts {
        version: "0.1.0".into(),
        boot: "7e1b".into(),
        clock: 17,
        taken: u64::MAX,
        node: json!({"path": "/db", "ring": 0, "events": [1, 2]}),
        core: json!({"restarts": 3}),
        descriptors: vec![
            Descriptor { number: 7, kind: Kind::Pidfd, of: "4711".into() },
            Descriptor { number: 9, kind: Kind::Pipe, of: "output of /db".into() },
        ],
    }
}

fn written(draft: Draft<'_>) -> Vec<u8> {
    draft.finish(facts()).unwrap().concat()
}

/// The sample, with its state changed as JSON.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let file = sample();
    let (begin, end) = state_of(&file);
    let mut state: Value = serde_json::from_slice(&file[begin..end]).unwrap();
    change(&mut state);
    let state = serde_json::to_vec(&state).unwrap();
    [format!("TVSNAP\n1\n{}\n", state.len()).as_bytes(), &state, &file[end..]].concat()
}

fn sample() -> Vec<u8> {
    let mut draft = Draft::new();
    draft.blob(b"last lines\n".as_slice());
    draft.blob(Vec::new());
    draft.blob(b"{}".as_slice());
    written(draft)
}

/// Where the state of a well-formed file is.
fn state_of(file: &[u8]) -> (usize, usize) {
    let ends: Vec<usize> = file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let length: usize = std::str::from_utf8(&file[ends[1] + 1..ends[2]]).unwrap().parse().unwrap();
    (ends[2] + 1, ends[2] + 1 + length)
}

type AsRead<'a> = Result<(State<Value, Value>, Blobs<'a>), Unreadable>;

fn why(file: &[u8]) -> String {
    let read: AsRead<'_> = read(file);
    read.expect_err("it has to be refused").to_string()
}

#[test]
fn what_is_written_is_read_again() {
    let file = sample();
    assert!(file.starts_with(b"TVSNAP\n1\n"));
    let read: AsRead<'_> = read(&file);
    let (state, blobs) = read.unwrap();
    let Facts { version, boot, clock, taken, node, core, descriptors } = facts();
    let expected = State { format: FORMAT, version, boot, clock, taken, node, core, descriptors, blobs: Vec::new() };
    assert_eq!(state, expected);
    assert_eq!(blobs.get(Blob(0)).unwrap(), b"last lines\n");
    assert_eq!(blobs.get(Blob(1)).unwrap(), b"");
    let last = blobs.get(Blob(2)).unwrap();
    assert_eq!(last, b"{}");
    // The blob is a slice of the file, not a copy.
    assert!(file.as_ptr_range().contains(&last.as_ptr()));
    assert_eq!(blobs.get(Blob(3)).unwrap_err().to_string(), "the state refers to blob 3, of 3");
}

#[test]
fn the_state_is_json_with_these_members() {
    let file = sample();
    let (begin, end) = state_of(&file);
    assert_eq!(
        std::str::from_utf8(&file[begin..end]).unwrap(),
        concat!(
            r#"{"format":1,"version":"0.1.0","boot":"7e1b","clock":17,"taken":18446744073709551615,"#,
            r#""node":{"events":[1,2],"path":"/db","ring":0},"core":{"restarts":3},"#,
            r#""descriptors":[{"number":7,"kind":"pidfd","of":"4711"},{"number":9,"kind":"pipe","of":"output of /db"}],"#,
            r#""blobs":[{"offset":0,"length":11},{"offset":11,"length":0},{"offset":11,"length":2}]}"#,
        )
    );
}

#[test]
fn a_head_that_is_not_as_written_is_refused() {
    assert_eq!(why(b""), "it is no snapshot: it does not begin with TVSNAP and a newline");
    assert_eq!(why(b"TVSNAP 1\n"), "it is no snapshot: it does not begin with TVSNAP and a newline");
    for head in ["TVSNAP\n", "TVSNAP\n1", "TVSNAP\n\n", "TVSNAP\n+1\n", "TVSNAP\n01\n", "TVSNAP\n 1\n"] {
        assert_eq!(why(head.as_bytes()), "the number of the format is no number with a newline behind it", "{head}");
    }
    let long = format!("TVSNAP\n{}\n", "9".repeat(20));
    assert_eq!(why(long.as_bytes()), "the number of the format is no number with a newline behind it");
    assert_eq!(why(b"TVSNAP\n2\n0\n"), "it is of format 2; this treevisor reads format 1");
    assert_eq!(why(b"TVSNAP\n1\n-1\n"), "the length of the state is no number with a newline behind it");
    assert_eq!(why(b"TVSNAP\n1\n5\n{}"), "it is cut off: 2 bytes of a state of 5 are there");
    let most = format!("TVSNAP\n1\n{}\n", u64::MAX);
    assert_eq!(why(most.as_bytes()), format!("it is cut off: 0 bytes of a state of {} are there", u64::MAX));
}

#[test]
fn a_member_that_is_missing_unknown_or_twice_is_refused() {
    let file = sample();
    let (begin, end) = state_of(&file);
    let state: Value = serde_json::from_slice(&file[begin..end]).unwrap();
    for member in state.as_object().unwrap().keys() {
        let reason = why(&changed(|state| _ = state.as_object_mut().unwrap().remove(member)));
        assert!(reason.starts_with(&format!("the state: missing field `{member}`")), "{reason}");
        let reason = why(&changed(|state| {
            let all = state.as_object_mut().unwrap();
            let value = all.remove(member).unwrap();
            all.insert(format!("{member}s_new"), value);
        }));
        assert!(reason.starts_with(&format!("the state: unknown field `{member}s_new`")), "{reason}");
    }
    for list in ["descriptors", "blobs"] {
        let reason = why(&changed(|state| state[list][0]["more"] = json!(1)));
        assert!(reason.starts_with("the state: unknown field `more`"), "{reason}");
    }
    let doubled = br#"{"format":1,"format":1}"#;
    let doubled = [format!("TVSNAP\n1\n{}\n", doubled.len()).as_bytes(), doubled].concat();
    assert!(why(&doubled).starts_with("the state: duplicate field `format`"));
    let reason = why(&changed(|state| state["descriptors"][0]["kind"] = json!("wormhole")));
    assert!(reason.starts_with("the state: unknown variant `wormhole`"), "{reason}");
}

#[test]
fn a_state_that_contradicts_the_file_is_refused() {
    assert_eq!(why(&changed(|state| state["format"] = json!(2))), "the state is of format 2, the file of format 1");
    let wrong = "should begin at 0, and 13 bytes are there";
    assert!(why(&changed(|state| state["blobs"][0]["length"] = json!(14))).ends_with(wrong));
    assert!(why(&changed(|state| state["blobs"][0]["length"] = json!(u64::MAX))).ends_with(wrong));
    assert!(why(&changed(|state| state["blobs"][0]["offset"] = json!(u64::MAX))).ends_with(wrong));
    // Blobs that overlap, or have a gap between them.
    assert!(why(&changed(|state| state["blobs"][2]["offset"] = json!(10))).contains("should begin at 11"));
    assert_eq!(why(&changed(|state| state["blobs"] = json!([]))), "13 bytes after the last blob belong to none");
    assert_eq!(why(&[sample(), b"x".to_vec()].concat()), "1 bytes after the last blob belong to none");
    let once = "is listed twice, or is none";
    assert!(why(&changed(|state| state["descriptors"][1]["number"] = json!(7))).ends_with(once));
    assert!(why(&changed(|state| state["descriptors"][1]["number"] = json!(-1))).ends_with(once));
    assert!(why(&changed(|state| state["descriptors"][1]["number"] = json!(1u64 << 31))).contains("invalid value"));
}

#[test]
fn what_is_too_deep_is_refused() {
    let deep = format!("{}{}", "[".repeat(600), "]".repeat(600));
    let file = format!("TVSNAP\n1\n{}\n{deep}", deep.len());
    assert!(why(file.as_bytes()).contains("nested deeper than"));
}

proptest! {
    #[test]
    fn any_blobs_come_back(all in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6)) {
        let mut draft = Draft::new();
        let blobs: Vec<Blob> = all.iter().map(|bytes| draft.blob(bytes.as_slice())).collect();
        let file = written(draft);
        let read: AsRead<'_> = read(&file);
        let (_, found) = read.unwrap();
        for (blob, bytes) in blobs.into_iter().zip(&all) {
            prop_assert_eq!(found.get(blob).unwrap(), bytes.as_slice());
        }
    }

    #[test]
    fn nothing_that_is_read_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let file = [BEGIN, b"1\n", &bytes].concat();
        for file in [bytes, file] {
            let _: AsRead<'_> = read(&file);
        }
    }

    /// A file with one byte changed, or cut off, is refused or is still well-formed.
    #[test]
    fn a_damaged_file_is_refused_or_whole(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut file = sample();
        let at = at.index(file.len());
        if cut {
            file.truncate(at);
        } else {
            file[at] = byte;
        }
        let read: AsRead<'_> = read(&file);
        prop_assert!(!cut || read.is_err());
        if let Ok((_, blobs)) = read {
            for blob in 0..3 {
                prop_assert!(blobs.get(Blob(blob)).is_ok());
            }
        }
    }
}
