//! A store for tests: what the agents use of etcd's gateway, in memory, by HTTP on loopback.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Records {
    revision: u64,
    /// Key, as it travels, to its revision and value.
    all: BTreeMap<Vec<u8>, (u64, String)>,
}

/// The store: it ends with the test's process.
pub(crate) struct Store {
    pub(crate) url: String,
    records: Arc<Mutex<Records>>,
}

impl Store {
    pub(crate) fn start() -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let records = Arc::new(Mutex::new(Records { revision: 1, ..Records::default() }));
        let shared = Arc::clone(&records);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let records = Arc::clone(&shared);
                std::thread::spawn(move || serve(connection, &records));
            }
        });
        Store { url, records }
    }

    /// Does not answer meanwhile.
    pub(crate) fn silent<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        let _records = self.records.lock().unwrap();
        meanwhile()
    }

    /// The record with this key, as JSON.
    pub(crate) fn record(&self, key: &str) -> Option<Value> {
        let records = self.records.lock().unwrap();
        let (_, value) = records.all.get(key.as_bytes())?;
        serde_json::from_slice(&STANDARD.decode(value).unwrap()).ok()
    }
}

/// One request after the other, until the connection ends.
fn serve(mut connection: TcpStream, records: &Mutex<Records>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_lowercase();
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let path = first.split(' ').nth(1).unwrap_or_default();
        let answer = answer(path, &serde_json::from_slice(&body).unwrap_or_default(), &mut records.lock().unwrap());
        let (status, text) = match answer {
            Some(answer) => ("200 OK", answer.to_string()),
            None => ("404 Not Found", "{}".to_owned()),
        };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", text.len());
        if connection.write_all((head + &text).as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(path: &str, asked: &Value, records: &mut Records) -> Option<Value> {
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
    let shown = |key: &[u8], (revision, value): &(u64, String)| json!({ "key": STANDARD.encode(key), "mod_revision": revision.to_string(), "value": value });
    let header = |records: &Records| json!({ "cluster_id": "7", "revision": records.revision.to_string() });
    match path {
        "/v3/kv/range" => {
            let (from, to) = (bytes(&asked["key"]), bytes(&asked["range_end"]));
            let found = records.all.range(from..).take_while(|(key, _)| **key < to);
            let found: Vec<_> = found.map(|(key, record)| shown(key, record)).collect();
            Some(json!({ "header": header(records), "kvs": found, "count": found.len().to_string() }))
        }
        "/v3/kv/txn" => {
            let compare = &asked["compare"][0];
            let key = bytes(&compare["key"]);
            let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0);
            let expected = number(&compare["mod_revision"]);
            let present = records.all.get(&key).map_or(0, |(revision, _)| *revision);
            if present == expected {
                records.revision += 1;
                let put = &asked["success"][0]["request_put"];
                let put = if put.is_null() { &asked["success"][0]["requestPut"] } else { put };
                let value = put["value"].as_str().unwrap_or_default().to_owned();
                records.all.insert(key, (records.revision, value));
                return Some(json!({
                    "header": header(records), "succeeded": true,
                    "responses": [{ "response_put": { "header": { "revision": records.revision.to_string() } } }],
                }));
            }
            let found: Vec<_> = records.all.get(&key).map(|record| shown(&key, record)).into_iter().collect();
            Some(json!({
                "header": header(records),
                "responses": [{ "response_range": { "kvs": found, "count": found.len().to_string() } }],
            }))
        }
        "/v3/maintenance/status" => Some(json!({ "header": header(records), "version": "test", "dbSize": "4096" })),
        "/v3/maintenance/alarm" => Some(json!({ "header": header(records) })),
        _ => None,
    }
}
