//! Requests to etcd's JSON gateway, and its answers. Keys and values are base64, 64-bit numbers are strings. etcd omits
//! a field that is false, zero or empty; so an answer is recognized by the fields that it cannot omit.
use crate::store::{Answer, Record, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::json;

/// Reads all keys with this prefix. Not `serializable`, so a member that is cut off from the others does not answer
/// with stale data.
pub(super) fn range(prefix: &str) -> String {
    let mut end = prefix.as_bytes().to_vec();
    // The first key after all of those. UTF-8 has no byte 0xff, so adding one never overflows; zero stands for "to the
    // end".
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    let from = if prefix.is_empty() { STANDARD.encode([0]) } else { STANDARD.encode(prefix) };
    json!({ "key": from, "range_end": STANDARD.encode(end) }).to_string()
}

/// A transaction: one comparison; if it holds, one write; if not, a read of the record.
pub(super) fn swap(key: &str, expected: Option<Version>, new: &[u8]) -> String {
    let key = STANDARD.encode(key);
    let compare = match expected {
        Some(version) => {
            json!({ "key": key, "target": "MOD", "result": "EQUAL", "mod_revision": version.to_string() })
        }
        None => json!({ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" }),
    };
    json!({
        "compare": [compare],
        "success": [{ "request_put": { "key": key, "value": STANDARD.encode(new) } }],
        "failure": [{ "request_range": { "key": key } }],
    })
    .to_string()
}

#[derive(Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct Header {
    cluster_id: String,
    #[serde(deserialize_with = "number")]
    revision: u64,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    #[serde(deserialize_with = "number")]
    mod_revision: u64,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Transaction {
    header: Header,
    #[serde(default)]
    succeeded: bool,
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    response_put: Option<serde::de::IgnoredAny>,
    response_range: Option<Found>,
}

/// A range within a transaction.
#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct Status {
    header: Header,
    #[serde(default)]
    version: String,
    #[serde(rename = "dbSize", deserialize_with = "number")]
    size: u64,
}

#[derive(Deserialize)]
struct Alarms {
    #[serde(default)]
    alarms: Vec<Alarm>,
}

#[derive(Deserialize)]
struct Alarm {
    #[serde(default)]
    alarm: String,
}

pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    String::deserialize(from)?.parse().map_err(|_| serde::de::Error::custom("no number"))
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("its answer is none of etcd's: {error}"))
}

/// The records of a range, and the id of the cluster that sent them.
pub(super) fn read_range(body: &[u8]) -> Result<(String, Vec<Record>), String> {
    let range: Range = parse(body)?;
    Ok((range.header.cluster_id, records(range.kvs)?))
}

/// The outcome of a swap, and the id of the cluster that sent it.
pub(super) fn read_swap(body: &[u8], key: &str) -> Result<(String, Answer), String> {
    let mut reply: Transaction = parse(body)?;
    let nonsense = || "its answer is none to a swap".to_owned();
    let [response] = reply.responses.as_mut_slice() else { return Err(nonsense()) };
    let answer = match (reply.succeeded, response.response_put.is_some(), response.response_range.take()) {
        // All writes of one transaction share one revision, which the header has.
        (true, true, None) => Answer::Done(reply.header.revision),
        (false, false, Some(range)) => {
            let mut found = records(range.kvs)?;
            if found.len() > 1 || found.iter().any(|record| record.key != key) {
                return Err(nonsense());
            }
            Answer::Lost(found.pop())
        }
        _ => return Err(nonsense()),
    };
    Ok((reply.header.cluster_id, answer))
}

fn records(found: Vec<KeyValue>) -> Result<Vec<Record>, String> {
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| "its answer has base64 that is none".to_owned());
    let mut records = Vec::with_capacity(found.len());
    for one in found {
        let value = decode(&one.value)?;
        // Keys of treevisor are UTF-8; another key belongs to another program, and is skipped.
        if let Ok(key) = String::from_utf8(decode(&one.key)?) {
            records.push(Record { key, version: one.mod_revision, value });
        }
    }
    Ok(records)
}

/// The cluster's id, etcd's version, and the size of its data in bytes.
pub(super) fn read_status(body: &[u8]) -> Result<(String, String, u64), String> {
    let status: Status = parse(body)?;
    Ok((status.header.cluster_id, status.version, status.size))
}

