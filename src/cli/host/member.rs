//! `treevisor host init`, `add` and `remove`: change which hosts belong to the cluster. The program `treevisor-host`,
//! which has the keys and the store, carries the requests out.

use super::option::{FileOption, machine, starts_by, whole};
use super::program::{tell, told};
use crate::cli::agent::ask;
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::options::ColorMode;
use crate::cli::out;
use crate::os::clock::{self, Clock};
use crate::os::net;
use crate::spec::host::member::client_url;
use crate::time::Span;
use crate::wire::hosts::HostRequest;
use crate::wire::member::{MemberRequest, NewHost};
use clap::Args;
use std::path::PathBuf;

/// Make this machine the first host of a cluster
///
/// Draws the keys of this host and those of its cluster, certifies it, and writes the cluster's record into the store.
/// The host's file is written, too, where there is none; one that is there is kept as it is. Nothing is written over.
///
/// With `--store run`, or `run = true` in a file that is there, the store is made, too: its first member runs on this
/// host, and those of the next two hosts that join, or four, are added to it. etcd has to be installed, and nothing
/// more.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The keys lie in host.key beside the host's file, for its user alone. By them the agents of hosts
know each other; a host without --address connects to no other, and needs none.

Examples:
  treevisor host init --store run
  treevisor host init --cluster shop --name a --address 10.0.0.1 --store run
  treevisor host init --cluster shop --store http://127.0.0.1:2379
  treevisor host init --cluster shop --name a --address 10.0.0.1 --store https://10.0.0.1:2379 \\
      --ca ca.pem --cert a.pem --key a.key
  treevisor host init                  the file is there: its keys only

Exit codes:
  0  done
  1  something is there already, or the store does not answer, or cannot be made
  2  an option is missing, or does not fit
