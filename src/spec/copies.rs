//! Warns if the copies of a worker share a port or the address of a probe.

use super::exec::{BeatSource, ExecSpec, ReadyProbe};
use super::probe::{Ask, Probe};
use super::source::{Finding, Place};
use super::tree::{ChildKind, ChildSpec};

/// Options whose value usually is an address to listen at.
const OPTIONS: &[&str] = &["--port", "--bind", "--listen", "--addr", "--address", "--http", "-p", "-b"];

/// Environment variables that usually hold one.
const VARIABLES: &[&str] = &["PORT", "HTTP_PORT", "LISTEN_PORT", "SERVER_PORT"];

/// A key, and the finding about its value.
pub(super) type Remark = (&'static str, Box<dyn FnOnce(Place) -> Finding>);

/// What the first two copies of each `count` share, with the first copy.
pub(super) fn shared(children: &[ChildSpec]) -> Vec<(&ChildSpec, Remark)> {
    let mut found: Vec<(&ChildSpec, Remark)> = Vec::new();
    let mut last = None;
    for pair in children.windows(2) {
        let [first, second] = pair else { continue };
        let group = first.policy.group;
        if group.is_none() || group != second.policy.group || group == last {
            continue;
        }
        last = group;
        let (ChildKind::Worker(one), ChildKind::Worker(other)) = (&first.kind, &second.kind) else { continue };
        found.extend(probes(one, other).map(|said| (first, said)));
        found.extend(port(one, other, children).map(|said| (first, said)));
    }
    found
}

/// Probes that are the same for both copies.
fn probes(one: &ExecSpec, other: &ExecSpec) -> impl Iterator<Item = Remark> {
    let liveness = one.sources.iter().filter(|source| other.sources.contains(source)).find_map(|source| match source {
        BeatSource::Probe(probe) => shared_probe("heartbeat.source", probe),
        _ => None,
    });
    let readiness = one.ready_probe.as_ref().filter(|asked| other.ready_probe.as_ref() == Some(asked));
    let readiness = readiness.and_then(|ReadyProbe { probe, .. }| shared_probe("ready", probe));
    liveness.into_iter().chain(readiness)
}

/// A probe by a command is exempt: the command gets the number of its copy.
fn shared_probe(key: &'static str, probe: &Probe) -> Option<Remark> {
    if matches!(probe.ask, Ask::Exec(_)) {
        return None;
    }
    let message = format!("all copies are probed at {}", probe.ask);
    let finding = move |place| {
        Finding::warning("shared-probe", place, message)
            .label("one that answers stands for all of them")
            .hint("give each its own: `${@n+8079}` is 8080 for the first copy, 8081 for the second")
    };
    Some((key, Box::new(finding)))
}

/// A port that both copies have. Variables that other workers have too are ignored: they come from `[defaults]` and
/// need not be meant for these workers.
fn port(one: &ExecSpec, other: &ExecSpec, children: &[ChildSpec]) -> Option<Remark> {
    let shares = one.command.iter().any(|word| word.contains("reuse"));
    if shares {
        return None;
    }
    let words = one.command.iter().enumerate().find_map(|(at, word)| {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, value),
            None => (one.command.get(at.checked_sub(1)?)?.as_str(), word.as_str()),
        };
        let same = other.command.get(at) == Some(word);
        (same && OPTIONS.contains(&option)).then(|| port_in(value)).flatten().map(|port| ("command", port))
    });
    let has = |child: &ChildSpec, name: &str, value: &str| match &child.kind {
        ChildKind::Worker(exec) => {
            exec.command != one.command && exec.env.get(name).is_some_and(|other| other == value)
        }
        ChildKind::Supervisor(_) => false,
    };
    let variable = || {
        VARIABLES.iter().find_map(|name| {
            let value = one.env.get(*name).filter(|value| other.env.get(*name) == Some(value))?;
            let common = children.iter().any(|child| has(child, name, value));
            Some(("env", port_in(value).filter(|_| !common)?))
        })
    };
    let (key, port) = words.or_else(variable)?;
    let hint = match port.checked_sub(1) {
        Some(0) | None => "give each its own, as `${@n+8079}`".to_owned(),
        Some(before) => {
            format!("write `${{@n+{before}}}`, which is {port} for the first copy and {} for the second", port + 1)
        }
    };
    Some((
        key,
        Box::new(move |place| {
            Finding::warning("shared-port", place, format!("all copies get the port {port}"))
                .label("the second one cannot listen there")
                .hint(format!("{hint}; or let the program share it (SO_REUSEPORT)"))
        }),
    ))
}

/// `8080`, or the end of `127.0.0.1:8080`.
fn port_in(text: &str) -> Option<u32> {
    let port = match text.rsplit_once(':') {
        Some((host, _)) if host.contains('/') => return None,
        Some((_, port)) => port,
        None => text,
    };
    port.parse().ok().filter(|port| (1..=65_535).contains(port))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_port_is_found_where_it_is_given() {
        let said = |command: &str, env: &str| {
            let text = format!("[[child]]\nname = \"w\"\ncount = 2\ncommand = \"{command}\"\nenv = {{ {env} }}\n");
            let read = super::super::read_text("t.toml", &text, &|_| None);
            read.diagnostics
                .iter()
                .map(|found| format!("{} {}", found.code, found.message))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let shared = "shared-port all copies get the port 8080";
        for command in ["serve --port 8080", "serve --port=8080", "serve -b 127.0.0.1:8080", "serve --bind :8080"] {
            assert_eq!(said(command, ""), shared, "{command}");
            assert_eq!(said(&command.replace("8080", "${@n+8079}"), ""), "", "{command}");
        }
        assert_eq!(said("serve", "PORT = 8080"), shared);
        for fine in [
            "serve",
            "serve 8080",
            "serve --reuse-port --port 8080",
            "work --redis redis://localhost:6379",
            "work --port x",
        ] {
            assert_eq!(said(fine, "DB_PORT = 5432"), "", "{fine}");
        }
    }

    #[test]
    fn a_probe_that_is_answered_for_all_is_found() {
        let said = |keys: &str| {
            let text = format!("[[child]]\nname = \"w\"\ncount = 2\ncommand = \"serve\"\n{keys}\n");
            let read = super::super::read_text("t.toml", &text, &|_| None);
            read.diagnostics.iter().map(|found| (found.code, found.line)).collect::<Vec<_>>()
        };
        let liveness = |probe: &str| format!("heartbeat = {{ interval = \"1s\", misses = 3, source = {{ {probe} }} }}");
        let readiness = |probe: &str| format!("ready = {{ {probe} }}\nstart-timeout = \"9s\"");
        let both = |probe: &str| format!("{}\n{}", readiness(probe), liveness(probe));
        let found = |line| ("shared-probe", line);
        for shared in ["tcp = \"127.0.0.1:8080\"", "http = \"http://127.0.0.1:8080/\""] {
            assert_eq!(said(&liveness(shared)), [found(5)]);
            assert_eq!(said(&readiness(shared)), [found(5)]);
            assert_eq!(said(&both(shared)).len(), 2);
        }
        for fine in ["http = \"http://127.0.0.1:${@n+8079}/\"", "exec = [\"probe\"]"] {
            assert!(said(&both(fine)).is_empty(), "{fine}");
        }
    }
}
