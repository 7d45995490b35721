//! `treevisor host invite` and `join`: another machine becomes a host by one line.

use super::option::{FileOption, UNIT, is_usual, machine, starts_by, whole};
use super::program::tell;
use crate::cli::agent::{AT_ONCE, ask, hosts, not_understood};
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::options::{ColorMode, positive_span};
use crate::cli::out::{self, Out};
use crate::error::plain;
use crate::os::clock::{self, Clock};
use crate::time::{Span, Time};
use crate::wire::hosts::{HostReply, HostRequest, HostView, HostsView};
use crate::wire::member::{MemberRequest, Newcomer};
use clap::Args;
use std::net::{ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Let another machine become a host of this cluster
///
/// Prints the line that is typed on that machine. It can be used once, and for a while; its bearer becomes a host, so
/// it is as secret as a key. The agent of this host has to run and to connect to others (`listen` in its file).
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor host invite
  ssh root@c \"$(treevisor host invite --for 1m)\"

Exit codes:
  0  the line is printed
  1  this host connects to no other, or too many invitations are open
  6  no agent runs here
")]
pub struct Invite {
    /// How long it can be used, 24h at most
    #[arg(long = "for", value_name = "TIME", value_parser = positive_span, default_value = "15m")]
    pub within: Span,
}

/// Make this machine a host of a cluster, by an invitation
///
/// Connects to the host that has invited, gets a certificate for the key that is drawn here, and writes the host's file
/// and its keys. Where systemd has the unit of the package it is enabled and started, and the host waited for;
/// elsewhere the command that starts it is printed. Nothing is written over.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The address is where the other hosts find this one; where it is left out, it is the one that this
machine has towards the host that has invited, with the port 7411.

Examples:
  treevisor host join 10.0.0.1:7411/…/…
  treevisor host join 10.0.0.1:7411/…/… --name c --address 10.0.0.3:7411
  treevisor host join 10.0.0.1:7411/…/… --cert c.pem --key c.key      those for the store
  treevisor host join 10.0.0.1:7411/…/… --witness                     a vote, and nothing else

Exit codes:
  0  this machine is a host; where it was waited for: it has its lease, and the other hosts reach it
  1  the invitation is over, the host does not answer, or something is there already
  5  it is a host, and is not live yet, or not reached by the others: what is missing is named
")]
pub struct Join {
    /// What `treevisor host invite` has printed
    #[arg(value_name = "INVITATION")]
    pub line: String,
    /// What this host is called; this machine's name where it is left out
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where the other hosts find this one: HOST or HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// The certificate that this host shows to the store
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key to that
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Vote in the store, and run nothing: the third of two hosts
    #[arg(long, conflicts_with_all = ["cert", "key"])]
    pub witness: bool,
    /// Wait until the host is live, this long at most, where it is started by other means
    #[arg(long, value_name = "TIME", value_parser = positive_span, num_args = 0..=1, default_missing_value = "1m")]
    pub wait: Option<Span>,
    #[command(flatten)]
    pub file: FileOption,
}

/// How long a host may take after its start to become live.
const LIVE: Span = Span::from_secs(60);

/// The directory that exists if systemd is the init system, sd_booted(3).
const SYSTEMD: &str = "/run/systemd/system";

pub(super) fn invite(args: Invite, when: ColorMode) -> Result<ExitCode, Failure> {
    const DOING: &str = "invite a host";
    let told = ask(DOING, &HostRequest::Invite { for_ms: args.within.as_millis() }, &[], AT_ONCE)?;
    let HostReply::Invited { line } = told else { return Err(not_understood(DOING)) };
    out::say(when, &format!("on the other machine, once and within {}:", args.within));
    // A shell takes the brackets of an IPv6 address for a pattern.
    let line = if line.contains('[') { format!("'{line}'") } else { line };
    Out::open().write(&format!("treevisor host join {line}\n"))?;
    Ok(ExitCode::Done)
}

pub(super) fn join(args: Join, when: ColorMode) -> Result<ExitCode, Failure> {
    const DOING: &str = "join";
    let Join { line, name, address, cert, key, witness, wait, file } = args;
    let file = whole(&file.file);
    let name = name.map_or_else(|| machine(DOING), Ok)?;
    let address = address.map_or_else(|| towards(&line), Ok)?;
    let (cert, key) = (cert.as_deref().map(whole), key.as_deref().map(whole));
    tell(
        DOING,
        &MemberRequest::Join { file: file.clone(), new: Newcomer { line, name, address, cert, key, witness } },
        when,
    )?;
    let by_systemd = is_usual(&file) && Path::new(UNIT).exists() && Path::new(SYSTEMD).exists();
    if by_systemd {
        start()?;
        out::say(when, "treevisor-host.service is enabled and started");
    } else {
        out::say(when, &starts_by(&file));
    }
    match wait.or(by_systemd.then_some(LIVE)) {
        Some(limit) => live(limit, when),
        None => Ok(ExitCode::Done),
    }
}

/// This machine's address on the route to the inviting host. Nothing is sent; the kernel looks up the route.
fn towards(line: &str) -> Result<String, Failure> {
    let there = line.split('/').next().unwrap_or_default();
    let found = || -> std::io::Result<String> {
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address");
        for there in there.to_socket_addrs()? {
            let socket = UdpSocket::bind(if there.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            match socket.connect(there).and_then(|()| socket.local_addr()) {
                Ok(own) if own.is_ipv4() => return Ok(own.ip().to_string()),
                Ok(own) => return Ok(format!("[{}]", own.ip())),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    found().map_err(|error| {
        let message = format!("cannot join: there is no way to {there}: {}", plain(&error));
        Failure::new(ExitCode::Failed, message).hint("give the invitation whole; this host's own address by --address")
    })
}

fn start() -> Result<(), Failure> {
    let run = Command::new("systemctl").args(["enable", "--now", "treevisor-host"]).stdin(Stdio::null()).output();
    let why = match run {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => plain(&error),
    };
    let message = format!("this machine is a host now, and cannot be started: systemctl: {why}");
    Err(Failure::new(ExitCode::Failed, message).hint("`systemctl status treevisor-host` shows more"))
}

/// Waits until this host has its lease and the other hosts reach it, and reports what is missing.
fn live(limit: Span, when: ColorMode) -> Result<ExitCode, Failure> {
    let (clock, end) = (Clock::start(), Time::ZERO + limit);
    loop {
        let missing = match hosts("look for this host") {
            Ok(view) => missing(&view),
            Err(failure) => Some(failure.message),
        };
        let Some(missing) = missing else {
            out::say(when, "this host is live, and the others reach it");
            return Ok(ExitCode::Done);
        };
        if clock.now() >= end {
            return Err(Failure::new(
                ExitCode::NoAnswer,
                format!("this machine is a host, and after {limit} not all is well: {missing}"),
            )
            .hint("`treevisor hosts` shows how it goes on"));
        }
        clock::pause(Span::from_millis(200));
    }
}

/// What is still missing for a host that has joined, as that host sees it.
fn missing(view: &HostsView) -> Option<String> {
    let here = view.hosts.iter().find(|host| host.name == view.here);
    let Some(here) = here.filter(|host| host.state == "live") else {
        return Some(format!("it has no lease yet; its store is {}", view.store.state));
    };
    // Messages of other hosts come over connections that these make. A host whose record was not read yet has no link
    // state.
    let silent = |host: &&HostView| {
        let connects = host.name != view.here && host.state == "live" && host.address.is_some();
        connects && host.link.as_deref() != Some("up")
    };
    let silent = view.hosts.iter().find(silent)?;
    let own = here.address.as_deref().unwrap_or("its address");
    Some(match &silent.link_note {
        Some(why) => format!("no link from {}: {why}", silent.name),
        None => format!(
            "{} does not reach this host at {own}: is that right as seen from there, and the port open?",
            silent.name
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(here: &str, other: &str, link: Option<&str>) -> HostsView {
        let host = |name: &str, state: &str, link: Option<&str>| {
            serde_json::json!({
                "name": name, "state": state, "epoch": 1, "lease_left_ms": null, "link": link, "placed": 0, "labels": {},
                "draining": false, "version": "0.1.0", "protocol": 1, "cgroup": true, "address": "10.0.0.3:7411", "note": null,
            })
        };
        serde_json::from_value(serde_json::json!({
            "cluster": "shop", "here": "c", "instances": [],
            "store": {"kind": "etcd", "state": "ok", "endpoints": [], "age_ms": 1, "size_bytes": null, "quota_bytes": null},
            "hosts": [host("a", other, link), host("c", here, None)],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(&view("live", "live", Some("up"))), None);
        assert_eq!(missing(&view("live", "lost", Some("down"))), None, "one that is gone reaches nothing");
        assert!(missing(&view("live", "live", None)).is_some(), "its record was not read yet");
        assert!(missing(&view("lost", "live", Some("up"))).unwrap().contains("no lease yet"));
        assert!(
            missing(&view("live", "live", Some("down")))
                .unwrap()
                .contains("a does not reach this host at 10.0.0.3:7411")
        );
    }

    #[test]
    fn the_own_address_is_that_towards_the_host_that_has_invited() {
        assert_eq!(towards("127.0.0.1:7411/x/y").unwrap(), "127.0.0.1");
        assert!(towards("no address").is_err());
    }
}