/// The names of the alarms, each once.
pub(super) fn read_alarms(body: &[u8]) -> Result<Vec<String>, String> {
    let alarms: Alarms = parse(body)?;
    // The first alarm type is "none", which etcd omits.
    let mut names: Vec<String> =
        alarms.alarms.into_iter().map(|one| one.alarm).filter(|name| !name.is_empty()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The quota in etcd's own metrics, in the text format of Prometheus.
pub(super) fn quota_in(metrics: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(metrics).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("etcd_server_quota_backend_bytes "))?;
    let bytes: f64 = value.trim().parse().ok()?;
    // `as` saturates.
    (bytes >= 1.0).then_some(bytes as u64)
}

/// The text of an answer with an error, for people.
pub(super) fn complaint(body: &[u8]) -> String {
    let text: String = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => ["message", "error"]
            .iter()
            .find_map(|key| value.get(key)?.as_str())
            .map(|text| text.chars().take(200).collect())
            .unwrap_or_default(),
        Err(_) => String::new(),
    };
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_as_etcd_reads_them() {
        assert_eq!(range("/a/"), r#"{"key":"L2Ev","range_end":"L2Ew"}"#);
        assert_eq!(range(""), r#"{"key":"AA==","range_end":"AA=="}"#);
        let text = swap("k", Some(7), b"v");
        assert!(text.contains(r#""mod_revision":"7""#) && text.contains(r#""value":"dg==""#), "{text}");
        assert!(swap("k", None, b"").contains(r#""create_revision":"0""#));
    }

    #[test]
    fn what_etcd_answers_is_read() {
        let header = r#""header":{"cluster_id":"14","member_id":"8","revision":"42","raft_term":"2"}"#;
        let there = r#"{"key":"aw==","create_revision":"3","mod_revision":"41","version":"2","value":"dg=="}"#;
        let record = Record { key: "k".into(), version: 41, value: b"v".into() };
        let done = format!(r#"{{{header},"succeeded":true,"responses":[{{"response_put":{{{header}}}}}]}}"#);
        assert_eq!(read_swap(done.as_bytes(), "k"), Ok(("14".into(), Answer::Done(42))));
        let lost = format!(r#"{{{header},"responses":[{{"response_range":{{"kvs":[{there}],"count":"1"}}}}]}}"#);
        assert_eq!(read_swap(lost.as_bytes(), "k"), Ok(("14".into(), Answer::Lost(Some(record.clone())))));
        assert!(read_swap(lost.as_bytes(), "other").is_err());
        let none = format!(r#"{{{header},"responses":[{{"response_range":{{{header}}}}}]}}"#);
        assert_eq!(read_swap(none.as_bytes(), "k"), Ok(("14".into(), Answer::Lost(None))));
        let found = format!(r#"{{{header},"kvs":[{there},{{"key":"/w==","mod_revision":"1"}}],"count":"2"}}"#);
        assert_eq!(
            read_range(found.as_bytes()),
            Ok(("14".into(), vec![record])),
            "a key that is no text is passed over"
        );
        assert_eq!(read_range(format!("{{{header}}}").as_bytes()), Ok(("14".into(), vec![])));
    }

    #[test]
    fn what_lacks_a_member_is_no_answer() {
        let header = r#""header":{"cluster_id":"14","revision":"42"}"#;
        for text in [
            "",
            "{}",
            "null",
            "[]",
            "<html>",
            r#"{"succeeded":true}"#,
            &format!("{{{header}}}"),
            &format!(r#"{{{header},"succeeded":true,"responses":[]}}"#),
            &format!(r#"{{{header},"succeeded":true,"responses":[{{}}]}}"#),
            &format!(r#"{{{header},"succeeded":true,"responses":[{{"response_range":{{}}}}]}}"#),
            &format!(r#"{{{header},"responses":[{{"response_put":{{}}}}]}}"#),
            &format!(r#"{{{header},"responses":[{{"response_range":{{}}}},{{"response_range":{{}}}}]}}"#),
            r#"{"header":{"cluster_id":"1"},"succeeded":true,"responses":[{"response_put":{}}]}"#,
            r#"{"header":{"cluster_id":"1","revision":"-1"},"succeeded":true,"responses":[{"response_put":{}}]}"#,
        ] {
            assert!(read_swap(text.as_bytes(), "k").is_err(), "{text}");
        }
        assert!(read_range(b"{}").is_err() && read_range(br#"{"kvs":[]}"#).is_err());
        assert!(read_status(b"{}").is_err() && read_alarms(b"").is_err());
    }

    #[test]
    fn how_it_does_is_read() {
        let header = r#""header":{"cluster_id":"14","revision":"42"}"#;
        let status = format!(r#"{{{header},"version":"3.4.23","dbSize":"20480","leader":"8","raftIndex":"4"}}"#);
        assert_eq!(read_status(status.as_bytes()), Ok(("14".into(), "3.4.23".into(), 20_480)));
        let alarms =
            format!(r#"{{{header},"alarms":[{{"memberID":"1","alarm":"NOSPACE"}},{{"alarm":"NOSPACE"}},{{}}]}}"#);
        assert_eq!(read_alarms(alarms.as_bytes()), Ok(vec!["NOSPACE".into()]));
        assert_eq!(read_alarms(b"{}"), Ok(vec![]), "etcd 3.4 fills in no header");
        let metrics = b"# HELP x\netcd_server_quota_backend_bytes 2.147483648e+09\netcd_other 1\n";
        assert_eq!(quota_in(metrics), Some(2_147_483_648));
        assert_eq!(
            (quota_in(b"etcd_server_quota_backend_bytes 0\n"), quota_in(b""), quota_in(b"\xff")),
            (None, None, None)
        );
        assert_eq!(complaint(br#"{"error":"etcdserver: no space","message":"no space","code":8}"#), ": no space");
        assert_eq!((complaint(b"<html>"), complaint(b"{}")), (String::new(), String::new()));
    }
}
