//! The JSON of events is unchanged to the byte since the first version, and unknown content is passed on unchanged.

use super::*;
use crate::explain::sentence::of;
use serde_json::json;

/// The fields of each kind as journals have them: once all, once as few as possible.
const FIELDS: &[(&str, &[&str])] = &[
    ("starting", &[""]),
    ("started", &[r#","adopted":true,"host":"b""#, r#","from":"a","host":"b""#, ""]),
    ("ready", &[""]),
    (
        "beat_late",
        &[
            r#","age_ms":1500,"limit_ms":3000,"probe":"it answers 503","spared":"its cgroup is frozen""#,
            r#","age_ms":1500,"limit_ms":3000,"spared":null"#,
        ],
    ),
    ("unreachable", &[r#","host":"b","why":"there is no link to b""#, r#","why":"x""#]),
    ("reachable", &[r#","host":"b","silent_ms":9500"#, r#","silent_ms":9500"#]),
    (
        "hung",
        &[
            r#","age_ms":3000,"beats":{"age_ms":3001,"count":4,"missed":2,"pending":0,"progress":7},"by_its_word":true,"limit_ms":3000,"no_progress":false,"probe":"x","seen":"was asleep""#,
            r#","age_ms":3000,"beats":{"age_ms":null,"count":0,"missed":2},"limit_ms":3000,"no_progress":true"#,
        ],
    ),
    (
        "dropped",
        &[
            r#","by_strangers":0,"connections":0,"malformed":3,"sender":null,"too_long":0,"too_many":5,"unknown_token":0"#,
            r#","by_strangers":0,"connections":0,"lost_events":904,"malformed":0,"sender":null,"too_long":0,"too_many":0,"unknown_token":0"#,
        ],
    ),
    (
        "exited",
        &[
            r#","beats":{"age_ms":400,"count":11,"missed":0,"progress":7},"core_dumped":true,"expected":false,"explanation":"x","killed":"shutdown_over","left_behind":true,"limit":"cpu","limits":{"as":1,"cpu":2},"machine_oom_kills":1,"normal":false,"oom_killed":true,"output":["a","b"],"signal":9,"signal_name":"SIGKILL","status_text":"page 7","uptime_ms":7000,"usage":{"cpu_ms":30,"peak_memory_bytes":null}"#,
            r#","code":0,"expected":true,"normal":true,"uptime_ms":1"#,
            r#","expected":false,"lost_with":"b","normal":false,"uptime_ms":1"#,
            // As the first version wrote it.
            r#","code":3"#,
            // As a later one may.
            r#","code":3,"expected":true,"killed":"boredom""#,
        ],
    ),
    ("kill_failed", &[r#","others":1,"reason":"it is stuck in the kernel (state D)","survivor":71"#]),
    (
        "restarting",
        &[
            r#","delay_ms":0,"max":3,"period_ms":30000,"strategy":"one-for-all","used":2"#,
            r#","delay_ms":0,"max":null,"period_ms":30000,"strategy":"one-for-one","used":2"#,
        ],
    ),
    (
        "failed_over",
        &[
            r#","from":"b","strategy":"one-for-one""#,
            r#","strategy":"one-for-all""#,
            r#","from":"b","lease_age_ms":15200,"strategy":"one-for-one","why":"b is lost""#,
            r#","from":"b""#,
        ],
    ),
    ("no_host", &[r#","why":"a: it is being drained""#]),
    ("stopping", &[r#","by":"uid 0","why":"operator""#, r#","why":"supervisor_ends""#, r#","why":"boredom""#]),
    ("stopped", &[""]),
    ("escalated", &[r#","explanation":"x""#]),
    ("gave_up", &[r#","child":"jobs","max":3,"period_ms":30000,"used":4"#]),
    ("auto_shutdown", &[r#","child":"jobs""#]),
    ("main_pid", &[r#","before":4711"#]),
    ("succeeded", &[r#","before":1"#, r#","before":1,"beside":"successor""#]),
    ("panic", &[r#","by":"uid 0","hold":true"#]),
    ("held", &["", r#","again":true,"by":"uid 0","since":"2026-01-02T03:04:05Z""#]),
    ("released", &[r#","by":"uid 0""#]),
    ("reloaded", &[r#","added":1,"by":"SIGHUP","generation":2,"kept":3,"removed":0,"restarted":0,"updated":1"#]),
    (
        "rollout",
        &[
            r#","by":"SIGHUP","reload":true,"stage":"begun","total":4,"updated":0"#,
            r#","behind":["/a-3"],"behind_count":2,"by":"SIGHUP","failed":"/a-3","not_restored":"no","reload":true,"stage":"stopped","total":4,"updated":2,"why":"it exited""#,
        ],
    ),
    ("upgraded", &[r#","by":"uid 0","from":"0.1.0","gap_ms":23,"to":"0.2.0""#]),
    (
        "upgrade_failed",
        &[
            r#","message":"it took 10 s","stage":"rehearsal","to":"0.2.0""#,
            r#","message":"x","stage":"exec","to":"0.2.0""#,
            r#","message":"x","stage":"restore","to":"0.2.0""#,
            r#","message":"x","stage":"boredom","to":"0.2.0""#,
        ],
    ),
    ("start_failed", &[r#","errno":2,"message":"exec ./api: No such file","retry":true,"stage":"exec""#]),
];

fn line(kind: &str, fields: &str) -> String {
    format!(
        r#"{{"id":"00000001-2","at":"2026-01-02T03:04:05.000000000Z","path":"/db","kind":"{kind}","pid":7,"incarnation":null,"cause":"00000001-1"{fields}}}"#
    )
}

#[test]
fn every_kind_is_read_and_written_to_the_byte() {
    assert!(FIELDS.iter().map(|(kind, _)| kind).eq(EventBody::KINDS), "a line for every kind, in their order");
    for (kind, all) in FIELDS {
        for fields in *all {
            let line = line(kind, fields);
            let event: EventView = serde_json::from_str(&line).unwrap();
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
            assert_eq!(event.kind(), *kind);
            assert!(event.more.is_empty() && !matches!(event.body, EventBody::Other { .. }), "{event:?}");
            // An event that stands for many has more fields; all are in the order of their names.
            let mut many: Map<String, Value> =
                serde_json::from_str(&format!("{{{}}}", fields.trim_start_matches(','))).unwrap();
            many.insert("count".into(), json!(412));
            many.insert("first".into(), json!("2026-01-02T03:04:05Z"));
            many.insert("last".into(), json!("2026-01-02T03:09:05Z"));
            many.insert("of_tomorrow".into(), json!([1]));
            let fields = Value::Object(many).to_string();
            let line = self::line(kind, &format!(",{}", &fields[1..fields.len() - 1]));
            let event: EventView = serde_json::from_str(&line).unwrap();
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
            assert_eq!((event.times(), event.more.len()), (412, 1), "{event:?}");
        }
    }
}

#[test]
fn what_is_not_as_expected_is_passed_on_and_shown_as_it_is() {
    for (kind, fields) in [
        ("of_tomorrow", r#","x":1"#),
        ("hung", ""),
        ("restarting", r#","with":3"#),
        ("exited", r#","code":"one""#),
        ("gave_up", r#","child":"jobs","max":-1,"period_ms":30000,"used":4"#),
        ("", r#","count":"many""#),
    ] {
        let line = line(kind, fields);
        let event: EventView = serde_json::from_str(&line).unwrap();
        assert!(matches!(event.body, EventBody::Other { .. }), "{event:?}");
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
        assert_eq!(event.kind(), kind);
        assert!(of(&event).starts_with(&format!("/db {kind}")), "{}", of(&event));
    }
    assert!(serde_json::from_str::<EventView>(r#"{"id":"1-1"}"#).is_err());
}
