//! The pure core of a host in a cluster: it keeps a lease in the cluster's store, judges the leases of the other hosts,
//! claims what is free, and decides what runs here. Events go in, actions come out; time and random numbers are passed
//! in. It has no clock, socket, process or thread.
//!
//! # The contract with the shell
//!
//! - **One in, all out.** The shell reads a [`Turn`], hands in one [`Event`], carries out every [`Action`] that came
//!   back, in order, and only then hands in the next.
//! - **The turn is read before anything is sent.** A lease is counted from the turn in which its renewal was ordered,
//!   so a request that has to wait is safe, but makes the lease shorter by that.
//! - **Every request is answered once**, within an attempt of its being sent, by [`Answer::Unknown`] if by nothing
//!   else. An answer that leaves open what happened *is* unknown. The next request goes to the next endpoint. Where a
//!   connection was refused, so that nothing was sent, the store's client may go to the next endpoint within the same
//!   request.
//! - **Versions are compared, never ordered.** Reads may be stale, each record by itself.
//! - **What ends is seen to have ended.** [`Event::Exited`] and [`Event::Cleared`] are handed in when nothing is left,
//!   not when the signal was sent; a process is born into its cgroup, so nothing appears there later.
//! - **Nothing is trusted.** An event of an earlier request, run, poke or clearing is dropped.
//! - **One deadline.** [`Agent::next_deadline`] is the BOOTTIME at which [`Event::Tick`] is due; earlier ones change
//!   nothing.
//!
//! # The rules
//!
//! - **W1** (`lease`): A renewal is a swap of the own record, expecting the version written last, with a number drawn
//!   for this attempt. Once it is proved, by its answer or by that number read back, the deadline is D − G after the
//!   turn in which it was ordered.
//! - **W2** (`lease`): An epoch begins only when `x/` was seen empty; on a record of another boot only after it has
//!   stood for two renewals.
//! - **W3** (`failure_detector`): Another host's record is swapped to `dead`, expecting the version that was received D
//!   ago or longer.
//! - **W4** (`claim`): A claim is swapped, expecting the version read, when it is free or its epoch has ended; not
//!   within a second of the own deadline.
//! - **W5** (`agent`): Something runs only while its claim is this host's in its present epoch, and the deadline is
//!   ahead; what is pinned, while no record shows that its claim is another host's.
//! - **W6** (`claim`): A claim is set free when nothing of it is left, and that was seen.
//! - **W7** (`lease`): No write of the own record is sent before the fence has answered a poke, within 200 ms.
//! - **W8** (`lease`, `claim`): A missing answer is *unknown*: what was sent is remembered until it is known that it
//!   was carried out, or that it cannot be any more.
//!
//! # Why no two hosts run one subtree at once
//!
//! What is assumed: (A1) a swap is atomic, and no version comes back; (A2) over a lease the clocks of two hosts differ
//! from true time by a factor of 1 ± ε at most; (A3) no instruction of what is exclusive is executed later than K after
//! the deadline; (A4) no clock of a running machine is stopped or set back from outside.
//!
//! By A1 the owners of a claim come one after another. Take one, h in its epoch e, and the next, which has swapped the
//! record by W4.
//!
//! 1. *The record was free.* Then h had seen that nothing was left of it (W6), and has run nothing of it after: what is
//!    being set free is not run again, and a claim that h wins anew is a later owner.
//! 2. *h had a later epoch.* It began when nothing was left on h (W2), and what h runs after is run for claims of the
//!    new epoch.
//! 3. *The record of h was dead in e*, by a swap of some host w that expected the version v. That swap was done, so v
//!    was the last version of h's record in e: no renewal came about after it. Let s be when the last one that h holds
//!    for proved was ordered. It had become v, or an earlier version, before w received v at r; so s ≤ r. By W3, w has
//!    declared at r + D/(1+ε) or later, and the next owner came after that. By W1, W5 and A3 h has run until s +
//!    (D−G)/(1−ε) + K at most. With s ≤ r the second is not after the first as long as
//!
//!    > G ≥ 2εD/(1+ε) + (1−ε)K
//!
//!    and [`Settings::new`] refuses a G below D/20 + 300 ms, which is that for ε = 2 % and K of a quarter of a second.
//!
//! What is *pinned*, as its placement names one host alone, runs there without a lease: its claim has that written in
//! it, and is made anew before a run whose placement differs in that from the run before. By such a claim W4 takes an
//! epoch for over only where its host has left, was removed, or is off by an operator's word.
//! A later epoch is not enough, since it begins while the subtree goes on. So of the three cases the first is left: the
//! host sets the claim free (W6), as soon as nothing of it runs and no parent wants it there.
//!
//! Where both clocks are read, the holder takes the one that has advanced more and the one that waits that which has
//! advanced less. So A2 need hold for one of the two only: for MONOTONIC_RAW while a machine is not suspended, however
//! BOOTTIME is slewed. A suspended machine counts by BOOTTIME.
//!
//! Nothing in this needs a read to be fresh, a message to arrive, a time in a record, or an agent that runs: the
//! deadline is in memory that the fence reads and by which a timer of the kernel is set, before anything is run under
//! it. What reads do decide: that a claim is *not* held, which the swap then finds out for certain; that an epoch is
//! over, which never becomes untrue; and that an attempt has come about, by a number that only that attempt had.
//!
//! What of it may be late, doubled or lost is tried in `tests/hosts`, for thousands of histories, with each rule broken
//! in turn.
//!
//! # Which file holds what
//!
//! `agent` has the state and handles events, `answers` handles the answers of the store, `placing` moves claims. Of
//! placed subtrees, `serving` is the side of the host that runs one, with each in a `hosted_subtree`; `seeking` and
//! `asking` are the side of its parent's host, with each in `placed_children`; `message` is what they send each other.
//! `awaited` and `releasing` are the reports that are sent as soon as a claim is free. `lease`, `failure_detector`,
//! `claim` and `choose` do not depend on each other and are tested alone. `renewal` is how a cluster gets another
//! signing key, `wish` how an operator's order reaches another host. `shown` is what `status` gets of placed subtrees,
//! and `showing` collects it. `moment` is time, `record` the records in the store, `settings` the bounds; `event`,
//! `action`, `report` and `view` are the types of the interface.

pub mod action;
mod agent;
mod answers;
mod asking;
mod awaited;
pub mod choose;
mod claim;
pub mod event;
mod failure_detector;
mod hosted_subtree;
mod lease;
pub mod loss;
pub mod message;
pub mod moment;
mod placed_children;
mod placing;
pub mod record;
mod releasing;
pub mod renewal;
pub mod report;
mod seeking;
mod serving;
pub mod settings;
mod showing;
pub mod shown;
pub mod view;
pub mod wish;

#[cfg(test)]
mod tests;

pub use action::{Action, End, Run, Start, StopWhy};
pub use agent::Agent;
pub use choose::Eligibility;
pub use event::{Answer, Bundle, Event, OperatorOrder, ParentId, RequestId, RunEnd, RunId, Stored, Turn};
pub use message::Message;
pub use moment::Moment;
pub use record::{ClaimKey, Key};
pub use report::Report;
pub use settings::{HostInfo, Settings, SettingsError, Timing};
pub use view::{HostView, InstanceView, SubtreeClaim};
