//! Restarts this host's member of the store by the host's own tree, so that it loads other certificates.

use super::super::identity::Signers;
use super::super::store_opener::etcd_at;
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

/// Limit for stopping and starting the member.
const AGAIN: Span = Span::from_secs(60);

/// Limit for its first answer, which needs a majority of the members.
const UP: Span = Span::from_secs(30);

/// Limit for a single answer.
const ANSWER: Span = Span::from_secs(2);

/// Restarts the member, and waits until it answers and accepts what these keys certify. Refuses where the store would
/// lose its majority by it; a store of one or two members cannot keep it, and is restarted all the same.
///
/// # Errors
/// Why it is not restarted, or does not answer.
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

/// Checks that the remaining members answer and are a majority.
fn can_be_away(host: &HostFile, at: &MemberAt, signers: &Signers) -> Result<(), Box<dyn Error>> {
    let members = etcd_at(&[at.client()], host, Some(signers))?.members(ANSWER)?;
    let others = members.iter().filter(|member| !member.learner && !member.clients.contains(&at.client()));
    let others: Vec<&Member> = others.collect();
    // A store of one or two members has no majority without this one: it is away during the restart.
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

/// Reads a record from the store, for which the member needs a majority.
fn reads(etcd: &mut Etcd, host: &HostFile) -> Result<(), String> {
    let prefix = Key::Cluster.in_store(&host.cluster);
    match etcd.ask(&Ask::Read { prefix }, ANSWER) {
        Answer::Records(_) => Ok(()),
        Answer::Unknown(why) => Err(why.to_string()),
        _ => Err("it has answered something else".to_owned()),
    }
}
