//! `ready`: what makes a worker ready.

use super::super::exec::{ExecSpec, ReadyProbe};
use super::super::policy::{ChildPolicy, Ready, Words};
use super::super::probe::{Ask, Probe};
use super::super::quote::string;
use super::super::shape::{Command, Positive, Shape, any, keys, table};
use super::super::source::{At, Places};
use super::super::value::{Scope, Value};
use super::beat::{Http, Tcp};
use super::switch::Table;
use crate::time::Span;
use serde_json::{Value as Json, json};
use toml::de::DeValue;

/// A probe is repeated this often unless `interval` says otherwise.
const INTERVAL: Span = Span::from_secs(1);

/// A readiness probe, while its table is read.
pub(in crate::spec) struct Asked {
    ask: Option<Ask>,
    timeout: Option<Span>,
    interval: Span,
}

keys! {
    /// The keys of a readiness probe: the first three are the ways to ask, of which there is one.
    PROBE of Asked {
        "exec" => Command, by(|asked: &Asked| match asked.ask.as_ref()? {
            Ask::Exec(command) => Some(command),
            _ => None,
        }, |asked, command| asked.ask = Some(Ask::Exec(command)));
        "A command that ends with exit code 0 once the worker is ready."
        "tcp" => Tcp, by(|asked: &Asked| asked.ask.as_ref().filter(|ask| matches!(ask, Ask::Tcp(_))),
            |asked, ask| asked.ask = Some(ask));
        "A connection that is accepted once it is: \"127.0.0.1:8080\"."
        "http" => Http, by(|asked: &Asked| asked.ask.as_ref().filter(|ask| matches!(ask, Ask::Http(..))),
            |asked, ask| asked.ask = Some(ask));
        "A GET that is answered with 2xx once it is: \"http://127.0.0.1:8080/ready\"."
        "interval" => Positive, always(interval), default("\"1s\"");
        "It is probed this often; sooner in the beginning."
        "timeout" => Positive, optional(timeout);
        "A probe that is not answered after this long has failed; by default after the interval."
    }
}

const WAYS: [&str; 3] = ["exec", "tcp", "http"];

const RIGHT: &str =
    "ready = \"notify\", or a probe: { http = \"http://host/path\" }, { tcp = \"host:port\" }, { exec = [\"probe\"] }";

pub(super) static PROBES: Table<Asked> =
    Table { true_is_a_table: false, ..Table::new("ready", &[PROBE], "a word, or a table with one probe", RIGHT) };

/// Words of other supervisors for values of `ready`.
const FOREIGN: &[(&str, &str)] = &[
    ("simple", "exec"),
    ("beat", "heartbeat"),
    ("sd-notify", "notify"),
    ("oneshot", "exit"),
    ("exited", "exit"),
    ("done", "exit"),
    ("completed", "exit"),
    ("success", "exit"),
];

/// What makes a worker ready, with the probe if it is one.
type Readiness = (Ready, Option<ReadyProbe>);

/// The readiness that these values mean together, the uppermost first.
pub(in crate::spec) fn ready(
    scope: &mut Scope<'_>,
    values: &[Value<'_>],
    places: &mut Places,
) -> Option<At<Readiness>> {
    IsReady.merge(scope, values, places)
}

/// The value as TOML, unless it is the default.
pub(in crate::spec) fn show(policy: &ChildPolicy, exec: &ExecSpec) -> Option<String> {
    (policy.ready != Ready::Exec).then(|| IsReady.show(&(policy.ready, exec.ready_probe.clone())))
}

/// The JSON schema of `ready`.
pub(in crate::spec) fn schema() -> Json {
    IsReady.schema()
}

/// The values that are words; a probe is a table.
fn words() -> Vec<(&'static str, Ready)> {
    Ready::WORDS.iter().copied().filter(|(_, ready)| *ready != Ready::Probe).collect()
}

struct IsReady;

impl Shape for IsReady {
    type Parsed = Readiness;

    fn read(&self, scope: &mut Scope<'_>, value: Value<'_>) -> Option<Readiness> {
        if matches!(value.value, DeValue::String(_)) {
            return Some((scope.choice_or(value, &words(), FOREIGN, ", or a table with one probe")?, None));
        }
        let mut asked = Asked { ask: None, timeout: None, interval: INTERVAL };
        let fields = PROBES.read_alone(scope, value, &mut asked)?;
        if fields.places.keys().filter(|key| WAYS.contains(&key.as_str())).count() != 1 {
            scope.bad_value(value, "`ready` names exactly one probe".into(), RIGHT);
            return None;
        }
        let probe = Probe { ask: asked.ask?, timeout: asked.timeout };
        Some((Ready::Probe, Some(ReadyProbe { probe, interval: asked.interval })))
    }

    fn show(&self, (ready, probe): &Readiness) -> String {
        match probe {
            Some(ReadyProbe { probe, interval }) => {
                PROBES.show(&Asked { ask: Some(probe.ask.clone()), timeout: probe.timeout, interval: *interval })
            }
            None => string(ready.word()),
        }
    }

    fn schema(&self) -> Json {
        let rows = PROBES.rows();
        let mut probe = table(&rows);
        probe["oneOf"] = WAYS.iter().map(|way| json!({ "required": [way] })).collect();
        any([super::super::shape::word(words().iter().map(|(word, _)| *word)), probe])
    }
}
