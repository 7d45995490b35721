//! The metrics of a cluster's hosts: a pure function of one answer of the agent on this machine.
//!
//! The values are what this host sees. If several hosts are scraped, each gives the same series, distinguished by
//! Prometheus's target labels. Differences between them point to a fault of the network.

use super::page::{Kind, Millis, Page, label};
use crate::wire::hosts::{HostView, HostsView, PlacedView, SubtreeView};
use std::fmt::Display;

/// Appends the families of a cluster whose agent has answered to `page`.
pub(crate) fn add(page: &mut Page, view: &HostsView) {
    let HostsView { cluster, here, store, hosts, instances } = view;
    let cluster = label("cluster", cluster);
    up(page, &cluster, here, true);
    page.family("treevisor_store_up", Kind::Gauge, "Whether the cluster's store answers this host.");
    page.row(&cluster, "", u8::from(store.state == "ok"));
    let mut of_store = |name, help, value: Option<u64>| {
        page.family(name, Kind::Gauge, help);
        value.into_iter().for_each(|value| page.row(&cluster, "", value));
    };
    of_store("treevisor_store_size_bytes", "How large the store is.", store.size_bytes);
    of_store(
        "treevisor_store_quota_bytes",
        "How large it may become: full, it refuses every renewal.",
        store.quota_bytes,
    );
    page.family("treevisor_store_age_seconds", Kind::Gauge, "How long ago the store has answered this host.");
    store.age_ms.into_iter().for_each(|age| page.row(&cluster, "", Millis(age)));
    of_hosts(page, &cluster, hosts);
    of_trees(page, &cluster, instances);
}

/// Appends the family that shows that the agent does not answer; nothing else is known of the cluster then.
pub(crate) fn silent(page: &mut Page) {
    up(page, "", "", false);
}

fn up(page: &mut Page, cluster: &str, here: &str, is_up: bool) {
    page.family("treevisor_agent_up", Kind::Gauge, "Whether the agent of this machine's host has answered.");
    let host = if here.is_empty() { String::new() } else { label("host", here) };
    page.row(cluster, &host, u8::from(is_up));
}

fn of_hosts(page: &mut Page, cluster: &str, hosts: &[HostView]) {
    let row = |page: &mut Page, host: &HostView, more: Option<String>, value: &dyn Display| {
        let more = more.map(|more| format!(",{more}")).unwrap_or_default();
        page.row(cluster, &format!("{}{more}", label("host", &host.name)), value);
    };
    page.family("treevisor_host_up", Kind::Gauge, "Whether the host holds its lease.");
    for host in hosts {
        row(page, host, None, &u8::from(matches!(host.state.as_str(), "live" | "draining")));
    }
    page.family("treevisor_host_state", Kind::Gauge, "The state of the host.");
    for host in hosts {
        row(page, host, Some(label("state", &host.state)), &1);
    }
    let help = "How much of the host's lease is left, as far as is known to this host.";
    page.family("treevisor_host_lease_left_seconds", Kind::Gauge, help);
    for host in hosts {
        if let Some(left) = host.lease_left_ms {
            row(page, host, None, &Millis(left));
        }
    }
    page.family("treevisor_host_link_up", Kind::Gauge, "Whether the host's agent can be reached from this one.");
    for host in hosts {
        if let Some(link) = &host.link {
            row(page, host, None, &u8::from(link == "up"));
        }
    }
    page.family("treevisor_host_placed", Kind::Gauge, "How many subtrees and roots run on the host.");
    for host in hosts {
        row(page, host, None, &host.placed);
    }
    page.family("treevisor_host_info", Kind::Gauge, "Version of the host's agent.");
    for host in hosts {
        row(page, host, Some(label("version", &host.version)), &1);
    }
}

fn of_trees(page: &mut Page, cluster: &str, trees: &[PlacedView]) {
    page.family("treevisor_tree_wanted", Kind::Gauge, "Whether the tree is to run in the cluster.");
    for tree in trees {
        page.row(cluster, &label("tree", &tree.instance), u8::from(tree.wanted == "up"));
    }
    page.family("treevisor_tree_host", Kind::Gauge, "The host that the root of the tree runs on.");
    for tree in trees {
        if let Some(host) = &tree.host {
            page.row(cluster, &format!("{},{}", label("tree", &tree.instance), label("host", host)), 1);
        }
    }
    let help = "How often a host has taken the tree's root: the token of its claim.";
    page.family("treevisor_tree_owners_total", Kind::Counter, help);
    for tree in trees {
        if let Some(token) = tree.token {
            page.row(cluster, &label("tree", &tree.instance), token);
        }
    }
    of_subtrees(page, cluster, trees);
}

/// Families of their own, so that those of trees have one series a tree.
fn of_subtrees(page: &mut Page, cluster: &str, trees: &[PlacedView]) {
    let row = |page: &mut Page, tree: &PlacedView, subtree: &SubtreeView, more: &str, value: u64| {
        let labels = format!("{},{}{more}", label("tree", &tree.instance), label("path", &subtree.path));
        page.row(cluster, &labels, value);
    };
    let all = || trees.iter().flat_map(|tree| tree.subtrees.iter().map(move |subtree| (tree, subtree)));
    page.family("treevisor_subtree_host", Kind::Gauge, "The host that the placed subtree runs on.");
    for (tree, subtree) in all() {
        if let Some(host) = &subtree.host {
            row(page, tree, subtree, &format!(",{}", label("host", host)), 1);
        }
    }
    let help = "How often a host has taken the placed subtree: the token of its claim.";
    page.family("treevisor_subtree_owners_total", Kind::Counter, help);
    for (tree, subtree) in all() {
        row(page, tree, subtree, "", subtree.token);
    }
}
