//! The hosts of a cluster: makes the first one, makes keys for further ones, and revokes those of removed ones.
//!
//! The serial of a certificate is drawn from the record `cluster` by compare-and-swap, so none is issued twice. The
//! serial of a certificate that was never written is lost, without harm. Files are written under another name, and
//! renamed when the store has agreed; no existing file is overwritten.

mod cell;
mod failed;
mod files;
pub(super) mod join;
pub(super) mod signing;

use super::etcd::first::First;
use super::etcd::take_away;
use super::identity::keys::draw_curve;
use super::identity::{Keys, SigningKey, Trust, key_file, verify};
use super::store_opener::{StoreOpener, open_store};
use crate::error::Chain;
use crate::hosts::record::{Cluster, HostState};
use crate::os::clock;
use crate::wire::member::{MemberReply, MemberRequest, NewHost};
use cell::{Cell, certificate, changes, is_name, is_settled, issue, may_issue};
use failed::{Failed, Lines};
use files::{Aside, absent, member, read_host, text_of};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::Path;

/// The largest size of a request in bytes.
const ASK_MAX: u64 = 1 << 20;

/// Answers the request on standard input. Returns the exit status.
pub fn run() -> i32 {
    let mut text = String::new();
    let ask = io::stdin().take(ASK_MAX).read_to_string(&mut text).map_err(|error| error.to_string());
    let told = match ask.and_then(|_| serde_json::from_str(&text).map_err(|error| error.to_string())) {
        Ok(ask) => answer(&ask, &open_store).unwrap_or_else(MemberReply::from),
        Err(error) => Failed::new(format!("the question cannot be read: {error}")).into(),
    };
    let failed = matches!(told, MemberReply::Failed { .. });
    let text = serde_json::to_vec(&told).expect("it is text throughout");
    i32::from(io::stdout().write_all(&text).is_err() || failed)
}

fn answer(ask: &MemberRequest, opener: StoreOpener<'_>) -> Result<MemberReply, Failed> {
    let lines = match ask {
        MemberRequest::Init { file, new, members } => init(file, new.as_ref(), *members, opener),
        MemberRequest::Add { file, name, to } => add(file, name, to, opener),
        MemberRequest::Join { file, new } => join::join(file, new, opener),
        MemberRequest::Rotate { file } => rotate(file, opener),
        MemberRequest::Retire { file } => retire(file, opener),
        MemberRequest::Remove { file, name } => remove(file, name, opener),
        MemberRequest::Renew { file, begin } => return signing::renew(file, *begin, opener),
    };
    lines.map(|lines| MemberReply::Done { lines })
}

