//! Seeds that once showed something, and what. They are run before all others.
//!
//! A seed means the same for as long as `scenarios`, `faults` and the draws of `world` and `node` stay as they are.
//! After a change there, these are seeds like any others; look for new ones with the fault put back in.

/// Each with what it had shown, in the core or in a core that was broken on purpose.
pub(crate) const REGRESSIONS: &[(u64, &str)] = &[
    (14, "a request to cycle a child that was just being killed to be held was never answered"),
    (53, "the same among some two hundred requests that had piled up while the machine stood still"),
    (1_156, "the same in a node that was itself started anew"),
    (1, "a request to start a child, older than the order to stop it, brings it back"),
    (11, "a spared child without a moment to look again makes the loop spin"),
    (28, "a lease that is not heeded kills a child that works"),
    (131, "a charge that is exactly one period old does not count any more"),
    (142, "a deadline that was set anew is lost, and a hang goes unnoticed"),
    (159, "a supervisor that ends does not wait for the stop that is in progress"),
    (2_481, "old beats that overtook newer ones pass for life, and a dead counter for progress"),
    (1_093, "a copy that was removed and added again is started beside its old process by another child of its name"),
    (3_770, "a start times out because the machine stood still"),
];
