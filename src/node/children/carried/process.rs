//! The process of a child in the snapshot of a hot upgrade.

use crate::ids::Token;
use crate::logs::capture::{Capture, UnfinishedOutput};
use crate::node::children::node_link::NodeLink;
use crate::node::children::process::{First, LastContact, Process};
use crate::node::luggage::{Number, Packing, Unpacking};
use crate::node::reactor::{Reactor, Source};
use crate::node::unknown_children::ProcessFamily;
use crate::os::pidfd::{ExitStatus, ProcessHandle};
use crate::supervision::Run;
use crate::wire::snapshot::Kind;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CarriedProcess {
    run: Run,
    pid: u32,
    pidfd: Number,
    kin: ProcessFamily,
    first: Option<(u32, Number)>,
    session: Option<u32>,
    output: Option<(Number, UnfinishedOutput)>,
    token: Token,
    /// Pid and start time of each.
    asked: Vec<(u32, u64)>,
    status: Option<ExitStatus>,
    promised: bool,
    link: NodeLink,
    heard: LastContact,
}

impl Process {
    pub(super) fn pack(&self, path: &str, packing: &mut Packing<'_>) -> CarriedProcess {
        let Process {
            run,
            pid,
            pidfd,
            kin,
            exit_tag: _,
            first,
            session,
            output,
            token,
            asked,
            // Processes that were not sent the stop signal by now are not sent it any more.
            unasked: _,
            status,
            promised,
            link,
            heard,
            // Measured anew when a status needs it.
            used: _,
            cpu: _,
        } = self;
        CarriedProcess {
            run: *run,
            pid: *pid,
            pidfd: packing.process(pidfd, *pid),
            kin: *kin,
            first: first.as_ref().map(|first| (first.pid, packing.process(&first.pidfd, first.pid))),
            session: *session,
            output: output.as_ref().map(|(capture, _)| {
                (packing.descriptor(capture, Kind::Pipe, format_args!("the output of {path}")), capture.begun())
            }),
            token: *token,
            asked: asked.iter().map(|other| (other.pid(), other.began())).collect(),
            status: *status,
            promised: *promised,
            link: link.clone(),
            heard: *heard,
        }
    }

    pub(super) fn unpack(carried: CarriedProcess, unpacking: &mut Unpacking<'_>, reactor: &mut Reactor) -> Process {
        let CarriedProcess {
            run,
            pid,
            pidfd,
            kin,
            first,
            session,
            output,
            token,
            asked,
            status,
            promised,
            link,
            heard,
        } = carried;
        let pidfd = unpacking.process(pidfd);
        let source = Source::Exit(run);
        let exit_tag = match status {
            // Its exit status was read already, so its pidfd is watched no longer.
            Some(_) => reactor.unwatched_tag(),
            None => {
                reactor.processes.main_again(pid, session, run);
                reactor.watch_again(&pidfd, source)
            }
        };
        let first = first.map(|(pid, number)| {
            let pidfd = unpacking.process(number);
            reactor.processes.started(pid, Some(run));
            let tag = reactor.watch_again(&pidfd, source);
            Box::new(First { pid, pidfd, tag })
        });
        let output = output.map(|(number, begun)| {
            let capture = Capture::go_on(unpacking.take(number), begun);
            let tag = reactor.watch_again(&capture, Source::Output(run));
            (capture, tag)
        });
        Process {
            run,
            pid,
            pidfd,
            kin,
            exit_tag,
            first,
            session,
            output,
            token,
            // A process that has ended meanwhile is waited for no longer.
            asked: asked.into_iter().filter_map(|(pid, began)| ProcessHandle::open(pid, began).ok()).collect(),
            unasked: None,
            status,
            promised,
            link,
            heard,
            used: Cell::default(),
            cpu: Cell::default(),
        }
    }
}
