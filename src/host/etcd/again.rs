//! This host's member of the store is started again, by the host's own tree, so that it takes other certificates.

use super::super::identity::Signers;
use super::super::way::etcd_at;
use super::taken;
use crate::control::{Limits, RuntimeDir, Session, own_base};
use crate::hosts::record::Key;
use crate::hosts::renewal::are_same;
use crate::ids::{Name, Path};
use crate::os::clock::{self, Clock};
use crate::spec::host::member::MemberAt;
use crate::spec::host::{self, HostFile};
use crate::store::etcd::Etcd;
use crate::store::etcd::members::Member;
use crate::store::{Answer, Ask, Store as _};
use crate::time::{Span, Time};
use crate::wire::message::{Outcome, Reply, Verb};
use std::error::Error;

/// Its stop and its start take no longer.
const AGAIN: Span = Span::from_secs(60);

/// It answers within this, with a majority of the others.
const UP: Span = Span::from_secs(30);

/// One that answers does so within this.
const ANSWER: Span = Span::from_secs(2);

/// Starts it again, and waits until it answers and takes what these keys certify. Not while the store would have no
/// majority without it, where it has one otherwise.
///
/// # Errors
/// Why it does not.
pub(in crate::host) fn start_again(host: &HostFile, at: &MemberAt, signers: &Signers) -> Result<(), Box<dyn Error>> {
    can_be_away(host, at, signers)?;
    let runtime = RuntimeDir::of(&own_base(), &Name::parse(host::INSTANCE)?)?;
    let mut session = Session::connect(&runtime)?;
    let limits = Limits { first: Span::from_secs(10), overall: AGAIN };
    let asked = Verb::Restart { path: Path::parse("/store")? };
    match session.ask(asked, limits, &mut |_, _| {})? {
        Reply::Done { outcome: Outcome::Ok, .. } => {}
        Reply::Done { outcome, detail } => return Err(format!("it is not started again: {outcome:?} {detail}").into()),
        Reply::Refused { message, .. } => return Err(format!("it is not started again: {message}").into()),
        _ => return Err("it is not started again: the host's tree has answered something else".into()),
    }
    let mut etcd = etcd_at(&[at.client()], host, Some(signers))?;
    let (clock, end) = (Clock::start(), Time::ZERO + UP);
    while let Err(why) = reads(&mut etcd, host) {
        if clock.now() >= end {
            return Err(format!("it was started again, and does not answer: {why}").into());
        }
        clock::pause(Span::from_millis(100));
    }
    let (has, wanted) = (taken(signers)?.unwrap_or_default(), signers.issuers());
    let is_current = are_same(&has, wanted.iter().map(String::as_str));
    if is_current { Ok(()) } else { Err("it was started again, and takes other keys than this host has".into()) }
}

/// Whether those that are left answer, and are a majority.
fn can_be_away(host: &HostFile, at: &MemberAt, signers: &Signers) -> Result<(), Box<dyn Error>> {
    let members = etcd_at(&[at.client()], host, Some(signers))?.members(ANSWER)?;
    let others = members.iter().filter(|member| !member.learner && !member.clients.contains(&at.client()));
    let others: Vec<&Member> = others.collect();
    // Of two members none can be away: then the store is, for as long as it takes.
    if others.len() < 2 {
        return Ok(());
    }
    let silent = |member: &&&Member| {
        etcd_at(&member.clients, host, Some(signers)).map_or(true, |mut etcd| reads(&mut etcd, host).is_err())
    };
    let silent: Vec<&str> = others.iter().filter(silent).map(|member| member.name.as_str()).collect();
    let all = others.len() + 1;
    if others.len() - silent.len() > all / 2 {
        return Ok(());
    }
    Err(format!("it is not started again as long as the store needs it: {} does not answer", silent.join(", ")).into())
}

/// Has it read a record, for which it needs a majority.
fn reads(etcd: &mut Etcd, host: &HostFile) -> Result<(), String> {
    let prefix = Key::Cluster.in_store(&host.cluster);
    match etcd.ask(&Ask::Read { prefix }, ANSWER) {
        Answer::Records(_) => Ok(()),
        Answer::Unknown(why) => Err(why.to_string()),
        _ => Err("it has answered something else".to_owned()),
    }
}
