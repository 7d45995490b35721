//! What a process may do beyond its own limits, capabilities(7).

use std::fs;

/// The number of CAP_SYS_RESOURCE.
const SYS_RESOURCE: u32 = 24;

/// Whether a process may raise hard limits and lower its OOM score: it has CAP_SYS_RESOURCE, and not only in a user
/// namespace of its own. If that cannot be read, it may.
pub(super) fn may_exceed_limits(pid: u32) -> bool {
    let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    read("status").and_then(|status| effective(&status)).is_none_or(|set| set >> SYS_RESOURCE & 1 == 1)
        && read("uid_map").is_none_or(|map| is_initial(&map))
}

/// The effective capabilities, by the status of a process.
fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

/// Whether all user ids are mapped to themselves, as in the initial user namespace.
fn is_initial(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_shows_its_capabilities_and_its_namespace() {
        let with = |set: &str| effective(&format!("Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t{set}\n"));
        assert_eq!(with("000001ffffffffff").map(|set| set >> SYS_RESOURCE & 1), Some(1));
        assert_eq!(with("000001fffeffffff").map(|set| set >> SYS_RESOURCE & 1), Some(0));
        assert_eq!(effective("Name:\tx\n"), None);
        assert!(is_initial("         0          0 4294967295\n"));
        assert!(!is_initial("         0       1000          1\n"));
    }
}
