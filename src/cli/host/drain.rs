//! `treevisor host drain`, `undrain` and `forget`.

use crate::cli::agent::{AT_ONCE, ask, hosts};
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::options::{ColorMode, positive_span};
use crate::cli::out;
use crate::os::clock::{self, Clock};
use crate::time::{Span, Time};
use crate::wire::hosts::{HostRequest, HostsView};
use clap::Args;

/// Move everything off a host, and start nothing there any more
///
/// What runs there stops in order, and starts on another host. It stays so until `host undrain`, also over a restart of
/// the machine. Another host than this one is asked by the agent of this one, which needs a link to it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor host drain --wait && systemctl reboot
  treevisor host drain b --wait
  treevisor host undrain b
")]
pub struct Drain {
    /// The host; without it, this one
    #[arg(value_name = "NAME")]
    pub host: Option<String>,
    /// Wait until nothing runs there any more
    #[arg(long)]
    pub wait: bool,
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5m")]
    pub timeout: Span,
}

/// Let a host run trees again
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor host undrain
  treevisor host undrain b
")]
pub struct Undrain {
    /// The host; without it, this one
    #[arg(value_name = "NAME")]
    pub host: Option<String>,
}

/// Swear that another host is off: what ran there starts elsewhere at once
///
/// Other hosts wait until the lease of a lost host is over, since it may still run what it ran. An operator who has
/// seen that the machine is off need not wait. If it is not off, its trees run twice until its own lease ends.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor host forget b --it-is-dead
")]
pub struct Forget {
    /// The host
    pub host: String,
    /// You have seen that the machine is off
    #[arg(long, required = true)]
    pub it_is_dead: bool,
}

/// The host's name in a sentence.
fn named(host: Option<&str>) -> &str {
    host.unwrap_or("this host")
}

fn wish(doing: &str, host: Option<&str>, draining: bool) -> Result<(), Failure> {
    let wish = match (host, draining) {
        (Some(host), draining) => HostRequest::DrainHost { host: host.to_owned(), draining },
        (None, true) => HostRequest::Drain,
        (None, false) => HostRequest::Undrain,
    };
    ask(doing, &wish, &[], AT_ONCE).map(drop)
}

/// What still runs on a host, in words; `None` once it is drained and empty.
fn left(view: &HostsView, host: Option<&str>) -> Option<String> {
    let name = host.unwrap_or(&view.here);
    let seen = view.hosts.iter().find(|seen| seen.name == name);
    let runs = view.instances.iter().filter(|one| one.host.as_deref() == Some(name));
    let names: Vec<&str> = runs.map(|one| one.instance.as_str()).collect();
    // This counts placed subtrees too, whose roots run on other hosts: each has a claim of its own.
    let placed = seen.map_or(0, |seen| seen.placed);
    match (names.as_slice(), placed) {
        ([], 0) => match seen.map_or("", |seen| &seen.state) {
            "draining" => None,
            state @ ("lost" | "left" | "fenced" | "joining") => Some(format!("`treevisor hosts` shows it as {state}")),
            _ => Some("the store has not taken note of it".to_owned()),
        },
        ([], placed) => Some(format!("{placed} subtrees are there, whose roots are elsewhere")),
        (names, _) => Some(names.join(", ")),
    }
}

pub(super) fn drain(args: Drain, when: ColorMode) -> Result<ExitCode, Failure> {
    let host = args.host.as_deref();
    let (name, doing) = (named(host), format!("drain {}", named(host)));
    wish(&doing, host, true)?;
    if !args.wait {
        out::say(when, &format!("{name} is drained: what runs there moves to others"));
        return Ok(ExitCode::Done);
    }
    let (clock, end) = (Clock::start(), Time::ZERO + args.timeout);
    loop {
        let Some(left) = left(&hosts(&doing)?, host) else {
            out::say(when, &format!("nothing runs on {name} any more"));
            return Ok(ExitCode::Done);
        };
        if clock.now() >= end {
            let message = format!("{name} is not drained after {}: {left}", args.timeout);
            return Err(Failure::new(ExitCode::NoAnswer, message).hint("it goes on; `treevisor hosts` shows why"));
        }
        clock::pause(Span::from_millis(200));
    }
}

pub(super) fn undrain(args: Undrain, when: ColorMode) -> Result<ExitCode, Failure> {
    let host = args.host.as_deref();
    wish(&format!("undrain {}", named(host)), host, false)?;
    out::say(when, &format!("{} can run trees again", named(host)));
    Ok(ExitCode::Done)
}

pub(super) fn forget(args: Forget, when: ColorMode) -> Result<ExitCode, Failure> {
    let doing = format!("forget {}", args.host);
    ask(&doing, &HostRequest::Forget { host: args.host.clone() }, &[], AT_ONCE)?;
    out::say(when, &format!("{} counts as lost: what ran there starts elsewhere", args.host));
    Ok(ExitCode::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(state: &str, placed: u32, root_on: Option<&str>) -> HostsView {
        let host = |name: &str, state: &str, placed: u32| {
            json!({
                "name": name, "state": state, "epoch": 1, "lease_left_ms": null, "link": null, "placed": placed, "labels": {},
                "draining": true, "version": "0.1.0", "protocol": 1, "cgroup": true, "address": null, "note": null,
            })
        };
        let root = json!({
            "instance": "shop", "wanted": "up", "digest": null, "host": root_on, "token": 1, "since_ms": null,
            "note": null, "candidates": [],
        });
        serde_json::from_value(json!({
            "cluster": "shop", "here": "a", "hosts": [host("a", "live", 7), host("b", state, placed)],
            "store": { "kind": "etcd", "state": "ok", "endpoints": [], "age_ms": 0, "size_bytes": null, "quota_bytes": null },
            "instances": [root],
        }))
        .unwrap()
    }

    #[test]
    fn a_host_is_empty_when_it_is_drained_and_nothing_is_there_whatever_is_on_this_one() {
        assert_eq!(left(&view("draining", 0, Some("a")), Some("b")), None);
        assert_eq!(left(&view("draining", 0, None), Some("b")), None);
        assert_eq!(left(&view("draining", 1, Some("b")), Some("b")).as_deref(), Some("shop"));
        assert!(left(&view("draining", 2, Some("a")), Some("b")).unwrap().contains("2 subtrees"));
        assert!(left(&view("live", 0, Some("a")), Some("b")).unwrap().contains("taken note"));
        assert_eq!(left(&view("draining", 0, Some("a")), None).as_deref(), Some("shop"), "without a name: this one");
    }

    #[test]
    fn a_host_that_is_lost_is_not_taken_for_an_empty_one() {
        assert!(left(&view("lost", 0, None), Some("b")).unwrap().contains("lost"));
        assert!(left(&view("draining", 0, None), Some("c")).is_some(), "one that is removed meanwhile");
    }
}
