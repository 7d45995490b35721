//! An operator's order to another host: whether it can be sent there, and whether it was carried out.

use super::record::{Host, HostState};

/// The state of the connection between this host and the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState<'a> {
    /// This host is connected to no other.
    NoLinks,
    /// The link is down, for this reason if it is known.
    Down(Option<&'a str>),
    /// The link is up.
    Up,
}

/// Why an order to drain or undrain a host cannot be sent to it, with advice; `None`: it can. `record`: that of the
/// host; `None`: the cluster has no such host. `verb`: the command.
pub fn obstacle(name: &str, record: Option<&Host>, link: LinkState<'_>, verb: &str) -> Option<String> {
    let Some(record) = record.filter(|record| record.is_shown()) else {
        return Some(format!("the cluster has no host {name}"));
    };
    let there = format!("type `treevisor host {verb}` on {name} itself");
    let address = match record.address.as_str() {
        "" => "it shows no address at which its agent listens".to_owned(),
        address => format!("its agent was tried at {address}"),
    };
    match (link, record.state) {
        (LinkState::Up, _) => None,
        (_, HostState::Dead) if record.by.as_deref() == Some(name) => {
            Some(format!("{name} has left: nothing runs there until its agent is started"))
        }
        (_, HostState::Dead) => Some(format!(
            "{name} is lost, and {address}: nothing is placed there until it is back, and this can be typed again then"
        )),
        (LinkState::NoLinks, HostState::Live) => Some(format!("this host connects to no other: {there}")),
        (LinkState::Down(why), HostState::Live) => {
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            Some(format!(
                "there is no link to {name}, {address}{why}: {there}; if it is off, `treevisor host forget {name} --it-is-dead`"
            ))
        }
    }
}

/// Whether the record of a host shows that it is drained, or is not. A dead host shows neither.
pub fn shows(record: &Host, draining: bool) -> bool {
    record.state == HostState::Live && record.draining == draining
}

/// Whether the record of the host `name` shows what an operator has sworn of the epoch that it had then: nothing of it
/// runs any more. In a later epoch the host has come back, maybe by the time that this is looked at, and is alive.
pub fn shows_end(record: &Host, name: &str, epoch: u64) -> bool {
    record.epoch > epoch || record.epoch == epoch && record.is_empty(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oath_is_of_the_epoch_that_the_host_had() {
        let [live, dead] = [HostState::Live, HostState::Dead];
        for (state, epoch, sworn, expected) in [
            (live, 1, false, false),
            (dead, 1, false, false),
            (dead, 1, true, true),
            // It was not off, and has begun another epoch after the oath was written.
            (live, 2, false, true),
            (dead, 2, false, true),
        ] {
            let record = Host { epoch, sworn, ..host(state, Some("a")) };
            assert_eq!(shows_end(&record, "b", 1), expected, "{record:?}");
        }
    }

    fn host(state: HostState, by: Option<&str>) -> Host {
        Host { state, by: by.map(str::to_owned), address: "10.0.0.2:7411".to_owned(), ..Host::default() }
    }

    fn told(record: &Host, link: LinkState<'_>) -> String {
        obstacle("b", Some(record), link, "drain").unwrap_or_default()
    }

    #[test]
    fn what_has_a_link_is_asked_whatever_its_record_shows() {
        let lost = host(HostState::Dead, Some("a"));
        assert_eq!(
            (told(&host(HostState::Live, None), LinkState::Up), told(&lost, LinkState::Up)),
            (String::new(), String::new())
        );
    }

    #[test]
    fn a_host_that_the_cluster_has_not_or_not_any_more_is_unknown() {
        let removed = Host { removed: true, ..host(HostState::Dead, Some("a")) };
        for record in [None, Some(&removed)] {
            let told = obstacle("b", record, LinkState::Up, "drain").unwrap_or_default();
            assert_eq!(told, "the cluster has no host b");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_named_with_what_was_tried_and_what_would_be_right() {
        let (live, lost) = (host(HostState::Live, None), host(HostState::Dead, Some("a")));
        assert_eq!(
            told(&live, LinkState::Down(Some("it refuses this host's key"))),
            "there is no link to b, its agent was tried at 10.0.0.2:7411 (it refuses this host's key): \
             type `treevisor host drain` on b itself; if it is off, `treevisor host forget b --it-is-dead`"
        );
        let hidden = Host { address: String::new(), ..live.clone() };
        assert!(told(&hidden, LinkState::Down(None)).contains("no address"));
        assert_eq!(
            told(&live, LinkState::NoLinks),
            "this host connects to no other: type `treevisor host drain` on b itself"
        );
        assert!(told(&lost, LinkState::Down(None)).contains("is lost, and its agent was tried at 10.0.0.2:7411"));
        assert!(told(&host(HostState::Dead, Some("b")), LinkState::Down(None)).contains("has left"));
    }

    #[test]
    fn a_wish_has_come_about_when_the_record_of_a_live_host_shows_it() {
        let drained = |state| Host { draining: true, ..host(state, None) };
        assert!(shows(&drained(HostState::Live), true) && !shows(&drained(HostState::Live), false));
        assert!(!shows(&host(HostState::Live, None), true) && shows(&host(HostState::Live, None), false));
        assert!(!shows(&drained(HostState::Dead), true) && !shows(&host(HostState::Dead, None), false));
    }
}
