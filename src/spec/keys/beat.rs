//! `heartbeat` and its sources.

use super::super::diagnostic::quoted;
use super::super::exec::BeatSource;
use super::super::policy::Heartbeat;
use super::super::probe::{self, Ask, NoServer, NoUrl, Probe, Server};
use super::super::quote::{array, string};
use super::super::shape::{
    Boolean, Command, Duration, Positive, a_whole, any, keys, reference, shapes, table, text_like, word,
};
use super::super::source::{At, Finding, Places};
use super::super::value::{Scope, Value};
use super::switch::{SwitchValue, Table};
use crate::time::Span;
use serde_json::{Value as Json, json};
use toml::de::DeValue;

/// A heartbeat with the parts for both halves of a spec.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Beat {
    pub(in crate::spec) heartbeat: Heartbeat,
    /// The sources of a worker's beats; a supervisor's are its node's own.
    pub(in crate::spec) sources: Vec<BeatSource>,
}

impl Default for Beat {
    fn default() -> Beat {
        Beat { heartbeat: Heartbeat::default(), sources: vec![BeatSource::Zmq] }
    }
}

keys! {
    /// The keys of every heartbeat.
    NODE_BEAT of Beat {
        "interval" => Positive, always(heartbeat.interval), default("\"1s\"");
        "A beat is due this often."
        "misses" => a_whole(1, u32::MAX as i64), always(heartbeat.misses), default("3");
        "No beat for `interval` times this is a hang: the child is killed, an abnormal exit."
        "grace" => Duration, unless(Span::ZERO, heartbeat.grace), default("\"0s\"");
        "Added once, to the first deadline after a start."
    }
    /// Further keys of a worker's heartbeat.
    BEAT of Beat {
        "source" => Sources, unless([BeatSource::Zmq], sources), default("\"zmq\"");
        "Where beats come from: \"zmq\", \"notify\" (WATCHDOG=1 by sd_notify), a probe ({ exec }, { tcp }, { http }), \
         { push }; or an array of them."
        "progress" => Boolean, unless(false, heartbeat.progress), default("false");
        "Beats carry a counter; one that stands still is as bad as silence."
    }
    /// The keys of a source that is a table: all but the last are the ways to ask, of which there is one.
    SOURCE of Asked {
        "exec" => Command, by(|asked: &Asked| match asked.probe()? {
            Ask::Exec(command) => Some(command),
            _ => None,
        }, |asked, command| asked.by(Ask::Exec(command)));
        "A command that ends with exit code 0 is a beat."
        "tcp" => Tcp, by(|asked: &Asked| asked.probe().filter(|ask| matches!(ask, Ask::Tcp(_))), Asked::by);
        "A connection that is accepted is a beat: \"127.0.0.1:8080\"."
        "http" => Http, by(|asked: &Asked| asked.probe().filter(|ask| matches!(ask, Ask::Http(..))), Asked::by);
        "A GET that is answered with 2xx is a beat: \"http://127.0.0.1:8080/health\"."
        "push" => Push, by(|asked: &Asked| match asked.source.as_ref()? {
            BeatSource::Push(endpoint) => Some(endpoint),
            _ => None,
        }, |asked, endpoint| asked.source = Some(BeatSource::Push(endpoint)));
        "Any message to the PULL socket that treevisor binds there is a beat: \"ipc://heartbeat\"."
        "timeout" => Positive, optional(timeout);
        "A probe that is not answered after this long has failed; by default after the interval."
    }
}

const RIGHT: &str = "heartbeat = { interval = \"1s\", misses = 3 }, or heartbeat = false";

pub(super) static WORKERS: Table<Beat> = Table::new("heartbeat", &[NODE_BEAT, BEAT], "a table or false", RIGHT);

/// A supervisor's heartbeat; its beats are the node's own.
static NODES: Table<Beat> = Table {
    misplaced: Some((
        &["source", "progress"],
        "is not for a supervisor's heartbeat",
        "a supervisor's node beats by itself; `source` and `progress` belong to workers",
    )),
    ..Table::new("heartbeat", &[NODE_BEAT], "a table or false", RIGHT)
};

