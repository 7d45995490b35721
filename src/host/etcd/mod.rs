//! This host's member of the store: `treevisor-host store`, a worker of the host's own tree that becomes etcd.
//!
//! The worker decides by the data on the disk and the answers of the other members how to start, writes the
//! certificates, and executes etcd in its own process. So process, signals and cgroup are etcd's, and etcd is
//! supervised like any worker. A new store is created by `treevisor host init` only (`first`).
//!
//! ```text
//! STATE/host/store/data          etcd's own
//!                  ca.pem        the cluster's authority, the same on all hosts
//!                  member.pem    this member's certificate and its key, made anew at each start
//!                  endpoints     the members of the store, as listed last
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `plan` | how a member starts |
//! | `command` | the command line of etcd |
//! | `again` | restarts the member, with other keys |
//! | `first` | the first member of a store, while `host init` writes into it |

pub(super) mod again;
mod command;
pub(super) mod first;
mod plan;

use super::identity::{Authority, Issued, Keys, Signers, key_file};
use super::known::{self, create, directory};
use super::store_opener::{etcd_at, etcd_of};
use crate::error::Chain;
use crate::files;
use crate::os::clock::{self, Clock};
use crate::os::fd;
use crate::spec::host::member::{MemberAt, peer_url};
use crate::spec::host::{self, HostFile};
use crate::store::etcd::Etcd;
use crate::store::etcd::members::Member;
use crate::time::{Span, Time};
use command::{Begin, ENVIRONMENT, Files, arguments};
use plan::{Plan, plan};
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How long the other members are tried before this start has failed. The worker's tree allows it a longer silence.
const PATIENCE: Span = Span::from_secs(30);

/// Limit for one answer of the other members.
const ANSWER: Span = Span::from_secs(5);

/// Becomes etcd, as the member of the host that this file describes. Returns only on failure, with the exit status: 2
/// where the file has errors.
pub fn run(file: &Path) -> i32 {
    fd::complain_of_crashes();
    let read = host::read(file, &|name| std::env::var(name).ok());
    for found in read.diagnostics.iter().filter(|found| found.is_error()) {
        fd::complain(format_args!("{found}"));
    }
    let Some(host) = read.host else { return 2 };
    let why = match become_etcd(&host, file) {
        Ok(error) => format!("cannot execute etcd: {error}"),
        Err(error) => Chain(&*error).to_string(),
    };
    fd::complain(format_args!("this host's member of the store cannot start: {why}"));
    1
}

fn become_etcd(host: &HostFile, path: &Path) -> Result<io::Error, Box<dyn Error>> {
    let at = host.member().ok_or("its file has no `run = true` below [store]")?;
    let keys = Keys::read(&key_file(path))?.ok_or("it has no keys")?;
    let signers = keys.signers();
    let files = lay_out(&at, &signers)?;
    let begin = begin(host, &at, &signers, &files)?;
    let mut command = command(host, &at, &signers, &files, &begin)?;
    Ok(command.exec())
}

/// The command that runs etcd.
fn command(host: &HostFile, at: &MemberAt, signers: &Signers, files: &Files, begin: &Begin) -> Result<Command, String> {
    let mut command = Command::new(program()?);
    // etcd does not start where a variable and an option set the same.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
        command.env_remove(name);
    }
    command.args(arguments(&host.name, &signers.by.issuer(), at, files, begin)).envs(ENVIRONMENT);
    Ok(command)
}

/// The path of the program etcd.
pub(super) fn program() -> Result<PathBuf, String> {
    files::in_path("etcd").ok_or_else(|| "there is no etcd in PATH: `apt install etcd-server`".to_owned())
}

/// Checks that this machine has no data of a member, as required for a new host.
///
/// # Errors
/// There are data of an earlier member, or that cannot be found out.
pub(super) fn no_earlier_data() -> Result<(), String> {
    let data = Files::below(&directory()?).data;
    match data.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(format!("{} has the data of an earlier member of a store: remove them first", data.display())),
        Err(error) => Err(format!("cannot look at {}: {error}", data.display())),
    }
}

/// Removes the member of a host that is being removed from the cluster. Returns how many members are left; `None`: the
/// host has no member. `address`: that of the host, if known.
///
/// # Errors
/// The store does not answer, or the remaining members would have no majority.
pub(super) fn take_away(
    host: &HostFile,
    signers: &Signers,
    name: &str,
    address: Option<&str>,
) -> Result<Option<usize>, Box<dyn Error>> {
    let mut etcd = etcd_of(host, Some(signers))?;
    let members = etcd.members(ANSWER)?;
    let Some(found) = member_of(&members, name, address) else { return Ok(None) };
    etcd.remove(found.id, ANSWER)?;
    Ok(Some(members.len() - 1))
}

/// The member of this host. One that was never started has no name yet, and is found by its URL; a member at that URL
/// with another name is another host's, which has the address now.
fn member_of<'a>(members: &'a [Member], name: &str, address: Option<&str>) -> Option<&'a Member> {
    let peer = address.map(peer_url);
    let is_at =
        |member: &&Member| member.name.is_empty() && peer.as_ref().is_some_and(|url| member.peers.contains(url));
    members.iter().find(|member| member.name == name).or_else(|| members.iter().find(is_at))
}

/// Writes the files of the member, and checks that its ports are free.
fn lay_out(at: &MemberAt, signers: &Signers) -> Result<Files, Box<dyn Error>> {
    let directory = directory()?;
    let files = Files::below(&directory);
    create(&directory).map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    put(&files.ca, Authority::of(signers)?.ca())?;
    certify(at, signers)?;
    for listens in at.listens().into_iter().chain([at.health()]) {
        TcpListener::bind(listens).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                format!("{listens} is taken: is etcd run by other means here, too? `systemctl disable --now etcd`")
            }
            ErrorKind::AddrNotAvailable => {
                format!(
                    "this machine has no {}: name one that it has in `listen`, such as \"tcp://10.0.0.1:7411\"",
                    listens.ip()
                )
            }
            _ => format!("cannot listen at {listens}: {error}"),
        })?;
    }
    Ok(files)
}

