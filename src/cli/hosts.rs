//! `treevisor hosts`: the cluster as this host sees it.

use super::agent;
use super::failure::{ExitCode, Failure};
use super::options::ColorMode;
use super::out::Out;
use super::render::Look;
use super::render::table::{Cell, Column, Table};
use crate::text;
use crate::time::Span;
use crate::wire::hosts::{HostView, HostsView, PlacedView, SubtreeView};
use anstyle::{AnsiColor, Style};
use clap::Args;

/// Show the hosts of the cluster, and what runs on which
///
/// The first line is the cluster's store. Then its hosts, with what is left of their leases, and the trees that are
/// deployed, each with the host that its root runs on, and below it its subtrees with a `placement`, each with its own.
#[derive(Debug, Args)]
#[command(after_long_help = "\
States of a host:
  joining   it has no lease yet; so a host shows itself
  live      it renews its lease
  draining  the same, and nothing new is started there
  fenced    its lease is over, and it waits for another; so a host shows itself, others as lost
  lost      it was declared dead: nothing of its lease runs there any more
  left      its agent was stopped in order

Examples:
  treevisor hosts
  treevisor hosts --json | jq -r '.instances[] | [.instance, .host] | @tsv'

Exit codes:
  0  done
  5  the agent does not answer
  6  no agent runs here
")]
pub struct Hosts {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: Hosts, when: ColorMode) -> Result<ExitCode, Failure> {
    let view = agent::hosts("list the hosts")?;
    let mut out = Out::open();
    if args.json {
        out.write_json(&view)?;
    } else {
        out.write(&draw(&view, Look::of_stdout(when)))?;
    }
    Ok(ExitCode::Done)
}

/// How many failures a store of so many members tolerates, in words. It needs a majority.
fn borne(members: u64) -> String {
    match (members, members.saturating_sub(1) / 2) {
        (1, _) => " (of one member: not to be lost)".to_owned(),
        (_, 0) => format!(" (of {members} members: none may be lost)"),
        (_, may) => format!(" (of {members} members: {may} may be lost)"),
    }
}

fn draw(view: &HostsView, look: Look) -> String {
    let HostsView { cluster, store, hosts, instances, .. } = view;
    let age = store.age_ms.map(|age| format!(", answered {} ago", Span::from_millis(age).coarse()));
    let mut text = format!(
        "cluster {cluster}; store {}{} {}{}\n\n",
        store.kind,
        store.members.map(borne).unwrap_or_default(),
        if store.state == "ok" { "answers" } else { "DOES NOT ANSWER" },
        age.unwrap_or_default()
    );
    text.push_str(&hosts_table(hosts).draw(look));
    if !instances.is_empty() {
        text.push('\n');
        text.push_str(&instances_table(instances).draw(look));
    }
    text
}

fn plain(text: impl Into<String>) -> Cell {
    Cell::new(text, Style::new())
}

/// The position of the column LINK.
const LINK: usize = 4;

fn hosts_table(hosts: &[HostView]) -> Table {
    let mut columns = vec![
        Column::left("HOST", 0),
        Column::left("STATE", 0),
        Column::right("EPOCH", 3),
        Column::right("LEASE", 1),
        Column::right("RUNS", 1),
        Column::left("VERSION", 4),
        Column::left("NOTE", 2).cut_to(20),
    ];
    // Without connections between agents there are no link states to show.
    let linked = hosts.iter().any(|host| host.link.is_some());
    if linked {
        columns.insert(LINK, Column::left("LINK", 1));
    }
    let row = |host: &HostView| {
        let style = match host.state.as_str() {
            "live" => AnsiColor::Green.on_default(),
            "draining" | "joining" => AnsiColor::Yellow.on_default(),
            _ => AnsiColor::Red.on_default(),
        };
        let no_cgroup =
            (!host.cgroup && host.state != "lost").then(|| "no cgroup that it may kill: runs nothing".to_owned());
        let broken = host.link_note.as_ref().map(|why| format!("no link: {why}"));
        let mut cells = vec![
            plain(host.name.clone()),
            Cell::new(host.state.clone(), style),
            plain(host.epoch.to_string()),
            plain(host.lease_left_ms.map(|left| Span::from_millis(left).coarse()).unwrap_or_default()),
            plain(host.placed.to_string()),
            plain(host.version.clone()),
            plain(host.note.clone().or(broken).or(no_cgroup).unwrap_or_default()),
        ];
        if linked {
            let style = if host.link.as_deref() == Some("down") { AnsiColor::Red.on_default() } else { Style::new() };
            cells.insert(LINK, Cell::new(host.link.clone().unwrap_or_else(|| "-".into()), style));
        }
        cells
    };
    Table { columns, rows: hosts.iter().map(row).collect() }
}