pub(super) static SOURCES: Table<Asked> = Table {
    true_is_a_table: false,
    ..Table::new(
        "source",
        &[SOURCE],
        "\"zmq\", \"notify\", or a table with one probe",
        "source = \"zmq\", \"notify\", { exec = [\"probe\"] }, { tcp = \"host:port\" }, { http = \"http://host/path\" } or \
            { push = \"ipc://path\" }",
    )
};

/// A source that is a table, while it is read.
#[derive(Default)]
pub(in crate::spec) struct Asked {
    source: Option<BeatSource>,
    timeout: Option<Span>,
}

impl Asked {
    fn probe(&self) -> Option<&Ask> {
        match self.source.as_ref()? {
            BeatSource::Probe(probe) => Some(&probe.ask),
            _ => None,
        }
    }

    fn by(&mut self, ask: Ask) {
        self.source = Some(BeatSource::Probe(Probe { ask, timeout: None }));
    }
}

/// The heartbeat that these values of a worker's key mean together, the uppermost first; the inner `None` for none.
pub(in crate::spec) fn heartbeat(
    scope: &mut Scope<'_>,
    values: &[Value<'_>],
    places: &mut Places,
) -> Option<At<Option<Beat>>> {
    let (switched, beat) = WORKERS.read(scope, values, places, Beat::default)?;
    Some(At { value: (switched.is != SwitchValue::Off).then_some(beat), place: switched.place })
}

/// As [`heartbeat`], for a supervisor.
pub(in crate::spec) fn node_heartbeat(scope: &mut Scope<'_>, values: &[Value<'_>]) -> Option<At<Option<Heartbeat>>> {
    let (switched, beat) = NODES.read(scope, values, &mut Places::new(), Beat::default)?;
    Some(At { value: (switched.is != SwitchValue::Off).then_some(beat.heartbeat), place: switched.place })
}

/// A heartbeat as TOML; a supervisor's has no sources.
pub(in crate::spec) fn show(heartbeat: &Heartbeat, sources: Option<&[BeatSource]>) -> String {
    let table = if sources.is_some() { &WORKERS } else { &NODES };
    table.show(&Beat { heartbeat: *heartbeat, sources: sources.unwrap_or_default().to_vec() })
}

/// The JSON schema of a heartbeat.
pub(in crate::spec) fn schema(worker: bool) -> Json {
    if worker { WORKERS.schema() } else { NODES.schema() }
}

/// The JSON schema of one source.
pub(in crate::spec) fn source_schema() -> Json {
    let rows = SOURCES.rows();
    let mut table = table(&rows);
    table["oneOf"] = rows[..rows.len() - 1].iter().map(|way| json!({ "required": [way.name()] })).collect();
    // A `push` source sends no request, so it has no timeout.
    table["not"] = json!({ "required": ["push", "timeout"] });
    any([word(["zmq", "notify"]), table])
}

shapes! {
    /// One source of beats or an array of them.
    Sources: Vec<BeatSource>, sources, |sources: &Vec<BeatSource>| match &**sources {
        [one] => show_source(one),
        several => array(several, show_source),
    }, any([
        reference("source"),
        json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": reference("source") }),
    ]);
    /// A server whose connection is a beat.
    Tcp: Ask, tcp, |ask: &Ask| match ask {
        Ask::Tcp(server) => string(&server.to_string()),
        ask => string(&ask.to_string()),
    }, text_like(r"(?:localhost|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|\[[^\]]+\]):[0-9]*[1-9][0-9]*");
    /// A URL whose answer is a beat.
    Http: Ask, http, |ask: &Ask| string(&ask.to_string()), text_like(
        r"http://(?:localhost|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|\[[^\]]+\])(?::[0-9]*[1-9][0-9]*)?(?:[/?#]\S*)?",
    );
    /// An endpoint that a node binds for beats.
    Push: String, push, |endpoint: &String| string(endpoint), text_like("ipc://(?:[^*]|..).{0,106}");
}

