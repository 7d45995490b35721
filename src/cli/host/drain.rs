//! `treevisor host drain`, `undrain` and `forget`: wishes of an operator about a host.

use super::agent::{AT_ONCE, ask, hosts};
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::options::{When, positive_span};
use crate::cli::out;
use crate::os::clock::{self, Clock};
use crate::time::{Span, Time};
use crate::wire::hosts::HostAsk;
use clap::Args;

/// Move everything off this host, and start nothing here any more
///
/// What runs here stops in order, and starts on another host. It stays so until `host undrain`, also over a restart of
/// the machine.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor host drain --wait && systemctl reboot
  treevisor host undrain
")]
pub struct Drain {
    /// Wait until nothing runs here any more
    #[arg(long)]
    pub wait: bool,
    /// Stop waiting after this long (the operation continues)
    #[arg(long, value_name = "TIME", value_parser = positive_span, default_value = "5m")]
    pub timeout: Span,
}

/// Let this host run trees again
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor host undrain
")]
pub struct Undrain {}

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

pub(super) fn drain(args: Drain, when: When) -> Result<ExitCode, Failure> {
    const DOING: &str = "drain this host";
    ask(DOING, &HostAsk::Drain, &[], AT_ONCE)?;
    if !args.wait {
        out::say(when, "this host is drained: what runs here moves to others");
        return Ok(ExitCode::Done);
    }
    let (clock, end) = (Clock::start(), Time::ZERO + args.timeout);
    loop {
        let view = hosts(DOING)?;
        let here = view.hosts.iter().find(|host| host.name == view.here);
        let runs = || view.instances.iter().filter(|one| one.host.as_ref() == Some(&view.here));
        // Subtrees of trees whose roots are elsewhere, too: each has a claim of its own.
        let placed = here.map_or(0, |host| host.placed);
        if here.is_some_and(|host| host.draining) && placed == 0 && runs().next().is_none() {
            out::say(when, "nothing runs on this host any more");
            return Ok(ExitCode::Done);
        }
        if clock.now() >= end {
            let names: Vec<_> = runs().map(|one| one.instance.as_str()).collect();
            let left = match (names.as_slice(), placed) {
                ([], 0) => "the store has not taken note of it".to_owned(),
                ([], placed) => format!("{placed} subtrees are here, whose roots are elsewhere"),
                (names, _) => names.join(", "),
            };
            return Err(Failure::new(
                ExitCode::NoAnswer,
                format!("this host is not drained after {}: {left}", args.timeout),
            )
            .hint("it goes on; `treevisor hosts` shows why"));
        }
        clock::pause(Span::from_millis(200));
    }
}

pub(super) fn undrain(_: Undrain, when: When) -> Result<ExitCode, Failure> {
    ask("undrain this host", &HostAsk::Undrain, &[], AT_ONCE)?;
    out::say(when, "this host can run trees again");
    Ok(ExitCode::Done)
}

pub(super) fn forget(args: Forget, when: When) -> Result<ExitCode, Failure> {
    let doing = format!("forget {}", args.host);
    ask(&doing, &HostAsk::Forget { host: args.host.clone() }, &[], AT_ONCE)?;
    out::say(when, &format!("{} counts as lost: what ran there starts elsewhere", args.host));
    Ok(ExitCode::Done)
}