fn init(file: &Path, new: Option<&NewHost>, members: Option<usize>, opener: StoreOpener<'_>) -> Lines {
    let key_file = key_file(file);
    absent(&key_file, "this host has its keys already")?;
    let (host, composed) = match new {
        None => (read_host(file, file)?, None),
        Some(new) => {
            absent(file, "this machine is a host already")?;
            let composed = Aside::write(file, &text_of(new), 0o644)?;
            (read_host(&composed.path, file)?, Some(composed))
        }
    };
    if members.is_some() && host.store.run.is_none() {
        return Err(Failed::new("the store of this host is run by other means, and so are its members")
            .hint("leave out --members, or have hosts run the store: --store run"));
    }
    let signing = SigningKey::draw().map_err(|error| Failed::of(&error))?;
    // From here on a host that is to run a member has a store.
    let signers = signing.clone().into();
    let first = host.member().map(|_| First::start(&host, &signers)).transpose();
    let first = first.map_err(|why| Failed::new(format!("the store cannot be made: {why}")))?;
    let mut store = Cell::open(&host, &signers, opener)?;
    let (version, before) = store.read()?.unzip();
    if before.is_some() && !store.hosts()?.is_empty() {
        return Err(Failed::new(format!("the store has a cluster {} already, with hosts", host.cluster))
            .hint("on one of them `treevisor host add NAME` makes the keys of a further one; or take another name"));
    }
    let before = before.unwrap_or_default();
    let serial = before.serial + 1;
    let keys = keys(&host.cluster, &host.name, serial, signing)?;
    let mut cluster = Cluster {
        name: host.cluster.clone(),
        created: clock::wall_nanos(clock::wall()) / 1_000_000,
        issuer: keys.signing.issuer(),
        serial,
        ..before
    };
    cluster.issued = [(host.name.clone(), [serial].into())].into();
    cluster.members = first.iter().map(|_| host.name.clone()).collect();
    cluster.seats = members;
    let written = Aside::write(&key_file, &keys.text(), 0o600)?;
    // A record without hosts was left by an interrupted call; no certificate by its key is in use.
    if !store.swap(version, &cluster)? {
        return Err(Failed::new(format!("another host has just made the cluster {}", host.cluster)));
    }
    let mut lines = vec![format!("{} is the first host of the cluster {}", host.name, host.cluster)];
    lines.extend(host.mesh.as_ref().map(|mesh| format!("other hosts find it at {}", mesh.address)));
    written.put()?;
    lines.push(format!("wrote {}: its keys, and the cluster's; keep it secret", key_file.display()));
    if let Some(composed) = composed {
        composed.put()?;
        lines.push(format!("wrote {}", file.display()));
    }
    if let Some(first) = first {
        first.keep();
        let more = if cluster.seats() > 3 { ", with the fifth that of two" } else { "" };
        lines.push(format!(
            "its store has one member, on this host: with the third host that joins it bears the loss of one{more}"
        ));
    }
    Ok(lines)
}

fn add(file: &Path, name: &str, to: &Path, opener: StoreOpener<'_>) -> Lines {
    let (host, own) = member(file)?;
    is_name(name)?;
    absent(to, "nothing is written over it")?;
    let signers = own.signers();
    let mut store = Cell::open(&host, &signers, opener)?;
    let serial = store.change(&signers, |cluster| may_issue(cluster).map(|()| issue(name, cluster)))??;
    Aside::write(to, &keys(&host.cluster, name, serial, own.signing)?.text(), 0o600)?.put()?;
    Ok(vec![
        format!("wrote {}: the keys of the host {name}, by certificate {serial}", to.display()),
        format!("bring it to {name} as host.key beside its host.toml, with mode 600, and remove it here"),
    ])
}

/// Makes new keys of this host. The former ones stay valid until they are retired, as the agent still uses them.
fn rotate(file: &Path, opener: StoreOpener<'_>) -> Lines {
    let (host, own) = member(file)?;
    let (signers, name) = (own.signers(), &host.name);
    let mut store = Cell::open(&host, &signers, opener)?;
    // A second signing key that this host shows is about to be dropped by its agent. One that it does not show was left
    // by an interrupted command.
    let shows = |also: &SigningKey| Ok(store.host(name)?.is_some_and(|host| host.issuers.contains(&also.issuer())));
    if own.also.as_ref().map(shows).transpose()?.unwrap_or_default() {
        return Err(changes());
    }
    let serial = store.change(&signers, |cluster| may_issue(cluster).map(|()| issue(name, cluster)))??;
    let place = key_file(file);
    Aside::write(&place, &keys(&host.cluster, &host.name, serial, own.signing)?.text(), 0o600)?.replace()?;
    Ok(vec![format!("wrote {}: new keys of {}, by certificate {serial}", place.display(), host.name)])
}

