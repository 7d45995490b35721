//! What the tool makes of the replies to an upgrade. The root is played; how real ones are upgraded is in the tests
//! with real processes.

use crate::conversation::{Act, Played, accepted, done, refused};
use crate::golden;
use serde_json::{Value, json};
use std::sync::mpsc;
use treevisor::wire::message::{Outcome, Refusal, Reply, Verb};
use treevisor::wire::upgrade::{State, Supervisor, Upgrade};

fn one(path: &str, state: State, gap_ms: Option<u64>, message: Option<&str>) -> Supervisor {
    let version = if state == State::Upgraded { "0.2.0" } else { "0.1.0" };
    Supervisor { path: path.into(), state, version: version.into(), gap_ms, message: message.map(Into::into) }
}

fn upgraded(done: bool, supervisors: &[Supervisor]) -> Reply {
    Reply::Upgraded { upgrade: Box::new(Upgrade::new("0.1.0".into(), "0.2.0".into(), done, supervisors.to_vec())) }
}

/// A root that answers an upgrade with these replies.
fn root(replies: Vec<Reply>) -> Played {
    Played::new(move |ask| match &ask.verb {
        Verb::Ping => Act::Say(vec![done(Outcome::Ok, "")]),
        Verb::Upgrade { .. } => Act::Say(replies.clone()),
        other => panic!("{other:?}"),
    })
}

#[test]
fn each_supervisor_has_a_line_and_each_end_its_words_and_exit_code() {
    let all = [
        one("/", State::Upgraded, Some(7), None),
        one("/db", State::Upgraded, Some(23), None),
        one("/web", State::Upgraded, Some(11), None),
    ];
    let some = [
        one("/", State::Upgraded, Some(7), None),
        one("/web", State::Failed, None, Some("restore: no descriptor is left\u{1b}[2J")),
        one("/web/api", State::Kept, None, None),
    ];
    let ready = [one("/", State::Ready, None, None), one("/web", State::Ready, None, None)];
    let not_ready =
        [one("/", State::Ready, None, None), one("/web", State::Failed, None, Some("it took longer than 10 s"))];
    let many: Vec<Supervisor> =
        (1..=7).map(|n| one(&format!("/s{n}"), State::Failed, None, Some("no memory"))).collect();
    let busy = "an upgrade is under way, to 0.2.0: `treevisor status` shows when it is done";
    let mut text = String::new();
    for (arguments, replies, wanted) in [
        (
            &["upgrade"][..],
            vec![accepted("rehearsing"), upgraded(false, &all[..1]), upgraded(false, &all[..2]), upgraded(true, &all)],
            0,
        ),
        (&["upgrade"], vec![upgraded(false, &some[..1]), upgraded(true, &some)], 1),
        (&["upgrade"], vec![upgraded(true, &many)], 1),
        (&["upgrade", "--check"], vec![upgraded(false, &ready[..1]), upgraded(true, &ready)], 0),
        (&["upgrade", "--check"], vec![upgraded(true, &not_ready)], 1),
        (&["upgrade", "--json"], vec![upgraded(false, &all[..1]), upgraded(true, &all)], 0),
        (&["upgrade", "--json"], vec![upgraded(true, &some)], 1),
        (&["upgrade"], vec![refused(Refusal::Busy, busy)], 1),
        (
            &["upgrade"],
            vec![
                accepted("/ is rehearsing"),
                upgraded(false, &ready[..1]),
                refused(Refusal::NotAllowed, "the rehearsal of /web has failed, and nothing was changed: it took 10 s"),
            ],
            1,
        ),
        (&["upgrade", "--json"], vec![refused(Refusal::NotAllowed, "/opt/tv: it is set-id")], 1),
        (&["upgrade"], vec![refused(Refusal::NotUnderstood, "the request was not understood")], 2),
        (&["upgrade"], vec![done(Outcome::Ok, "")], 1),
        (&["upgrade", "--timeout", "2s"], vec![upgraded(false, &all[..1])], 5),
        (&["upgrade", "--json", "--timeout", "2s"], vec![upgraded(false, &all[..1])], 5),
        (&["upgrade", "--timeout", "2s"], vec![accepted("/web is being upgraded")], 5),
        (&["upgrade", "--timeout", "300ms"], vec![], 5),
    ] {
        let (out, error, code) = root(replies).call(arguments);
        assert_eq!(code, wanted, "{arguments:?}: {error}");
        text.push_str(&format!("$ treevisor {}\n{out}---\n{error}exit code {code}\n\n", arguments.join(" ")));
    }
    golden::compare("upgrade.txt", &text);
}

#[test]
fn one_object_tells_of_all() {
    let replies = [one("/", State::Upgraded, Some(7), None), one("/web", State::Failed, None, Some("no memory"))];
    let (out, _, _) = root(vec![upgraded(false, &replies[..1]), upgraded(true, &replies)]).call(&["upgrade", "--json"]);
    assert_eq!(out.lines().count(), 1);
    let supervisors = json!([
        { "path": "/", "state": "upgraded", "version": "0.2.0", "gap_ms": 7, "message": null },
        { "path": "/web", "state": "failed", "version": "0.1.0", "gap_ms": null, "message": "no memory" },
    ]);
    let wanted = json!({
        "from": "0.1.0", "to": "0.2.0", "done": true, "supervisors": supervisors, "longest_gap_ms": 7,
    });
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), wanted);
}

#[test]
fn the_executable_is_named_by_its_whole_path_and_is_the_program_itself_by_default() {
    let (tell, told) = mpsc::channel();
    let root = Played::new(move |ask| match &ask.verb {
        Verb::Upgrade { exe, check } => {
            tell.send((exe.clone(), *check)).unwrap();
            Act::Say(vec![upgraded(true, &[one("/", State::Upgraded, Some(7), None)])])
        }
        _ => Act::Say(vec![done(Outcome::Ok, "")]),
    });
    let here = root.directory.path().canonicalize().unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_treevisor")).canonicalize().unwrap();
    for (arguments, exe, check) in [
        (&["upgrade"][..], program, false),
        (&["upgrade", "--exe", "new/treevisor", "--check"], here.join("new/treevisor"), true),
        (&["upgrade", "--exe", "/opt/treevisor"], "/opt/treevisor".into(), false),
    ] {
        assert_eq!(root.call(arguments).2, 0);
        assert_eq!(told.recv().unwrap(), (exe, check), "{arguments:?}");
    }
    assert_eq!(root.call(&["upgrade", "--exe", ""]).2, 2);
}

/// A root that has gone on with the other executable has lost what was asked of it meanwhile.
#[test]
fn an_upgrade_is_asked_again_where_nothing_comes() {
    let mut times = 0;
    let root = Played::new(move |ask| match &ask.verb {
        Verb::Upgrade { .. } => {
            times += 1;
            match times {
                1 => Act::Say(Vec::new()),
                2 => Act::Say(vec![upgraded(false, &[one("/", State::Upgraded, Some(7), None)])]),
                _ => Act::Say(vec![upgraded(true, &[one("/", State::Upgraded, Some(7), None)])]),
            }
        }
        _ => Act::Say(vec![done(Outcome::Ok, "")]),
    });
    let (out, error, code) = root.call(&["upgrade"]);
    assert_eq!((error.as_str(), code), ("", 0));
    assert_eq!(out.lines().count(), 2, "{out}");
}