fn instances_table(instances: &[PlacedView]) -> Table {
    let columns = vec![
        Column::left("TREE", 0),
        Column::left("WANTED", 2),
        Column::left("HOST", 0),
        Column::right("TOKEN", 3),
        Column::left("BUNDLE", 4),
        Column::left("NOTE", 1).cut_to(20),
    ];
    let row = |one: &PlacedView| {
        let digest = one.digest.as_deref().unwrap_or_default();
        // If the tree runs nowhere although it should, show the reasons.
        let why = || {
            let reasons = one.candidates.iter().filter(|candidate| !candidate.fit);
            let reasons: Vec<_> = reasons.map(|candidate| format!("{}: {}", candidate.host, candidate.why)).collect();
            (one.wanted == "up" && one.host.is_none() && !reasons.is_empty()).then(|| reasons.join("; "))
        };
        vec![
            plain(one.instance.clone()),
            plain(one.wanted.clone()),
            plain(one.host.clone().unwrap_or_else(|| "-".into())),
            plain(one.token.map(|token| token.to_string()).unwrap_or_default()),
            plain(text::cut(digest, 12)),
            plain(one.note.clone().or_else(why).unwrap_or_default()),
        ]
    };
    let below = |one: &SubtreeView| {
        vec![
            plain(format!("  {}", one.path)),
            plain(""),
            plain(one.host.clone().unwrap_or_else(|| "-".into())),
            plain(one.token.to_string()),
            plain(""),
            plain(one.note.clone().unwrap_or_default()),
        ]
    };
    let rows = |one: &PlacedView| std::iter::once(row(one)).chain(one.subtrees.iter().map(below)).collect::<Vec<_>>();
    Table { columns, rows: instances.iter().flat_map(rows).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hosts::{CandidateView, StoreView};
    use std::collections::BTreeMap;

    fn host(name: &str, state: &str) -> HostView {
        HostView {
            name: name.into(),
            state: state.into(),
            epoch: 3,
            lease_left_ms: (state == "live").then_some(12_300),
            link: None,
            link_note: None,
            placed: u32::from(state == "live"),
            labels: BTreeMap::new(),
            draining: false,
            version: "0.1.0".into(),
            protocol: 1,
            cgroup: name != "c",
            witness: false,
            address: None,
            note: None,
        }
    }

    fn view() -> HostsView {
        let tree = |instance: &str, host: Option<&str>, candidates: Vec<CandidateView>| PlacedView {
            instance: instance.into(),
            wanted: "up".into(),
            digest: Some("0123456789abcdef".into()),
            host: host.map(str::to_owned),
            token: Some(7),
            since_ms: None,
            note: None,
            candidates,
            subtrees: Vec::new(),
        };
        let subtree = |path: &str, host: Option<&str>| SubtreeView {
            path: path.into(),
            host: host.map(str::to_owned),
            token: 3,
            since_ms: None,
            note: None,
        };
        let subtrees = vec![subtree("/db", Some("c")), subtree("/mq", None)];
        let unfit = CandidateView { host: "a".into(), fit: false, why: "it is being drained".into() };
        HostsView {
            cluster: "shop".into(),
            here: "a".into(),
            store: StoreView {
                kind: "etcd".into(),
                state: "ok".into(),
                endpoints: vec!["http://127.0.0.1:2379".into()],
                age_ms: Some(400),
                members: None,
                size_bytes: Some(4_096),
                quota_bytes: None,
            },
            hosts: vec![host("a", "live"), host("b", "lost"), host("c", "live")],
            instances: vec![
                PlacedView { subtrees, ..tree("web", Some("a"), Vec::new()) },
                tree("mail", None, vec![unfit]),
            ],
        }
    }

    #[test]
    fn hosts_and_trees_are_drawn_with_what_keeps_them_from_running() {
        assert_eq!(
            draw(&view(), Look::PLAIN),
            "\
cluster shop; store etcd answers, answered 0.4s ago

HOST  STATE  EPOCH  LEASE  RUNS  VERSION  NOTE
a     live       3    12s     1  0.1.0
b     lost       3            0  0.1.0
c     live       3    12s     1  0.1.0    no cgroup that it may kill: runs nothing

TREE   WANTED  HOST  TOKEN  BUNDLE        NOTE
web    up      a         7  0123456789ab
  /db          c         3
  /mq          -         3
mail   up      -         7  0123456789ab  a: it is being drained
"
        );
    }

    #[test]
    fn what_a_store_bears_that_hosts_run_is_shown() {
        let first = |members| {
            let mut view = view();
            view.store.members = Some(members);
            draw(&view, Look::PLAIN).lines().next().unwrap().to_owned()
        };
        assert!(first(1).contains("store etcd (of one member: not to be lost) answers"));
        assert!(first(2).contains("(of 2 members: none may be lost)"));
        assert!(first(3).contains("(of 3 members: 1 may be lost)"));
    }

    #[test]
    fn links_are_shown_where_there_are_any() {
        let mut view = view();
        view.instances.clear();
        view.hosts[1].link = Some("down".into());
        view.hosts[1].link_note = Some("it is of the cluster mill".into());
        view.hosts[2].link = Some("up".into());
        assert_eq!(
            draw(&view, Look::PLAIN),
            "\
cluster shop; store etcd answers, answered 0.4s ago

HOST  STATE  EPOCH  LEASE  LINK  RUNS  VERSION  NOTE
a     live       3    12s  -        1  0.1.0
b     lost       3         down     0  0.1.0    no link: it is of the cluster mill
c     live       3    12s  up       1  0.1.0    no cgroup that it may kill: runs nothing
"
        );
    }

    #[test]
    fn the_json_keeps_its_keys() {
        let value = serde_json::to_value(view()).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(keys(&value), "cluster here hosts instances store");
        assert_eq!(keys(&value["store"]), "age_ms endpoints kind members quota_bytes size_bytes state");
        assert_eq!(
            keys(&value["hosts"][0]),
            "address cgroup draining epoch labels lease_left_ms link link_note name note placed protocol state version"
        );
        assert_eq!(keys(&value["instances"][0]), "candidates digest host instance note since_ms subtrees token wanted");
        assert_eq!(keys(&value["instances"][0]["subtrees"][0]), "host note path since_ms token");
    }
}
