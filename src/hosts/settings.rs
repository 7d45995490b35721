//! The settings of a host, and the bounds within which they are safe.

use super::record::Labels;
use crate::time::Span;
use std::fmt;

/// The times of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// D: how long a record must be unchanged before its host may be declared dead.
    pub lease: Span,
    /// R: how often the record is renewed.
    pub renew: Span,
    /// How long one request to the store may take.
    pub attempt: Span,
    /// G: how long before others may count on it a host ends everything exclusive.
    pub guard: Span,
    /// S: how long before its deadline everything exclusive is asked to stop.
    pub stop_before: Span,
    /// P: how often all records are read.
    pub look: Span,
    /// How long a host must be sound, after it was lost, before it is preferred like any other.
    pub settle: Span,
}

impl Timing {
    /// The default lease, D.
    pub const LEASE: Span = Span::from_secs(15);

    /// The defaults for this D.
    pub fn of(lease: Span) -> Timing {
        let part = |divisor: u64| Span::from_nanos(lease.as_nanos() / divisor);
        Timing {
            lease,
            renew: part(5),
            attempt: part(15),
            guard: Span::from_nanos(lease.as_nanos() / 15 * 2).max(Span::from_millis(500)),
            stop_before: part(5),
            look: Span::from_secs(1),
            settle: Span::from_secs(60).max(lease.times(2)),
        }
    }

    /// How long a host may run what is exclusive after it has sent a renewal: D − G.
    pub fn held(&self) -> Span {
        Span::from_nanos(self.lease.as_nanos().saturating_sub(self.guard.as_nanos()))
    }

    fn broken_rule(&self) -> Option<String> {
        let Timing { lease, renew, attempt, guard, stop_before, look, settle } = *self;
        let least_guard = Span::from_nanos(lease.as_nanos() / 20) + Span::from_millis(300);
        let left = lease.as_nanos().saturating_sub(guard.as_nanos()).saturating_sub(stop_before.as_nanos());
        let most_renew = Span::from_nanos(left / 3);
        let most_attempt = Span::from_nanos(renew.as_nanos() / 2);
        let is_short = |what: &str, is: Span, least: Span, why: &str| {
            (is < least).then(|| format!("`{what}` is {is}; it must be at least {least}: {why}"))
        };
        let is_long = |what: &str, is: Span, most: Span, why: &str| {
            (is > most).then(|| format!("`{what}` is {is}; it must be at most {most}: {why}"))
        };
        is_short("lease", lease, Span::from_secs(5), "an election of the store takes up to two seconds")
            .or_else(|| {
                is_short("guard", guard, least_guard, "a twentieth of the lease and 300ms, for clocks and the kill")
            })
            .or_else(|| {
                is_long("renew", renew, most_renew, "a third of lease − guard − stop-before, for three attempts")
            })
            .or_else(|| {
                is_long("attempt", attempt, most_attempt, "half of `renew`, so that another endpoint can be tried")
            })
            .or_else(|| is_short("attempt", attempt, Span::from_millis(100), "less than that is no time for an answer"))
            .or_else(|| is_long("look", look, renew, "not more than `renew`, so that a renewal is seen in time"))
            .or_else(|| is_short("look", look, Span::from_millis(100), "each look reads all records"))
            .or_else(|| is_short("settle", settle, lease.times(2), "two leases"))
    }
}

/// The settings of a host's core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of this host.
    pub name: String,
    /// The name of the cluster.
    pub cluster: String,
    /// The times of its lease.
    pub timing: Timing,
    /// What its record shows about it.
    pub about: HostInfo,
}

/// What a host's record shows about it besides its lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostInfo {
    /// A value that differs between machines and between boots; what comes after a slash only between machines.
    pub boot: String,
    /// The address at which its agent listens; may be empty.
    pub address: String,
    /// Its certificate; may be empty.
    pub cert: String,
    /// The public halves of the signing keys that it accepts; see [`Host`](super::record::Host).
    pub issuers: Vec<String>,
    /// Labels, which a placement can require.
    pub labels: Labels,
    /// The version of the program.
    pub version: String,
    /// The protocol version of the agent.
    pub protocol: u32,
    /// Whether `x/` can be killed with one write.
    pub cgroup: bool,
    /// Whether it is a witness: it has a vote in the store, and nothing is placed there.
    pub witness: bool,
}

/// A rule that settings break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

/// The largest number of characters of a name.
const NAME_MAX: usize = 32;

impl Settings {
    /// Settings within the bounds that the rules of the lease need.
    ///
    /// # Errors
    /// Names the setting that is out of its bounds, the bound, and its reason.
    pub fn new(name: &str, cluster: &str, timing: Timing, about: HostInfo) -> Result<Settings, SettingsError> {
        for (what, text) in [("host", name), ("cluster", cluster)] {
            let fits = (1..=NAME_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !fits {
                return Err(SettingsError(format!(
                    "\"{text}\" is no name of a {what}: it has 1 to {NAME_MAX} characters out of a-z, 0-9 and -"
                )));
            }
        }
        if about.boot.is_empty() {
            return Err(SettingsError("the boot id of this machine is not known".to_owned()));
        }
        match timing.broken_rule() {
            Some(rule) => Err(SettingsError(rule)),
            None => Ok(Settings { name: name.to_owned(), cluster: cluster.to_owned(), timing, about }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> HostInfo {
        HostInfo { boot: "b".into(), ..HostInfo::default() }
    }

    fn refused(change: impl FnOnce(&mut Timing)) -> String {
        let mut timing = Timing::of(Timing::LEASE);
        change(&mut timing);
        Settings::new("a", "shop", timing, about()).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_within_their_bounds_for_every_lease() {
        for seconds in [5, 6, 7, 10, 15, 30, 60, 600] {
            let timing = Timing::of(Span::from_secs(seconds));
            assert!(Settings::new("a", "shop", timing, about()).is_ok(), "{timing:?}");
        }
        let fifteen = Timing::of(Timing::LEASE);
        assert_eq!((fifteen.renew, fifteen.attempt), (Span::from_secs(3), Span::from_secs(1)));
        assert_eq!((fifteen.guard, fifteen.held()), (Span::from_secs(2), Span::from_secs(13)));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_rule() {
        assert!(
            refused(|timing| timing.lease = Span::from_secs(4)).starts_with("`lease` is 4s; it must be at least 5s")
        );
        assert!(refused(|timing| timing.guard = Span::from_secs(1)).contains("at least 1s50ms"));
        assert!(
            refused(|timing| timing.renew = Span::from_secs(4)).starts_with("`renew` is 4s; it must be at most 3s")
        );
        assert!(refused(|timing| timing.attempt = Span::from_secs(2)).contains("half of `renew`"));
        assert!(refused(|timing| timing.attempt = Span::ZERO).starts_with("`attempt`"));
        assert!(refused(|timing| timing.look = Span::from_secs(4)).starts_with("`look`"));
        assert!(refused(|timing| timing.look = Span::ZERO).starts_with("`look`"));
        assert!(refused(|timing| timing.settle = Span::from_secs(29)).contains("two leases"));
        assert!(refused(|timing| timing.stop_before = Span::from_secs(13)).starts_with("`renew`"));
    }

    #[test]
    fn names_have_few_letters() {
        for name in ["", "A", "a_b", "a/b", &"x".repeat(33)] {
            assert!(Settings::new(name, "shop", Timing::of(Timing::LEASE), about()).is_err(), "{name}");
            assert!(Settings::new("a", name, Timing::of(Timing::LEASE), about()).is_err(), "{name}");
        }
    }
}