/// Revokes the certificates of this host that are older than its present one.
fn retire(file: &Path, opener: StoreOpener<'_>) -> Lines {
    let (host, own) = member(file)?;
    let trust = Trust { cluster: &host.cluster, name: &host.name, issuers: &own.signers().publics(), revoked: &[] };
    let serial = verify(&own.cert, &trust).map_err(|why| Failed::new(format!("the keys of this host: {why}")))?.serial;
    let signers = own.signers();
    let revoked = Cell::open(&host, &signers, opener)?.change(&signers, |cluster| {
        let Some(issued) = cluster.issued.get_mut(&host.name) else { return BTreeSet::new() };
        let kept = issued.split_off(&serial);
        let before = std::mem::replace(issued, kept);
        cluster.revoked.extend(&before);
        before
    })?;
    let serials: Vec<_> = revoked.iter().map(u64::to_string).collect();
    let line = || format!("revoked certificate {}", serials.join(", "));
    Ok((!serials.is_empty()).then(line).into_iter().collect())
}

fn remove(file: &Path, name: &str, opener: StoreOpener<'_>) -> Lines {
    let (host, own) = member(file)?;
    if name == host.name {
        return Err(Failed::new(format!("{name} is this host")).hint("remove it on another one"));
    }
    let signers = own.signers();
    let mut store = Cell::open(&host, &signers, opener)?;
    // Revoking its keys would not stop what runs there by its lease: the agent has to be stopped first.
    let (record, pinned) = store.host_with_pinned(name)?;
    if record.as_ref().is_some_and(|record| record.state == HostState::Live) {
        return Err(Failed::new(format!("{name} renews its lease, or it did until lately"))
            .hint("stop its agent first; of one that is off, `treevisor host forget NAME --it-is-dead` records that"));
    }
    // The others have declared it dead, which ends what runs there by its lease, and that alone. A record that shows it
    // as removed ends the pinned claims, too.
    if let Some(claim) = pinned.first()
        && record.as_ref().is_none_or(|record| !record.is_empty(name))
    {
        return Err(Failed::new(format!("{claim} may still run on {name}: it needs no lease there"))
            .hint("start its agent and stop it, in order; of one that is off, `treevisor host forget NAME --it-is-dead` records that"));
    }
    // Before the keys are revoked: where this fails, the command can be repeated from the start.
    let address = record.map(|record| record.address).filter(|address| !address.is_empty());
    let taken = host.store.run.and_then(|_| take_away(&host, &signers, name, address.as_deref()).transpose());
    let left = taken.transpose().map_err(|why| {
        Failed::new(format!("its member of the store cannot be taken away: {}", Chain(&*why)))
            .hint("it is still a host; the store needs the majority of its members for this")
    })?;
    let (revoked, is_renewed) =
        store.change(&signers, |cluster| (cluster.removes(name), is_settled(cluster).is_err()))?;
    store.mark_removed(name)?;
    if revoked.is_empty() {
        return Err(Failed::new(format!("no certificate of {name} is in force")));
    }
    let serials: Vec<_> = revoked.iter().map(u64::to_string).collect();
    let mut lines =
        vec![format!("{name} is no host of {} any more: revoked certificate {}", host.cluster, serials.join(", "))];
    if let Some(left) = left {
        lines.push(format!("its member of the store is taken away, {left} are left; the next host that joins has one"));
    }
    if is_renewed {
        lines.push(
            "it may have the key that the cluster is getting, too: `treevisor host rotate --cluster` draws another one"
                .into(),
        );
    }
    lines.push(match host.store.run {
        // The signing key suffices to make certificates for the store.
        Some(_) => {
            "it still has the cluster's signing key, and can write the store by it, where it reaches that, until `treevisor host rotate --cluster` has replaced that".into()
        }
        None => {
            "it can still write the store as long as that lets it: take its certificate of etcd away, too".to_owned()
        }
    });
    Ok(lines)
}

/// Makes keys with a certificate of this serial.
fn keys(cluster: &str, name: &str, serial: u64, signing: SigningKey) -> Result<Keys, Failed> {
    let curve = draw_curve().map_err(|error| Failed::of(&error))?;
    let cert = certificate(cluster, name, serial, &signing, &curve.public)?;
    Ok(Keys { curve, signing, also: None, cert })
}

#[cfg(test)]
mod tests;
