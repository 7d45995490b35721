//! The steps of a node's end, after its core has halted. `Node::leave` has their order.

use super::above::Above;
use super::children::{Children, LAST};
use super::context::Context;
use super::endpoint::Endpoint;
use super::hooks::Hooks;
use super::reactor::Reactor;
use super::uplink::outbox;
use crate::os::clock::{self, Clock};
use crate::supervision::End;
use crate::time::{Span, Time};
use slog::error;

/// How long the journal's pipe is waited for to take the last lines: as long as a disk is slow, but not dead.
const LAST_LINES: Span = Span::from_secs(1);

/// How long a socket keeps on sending after it was closed.
const LINGER: Span = Span::from_millis(200);

/// A keeper that is dismissed has only to write what it has received. A disk takes that at once, or has failed.
pub(super) const DISMISSAL: Span = Span::from_secs(2);

/// What is waited for at the end is looked at so often: no source is read any more, so this is not the loop's own wait.
const STEP: Span = Span::from_millis(20);

/// A full pipe is tried again after this.
const FULL: Span = Span::from_millis(1);

/// The parent receives what is left for it.
pub(super) fn send_last(above: &mut Above, context: &Context) {
    match above {
        Above::Parent(uplink) => {
            uplink.flush(context.now());
            wait_until(&context.clock, Some(outbox::LINGER), |now, left| {
                let done = uplink.go_on_ending(now);
                if !done {
                    uplink.wait(left);
                }
                done
            });
        }
        Above::Operators(root) => root.end_waiting(),
    }
}

/// What the log and a service manager are to show. `left`: processes that stay behind.
pub(super) fn report(left: impl IntoIterator<Item = String>, end: End, above: &mut Above, context: &Context) {
    for left in left {
        error!(context.logger, "ending although processes cannot be killed; they are left behind"; "left" => left);
    }
    if let Above::Operators(root) = above {
        root.report_end(end, context, LAST);
        root.end_service_manager(end, context);
    }
}

/// The hooks that are still due. They have a time limit of their own.
pub(super) fn end_hooks(end: End, hooks: &mut Hooks, children: &Children, context: &Context, reactor: &mut Reactor) {
    hooks.begin_end(end, children, context, reactor);
    wait_until(&context.clock, None, |_, left| {
        let done = hooks.go_on_ending(context, reactor);
        if !done {
            context.log_handle.flush();
            hooks.wait(left);
        }
        done
    });
}

/// The root's journal gets its last lines.
pub(super) fn end_journal(end: End, above: &mut Above, clock: &Clock) {
    let Above::Operators(root) = above else { return };
    root.begin_journal_end(end);
    wait_until(clock, Some(LAST_LINES), |_, left| {
        let done = root.go_on_journal_end();
        if !done {
            clock::pause(left.min(FULL));
        }
        done
    });
}

/// Closes the sockets, dismisses the keeper, and removes what is outside of this process.
pub(super) fn shut(above: Above, endpoint: Endpoint, children: Children) {
    match above {
        Above::Operators(root) => root.close(DISMISSAL, LINGER),
        Above::Parent(uplink) => uplink.close(LINGER),
    }
    let sockets = endpoint.close();
    for handle in children.into_all() {
        handle.remove_group();
    }
    drop(sockets);
}

/// Goes on with one part of the end, step by step, until it is over or its time is. A step is given the time and for
/// how long it may wait, and returns whether it was the last one.
fn wait_until(clock: &Clock, limit: Option<Span>, mut step: impl FnMut(Time, Span) -> bool) {
    let mut now = clock.now();
    let end = limit.map(|limit| now + limit);
    loop {
        let left = end.map_or(STEP, |end| end.since(now).min(STEP));
        if step(now, left) || end.is_some_and(|end| now >= end) {
            return;
        }
        now = clock.now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_end_is_over_when_it_says_so_or_when_its_time_is() {
        let clock = Clock::start();
        let mut steps = 0;
        wait_until(&clock, None, |_, left| {
            assert_eq!(left, STEP);
            steps += 1;
            steps == 3
        });
        assert_eq!(steps, 3);
        let limit = Span::from_millis(5);
        wait_until(&clock, Some(limit), |_, left| {
            assert!(left <= limit);
            clock::pause(left);
            false
        });
        assert!(clock.now() >= Time::ZERO + limit);
    }
}