fn sources(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Vec<BeatSource>> {
    let DeValue::Array(array) = value.value else {
        return source(scope, value).map(|source| vec![source]);
    };
    let mut sources = Vec::new();
    for item in value.elements(array) {
        if let Some(source) = source(scope, item) {
            if sources.contains(&source) {
                scope.bad_value(item, "this source is there twice".into(), "remove one of them");
            }
            sources.push(source);
        }
    }
    if array.is_empty() {
        scope.bad_value(value, "`source` is empty".into(), "write source = \"zmq\", or remove the line");
        return None;
    }
    Some(sources)
}

fn source(scope: &mut Scope<'_>, value: Value<'_>) -> Option<BeatSource> {
    if matches!(value.value, DeValue::String(_)) {
        let foreign = [("zeromq", "zmq"), ("0mq", "zmq"), ("sd-notify", "notify"), ("systemd", "notify")];
        return match scope.choice(value, &[("zmq", false), ("notify", true)], &foreign)? {
            false => Some(BeatSource::Zmq),
            true => Some(BeatSource::Notify),
        };
    }
    let mut asked = Asked::default();
    let fields = SOURCES.read_alone(scope, value, &mut asked)?;
    if fields.places.keys().filter(|key| *key != "timeout").count() != 1 {
        scope.bad_value(value, "a source names exactly one probe".into(), SOURCES.right);
        return None;
    }
    let mut source = asked.source?;
    match (&mut source, fields.meant("timeout")) {
        (BeatSource::Probe(probe), _) => probe.timeout = asked.timeout,
        (_, Some(place)) => scope.report(
            Finding::error("bad-value", place, "`timeout` is for probes, and this source is none")
                .hint("remove it: without a probe there is no answer to wait for"),
        ),
        (_, None) => {}
    }
    Some(source)
}

fn show_source(source: &BeatSource) -> String {
    let timeout = match source {
        BeatSource::Zmq => return "\"zmq\"".into(),
        BeatSource::Notify => return "\"notify\"".into(),
        BeatSource::Probe(probe) => probe.timeout,
        BeatSource::Push(_) => None,
    };
    SOURCES.show(&Asked { source: Some(source.clone()), timeout })
}

fn tcp(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Ask> {
    let text = scope.text(value)?;
    match Server::parse(&text, None) {
        Ok(server) => return Some(Ask::Tcp(server)),
        Err(NoServer::Lookup(name)) => lookup(scope, value, &name, "{ exec = [\"nc\", \"-z\", \"host\", \"port\"] }"),
        Err(NoServer::Form) => scope.bad_value(
            value,
            format!("{} is no host and port", quoted(&text)),
            "write \"host:port\", as \"127.0.0.1:8080\" or \"[::1]:8080\"",
        ),
    }
    None
}

fn http(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Ask> {
    let text = scope.text(value)?;
    let hint = match probe::parse_url(&text) {
        Ok(ask) => return Some(ask),
        Err(NoUrl::Lookup(name)) => {
            lookup(scope, value, &name, "{ exec = [\"curl\", \"-fsS\", \"http://…\"] }");
            return None;
        }
        Err(NoUrl::Tls) => {
            "probes speak plain HTTP; for TLS, probe with a program: { exec = [\"curl\", \"-fsS\", \"https://…\"] }"
        }
        Err(NoUrl::Form) => "write a URL such as \"http://127.0.0.1:8080/health\"",
    };
    scope.bad_value(value, format!("{} is no URL that can be probed", quoted(&text)), hint);
    None
}

/// Refuses a host name: a supervisor that waited for a name server would hang with it.
fn lookup(scope: &mut Scope<'_>, value: Value<'_>, name: &str, instead: &str) {
    let hint = format!("write its address, or \"localhost\"; or probe with a program: {instead}");
    scope.bad_value(value, format!("{} would have to be looked up, and a probe does not", quoted(name)), hint);
}

fn push(scope: &mut Scope<'_>, value: Value<'_>) -> Option<String> {
    // The longest path that a node can bind, `os::net::SOCKET_PATH_MAX`; a test of the command line compares the two.
    const LONGEST: usize = 99;
    let text = scope.text(value)?;
    match text.strip_prefix("ipc://") {
        Some(path) if !path.is_empty() && path.len() <= LONGEST && !path.starts_with(['*', '@']) => Some(text),
        Some(path) if path.len() > LONGEST => {
            let hint = format!("the path of a socket has at most {LONGEST} bytes here");
            scope.bad_value(value, format!("this endpoint is {} bytes long", path.len()), hint);
            None
        }
        _ => {
            let hint = "write \"ipc://path\": the node binds a PULL socket there";
            scope.bad_value(value, format!("{} is no endpoint for beats", quoted(&text)), hint);
            None
        }
    }
}