")]
pub struct Init {
    #[command(flatten)]
    pub file: FileOption,
    /// What the cluster is called: 1 to 32 of a-z 0-9 -; `main` where it is left out
    #[arg(long, value_name = "NAME", requires = "store")]
    pub cluster: Option<String>,
    /// What this host is called in it; this machine's name where it is left out
    #[arg(long, value_name = "NAME", requires = "store")]
    pub name: Option<String>,
    /// Where the other hosts find this one: HOST or HOST:PORT, of which the port is 7411 otherwise. With `--store run`
    /// the address by which this machine reaches others, where it is left out
    #[arg(long, value_name = "ADDRESS", requires = "store")]
    pub address: Option<String>,
    /// The members of the store, which is there already; or `run`: etcd runs on the cluster's hosts, on the first
    /// three of them, or five with `--members 5`
    #[arg(long, value_name = "URL|run", num_args = 1..)]
    pub store: Vec<String>,
    /// How many of the cluster's hosts run a member of the store: 3, of which one may be lost, or 5, of which two may
    #[arg(long, value_name = "NUMBER", value_parser = members)]
    pub members: Option<usize>,
    /// The authority by which they are known
    #[arg(long, value_name = "FILE", requires = "store")]
    pub ca: Option<PathBuf>,
    /// The certificate that this host shows to them
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key to that
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// Make the keys of another host
///
/// Draws a key pair for it, certifies that, and writes it with the cluster's signing key to a file, which is brought
/// there as host.key beside that host's file. Done on a host that has keys.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor host add b --to b.key
  scp b.key root@b:/etc/treevisor/host.key && rm b.key

Exit codes:
  0  done
  1  it cannot be written, or the store does not answer
")]
pub struct Add {
    /// The other host
    pub name: String,
    /// Where its keys are written to; NAME.key where it is left out
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    #[command(flatten)]
    pub file: FileOption,
}

/// Have the keys of another host not taken any more
///
/// Revokes all certificates of that host: the agents of the others let it in no more. Its agent is stopped before that.
/// It stays in `hosts`, as the record of a host that is gone shows that nothing runs there.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What it can do at the store is for the store's own certificates to end.

Examples:
  treevisor host remove b

Exit codes:
  0  done
  1  it still renews its lease, or may run what needs none; there is none of that name, or the
     store does not answer
")]
pub struct Remove {
    /// The other host
    pub name: String,
    #[command(flatten)]
    pub file: FileOption,
}

/// Make new keys of this host
///
/// Draws another key pair and certifies it, has the agent take it over while it runs, and revokes what was certified
/// for this host before. What runs on the host is not touched; its links to other hosts are made anew within some
/// seconds.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Invitations that this host has made and that were not used are void then. Typed again it goes on
where it was interrupted, with other keys.

With --cluster it is the key that is replaced by which the cluster signs, and which each of its
hosts has: what to do after `host remove`, since a host that was removed keeps what it had. All
hosts have to be there. Each gets the new key from another one, and has a certificate by it; the
members of a store that hosts run are started again, one after the other, twice. Nothing else is
touched. The hosts that get the key are named: see that you know them. Typed again it goes on
where it was interrupted; where a host is removed meanwhile, yet another key is drawn.

Examples:
  treevisor host rotate
  treevisor host rotate --cluster

Exit codes:
  0  done
  1  a file cannot be written, the store does not answer, or the agent does not take them: the keys
     before stay good then; with --cluster: not all hosts are there, or one makes no step
  5  the agent has not answered: the keys before stay good, and it has the new ones when it starts
")]
pub struct Rotate {
    /// Replace the key by which the cluster signs, on all of its hosts
    #[arg(long)]
    pub cluster: bool,
    #[command(flatten)]
    pub file: FileOption,
}

/// Limit for the agent to load new keys and to record them in the store.
const TAKEN_OVER: Span = Span::from_secs(10);

/// How long to wait for all hosts to complete a step in the replacement of the signing key. It may take a restart of a
/// host's member of the store.
const STEP: Span = Span::from_secs(120);

/// How long the store may be unavailable meanwhile.
const AWAY: Span = Span::from_secs(30);

/// The default name of a cluster.
const CLUSTER: &str = "main";

pub(super) fn init(args: Init, when: ColorMode) -> Result<ExitCode, Failure> {
    const DOING: &str = "make this machine a host";
    let Init { file, cluster, name, address, store, members, ca, cert, key } = args;
    let file = whole(&file.file);
    let is_there = file.symlink_metadata().is_ok();
    let new = if store.is_empty() {
        if !is_there {
            let missing = format!("cannot {DOING}: there is no {}, and no --store for a new one", file.display());
            let hint = "such as: treevisor host init --store run; or --store http://127.0.0.1:2379";
            return Err(Failure::new(ExitCode::Usage, missing).hint(hint));
        }
        None
    } else {
        let path = |path: Option<PathBuf>| path.as_deref().map(whole);
        let (cluster, name) = (cluster.unwrap_or_else(|| CLUSTER.into()), name.map_or_else(|| machine(DOING), Ok)?);
        let (ca, cert, key) = (path(ca), path(cert), path(key));
        let runs = store.iter().map(String::as_str).eq(["run"]);
        let address = address.or_else(|| if runs { net::outward().map(|own| own.to_string()) } else { None });
        let (endpoints, run) = match runs {
            true => (vec![own_endpoint(address.as_deref(), ca.as_ref().or(cert.as_ref()))?], Some(true)),
            false => (store, None),
        };
        Some(NewHost { cluster, name, address, endpoints, ca, cert, key, run, witness: false })
    };
    tell(DOING, &MemberRequest::Init { file: file.clone(), new, members }, when)?;
    out::say(when, &starts_by(&file));
    Ok(ExitCode::Done)
}

/// Parses the number of members, which must be odd: an even number tolerates no more failures than the next smaller
/// one.
fn members(text: &str) -> Result<usize, String> {
    match text {
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("a store has 3 members, or 5".to_owned()),
    }
}

/// The endpoint of the store's member that this host will run.
fn own_endpoint(address: Option<&str>, pem: Option<&PathBuf>) -> Result<String, Failure> {
    const DOING: &str = "make this machine a host";
    if pem.is_some() {
        let message = format!("cannot {DOING}: a store that hosts run has certificates of the cluster's own");
        return Err(Failure::new(ExitCode::Usage, message).hint("leave out --ca, --cert and --key"));
    }
    let missing = || {
        Failure::new(ExitCode::Usage, format!("cannot {DOING}: --address is missing, by which others reach its store"))
            .hint("such as: --address 10.0.0.1")
    };
    address.map(client_url).ok_or_else(missing)
}

pub(super) fn add(args: Add, when: ColorMode) -> Result<ExitCode, Failure> {
    let Add { name, to, file } = args;
    let to = whole(&to.unwrap_or_else(|| format!("{name}.key").into()));
    let doing = format!("make the keys of {name}");
    tell(&doing, &MemberRequest::Add { file: whole(&file.file), name, to }, when)?;
    Ok(ExitCode::Done)
}

pub(super) fn remove(args: Remove, when: ColorMode) -> Result<ExitCode, Failure> {
    let Remove { name, file } = args;
    let doing = format!("remove {name}");
    tell(&doing, &MemberRequest::Remove { file: whole(&file.file), name }, when)?;
    Ok(ExitCode::Done)
}

pub(super) fn rotate(args: Rotate, when: ColorMode) -> Result<ExitCode, Failure> {
    const DOING: &str = "make new keys of this host";
    let file = whole(&args.file.file);
    if args.cluster {
        return renew(file, when);
    }
    tell(DOING, &MemberRequest::Rotate { file: file.clone() }, when)?;
    match ask("have the agent take them over", &HostRequest::Rekey { file: file.clone() }, &[], TAKEN_OVER) {
        Ok(_) => out::say(when, "the agent has taken them over"),
        Err(failure) if failure.code == ExitCode::NoCluster.number() => {
            out::say(when, "no agent runs here: it has them when it starts");
        }
        Err(failure) => {
            return Err(failure.hint("the keys before stay good; the agent has the new ones when it starts: try again"));
        }
    }
    tell(DOING, &MemberRequest::Retire { file }, when)?;
    Ok(ExitCode::Done)
}

/// Replaces the cluster's signing key. Each step begins when all hosts have completed the previous one.
fn renew(file: PathBuf, when: ColorMode) -> Result<ExitCode, Failure> {
    const DOING: &str = "replace the key by which the cluster signs";
    let clock = Clock::start();
    let (mut begin, mut since, mut waited): (_, _, Vec<String>) = (true, clock.now(), Vec::new());
    let mut answered = clock.now();
    loop {
        let hosts = match told(DOING, &MemberRequest::Renew { file: file.clone(), begin }, when) {
            Ok(None) => return Ok(ExitCode::Done),
            Ok(Some(hosts)) => hosts,
            // A store with one member is unavailable while that member is restarted.
            Err(_) if !begin && clock.now().since(answered) < AWAY => {
                clock::pause(Span::from_millis(500));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        answered = clock.now();
        begin = false;
        if hosts != waited {
            if hosts.len() > waited.len() {
                out::say(when, &format!("waiting for {}", hosts.join(", ")));
            }
            (since, waited) = (clock.now(), hosts);
        } else if clock.now().since(since) >= STEP {
            let message = format!("cannot {DOING}: for {} it is waited for {}", STEP.coarse(), waited.join(", "));
            return Err(Failure::new(ExitCode::Failed, message).hint(
                "`treevisor logs -i host /agent` there has why; typed again this goes on, and \
                 a host that is gone for good is taken away by `treevisor host remove NAME`",
            ));
        }
        clock::pause(Span::from_millis(500));
    }
}