/// Writes the certificate of this host's member. A running member uses it from its next connection on.
///
/// # Errors
/// The certificate cannot be made or written.
pub(super) fn certify(at: &MemberAt, signers: &Signers) -> Result<(), Box<dyn Error>> {
    let files = Files::below(&directory()?);
    let Issued { cert, key } = Authority::of(signers)?.member(&at.host, clock::wall())?;
    Ok(put(&files.cert, &(cert + &key))?)
}

/// The issuers whose authorities this host's member accepts. An authority of neither of `signers` is returned as
/// "another". `None`: the member was never started.
///
/// # Errors
/// The file of the authorities cannot be read.
pub(super) fn taken(signers: &Signers) -> Result<Option<Vec<String>>, Box<dyn Error>> {
    let path = Files::below(&directory()?).ca;
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| format!("cannot read {}: {error}", path.display()))?,
    };
    let known = signers.all().map(|key| Ok((Authority::of(&key.clone().into())?.ca().to_owned(), key.issuer())));
    let known = known.collect::<Result<Vec<_>, rcgen::Error>>()?;
    let each = text.split_inclusive("-----END CERTIFICATE-----\n").filter(|one| !one.trim().is_empty());
    let whose = |one: &str| known.iter().find(|(ca, _)| ca == one).map_or("another", |(_, issuer)| issuer).to_owned();
    Ok(Some(each.map(whose).collect()))
}

/// Writes a file that only its owner may read, by renaming.
fn put(path: &Path, text: &str) -> Result<(), String> {
    let write = || {
        let aside = path.with_extension("new");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&aside, path)
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Decides how the member starts. If it has to join, the other members are asked repeatedly until they have added it.
fn begin(host: &HostFile, at: &MemberAt, signers: &Signers, files: &Files) -> Result<Begin, Box<dyn Error>> {
    let own = at.client();
    let others: Vec<_> = known::endpoints(host).into_iter().filter(|url| *url != own).collect();
    let needs_none = files.has_data() || others.is_empty();
    let mut etcd = if needs_none { None } else { Some(etcd_at(&others, host, Some(signers))?) };
    let (clock, end) = (Clock::start(), Time::ZERO + PATIENCE);
    let mut told = String::new();
    loop {
        match attempt(etcd.as_mut(), host, at, signers, files) {
            Ok(begin) => return Ok(begin),
            Err(why) if clock.now() >= end => return Err(why.into()),
            Err(why) if why != told => {
                fd::complain(format_args!("this host's member of the store cannot start yet: {why}"));
                told = why;
            }
            Err(_) => {}
        }
        clock::pause(Span::from_secs(1));
    }
}

/// Decides how the member starts, if that is possible at the moment.
fn attempt(
    mut etcd: Option<&mut Etcd>,
    host: &HostFile,
    at: &MemberAt,
    signers: &Signers,
    files: &Files,
) -> Result<Begin, String> {
    let members = etcd.as_mut().map(|etcd| etcd.members(ANSWER)).transpose();
    let members = members.map_err(|why| format!("the other members do not answer: {why}"))?;
    let answers =
        |member: &Member| etcd_at(&member.clients, host, Some(signers)).is_ok_and(|mut etcd| etcd.answers(ANSWER));
    let (remove, etcd) = match (plan(files.has_data(), members.as_deref(), &at.peer(), answers), etcd) {
        (Plan::GoOn, _) => return Ok(Begin::Again),
        (Plan::Refuse(why), _) => return Err(why),
        (Plan::Join { .. }, None) => unreachable!("no other member was asked"),
        (Plan::Join { remove }, Some(etcd)) => (remove, etcd),
    };
    if let Some(id) = remove {
        let why = |why| format!("the earlier member at this address cannot be taken away: {why}");
        etcd.remove(id, ANSWER).map_err(why)?;
        fd::complain("the earlier member at this address is taken away: its data are not here");
    }
    let (own, all) = etcd.add_learner(&at.peer(), ANSWER).map_err(|why| format!("it is not added: {why}"))?;
    // What a failed start has left belongs to no member.
    match fs::remove_dir_all(&files.data) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(format!("cannot clear its data: {error}")),
        _ => {}
    }
    let named = all.into_iter().flat_map(|member| {
        let name = if member.id == own.id { host.name.clone() } else { member.name };
        member.peers.into_iter().map(move |url| (name.clone(), url))
    });
    Ok(Begin::Existing(named.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_of_a_host_has_its_name_or_none_yet() {
        let member = |id, name: &str, host: &str| {
            let peers = vec![format!("https://{host}:2380")];
            Member { id, name: name.into(), peers, ..Member::default() }
        };
        let found = |members: &[Member], address| member_of(members, "b", address).map(|member| member.id);
        let at = Some("10.0.0.2:7411");
        let (b, new) = (member(1, "b", "10.0.0.2"), member(2, "", "10.0.0.2"));
        // Another host has the address that the record of b still shows.
        let (a, c) = (member(3, "a", "10.0.0.1"), member(4, "c", "10.0.0.2"));
        assert_eq!(found(&[a.clone(), b.clone()], None), Some(1));
        assert_eq!(found(&[new.clone(), b], at), Some(1));
        assert_eq!(found(&[a.clone(), new.clone()], at), Some(2));
        assert_eq!((found(&[a.clone(), new], None), found(&[a, c], at)), (None, None));
    }
}
