//! The end of a node, after its core has halted: the order in which those that wait are answered, everything is closed,
//! and what lies outside of this process is removed.

use super::above::Above;
use super::children::LAST;
use super::requests::Sight;
use super::turn::Node;
use super::uplink::outbox;
use crate::os::clock::{self, Clock};
use crate::os::process;
use crate::supervision::End;
use crate::time::{Span, Time};
use slog::error;

/// How long the journal's pipe is waited for to take the last lines: as long as a disk is slow, but not dead.
const LAST_LINES: Span = Span::from_secs(1);

/// How long a socket keeps on sending after it was closed.
const LINGER: Span = Span::from_millis(200);

/// A keeper that is dismissed has only to write what it has received. A disk takes that at once, or has failed.
pub(super) const GOODBYE: Span = Span::from_secs(2);

/// What is waited for at the end is looked at so often: no source is read any more, so this is not the loop's own wait.
const STEP: Span = Span::from_millis(20);

/// A full pipe is tried again after this.
const FULL: Span = Span::from_millis(1);

impl Node {
    /// Ends this node after its core has: notifies those that wait, closes and removes everything, and gives the exit
    /// status.
    pub(super) fn leave(mut self, end: End) -> i32 {
        // Those that wait for an answer, for events, or for lines.
        self.finish_requests();
        self.end_folds();
        self.tell_children();
        let now = self.context.now();
        match &mut self.above {
            Above::Parent(uplink) => {
                uplink.flush(now);
                wait_until(&self.context.clock, Some(outbox::LINGER), |now, left| {
                    let done = uplink.go_on_ending(now);
                    if !done {
                        uplink.wait(left);
                    }
                    done
                });
            }
            Above::Operators(root) => root.end_waiting(),
        }
        self.finish_streams();

        // What the log and a service manager are to know.
        for left in self.view().left_behind(self.context.now()) {
            error!(self.context.logger, "ending although processes cannot be killed; they are left behind"; "left" => left);
        }
        if let Above::Operators(root) = &mut self.above {
            root.last_words(end, &self.context, LAST);
            root.end_service_manager(end, &self.context);
        }

        // What still works for this node. Hooks have a time limit of their own.
        self.hooks.begin_end(end, &self.children, &self.context, &mut self.reactor);
        wait_until(&self.context.clock, None, |_, left| {
            let done = self.hooks.go_on_ending(&self.context, &mut self.reactor);
            if !done {
                self.context.log_handle.flush();
                self.hooks.wait(left);
            }
            done
        });
        self.children.output.finish(&self.context);
        if let Above::Operators(root) = &mut self.above {
            root.begin_journal_end(end);
            wait_until(&self.context.clock, Some(LAST_LINES), |_, left| {
                let done = root.go_on_journal_end();
                if !done {
                    clock::pause(left.min(FULL));
                }
                done
            });
        }

        // The keeper, the sockets, and what is outside of this process.
        match self.above {
            Above::Operators(root) => root.close(GOODBYE, LINGER),
            Above::Parent(uplink) => uplink.close(LINGER),
        }
        let sockets = self.endpoint.close();
        for handle in self.children.into_all() {
            handle.remove_group();
        }
        drop(sockets);
        if end == End::Terminated {
            process::die_by(15);
        }
        end.code()
    }
}

/// Goes on with one part of the end, step by step, until it is over or its time is. A step is given the time and for how
/// long it may wait, and returns whether it was the last one.
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
