//! Converts socket units into `listen` of their service's worker.

use super::super::draft::{Draft, Setting};
use super::unit::Unit;
use crate::spec::listen::Address;
use crate::spec::print::basic;

/// systemd's default file mode.
const MODE: &str = "0666";

/// Keys that need no conversion: treevisor behaves so anyway, or they are handled with another key.
const SO_ANYWAY: &[&str] = &["ListenStream", "Service", "Accept", "RemoveOnStop", "FlushPending"];

/// Adds the sockets of `unit` to the worker of its service.
pub(super) fn hand_over(unit: &Unit<'_>, worker: &mut Draft) {
    let is = |key: &str, values: &[&str]| unit.last("Socket", key).is_some_and(|s| values.contains(&s.value.as_str()));
    const YES: &[&str] = &["yes", "true", "on", "1"];
    if is("Accept", YES) {
        worker.off = true;
        let why = "a process of its own for each connection is not started here; take the `#` away if it opens a socket by itself";
        worker.note(unit.note(why));
        return;
    }
    let common = common(unit, worker);
    let mut sockets = Vec::new();
    for setting in unit.all("Socket", "ListenStream") {
        match address(unit, setting) {
            Ok(address) => {
                let is_file = address.starts_with("unix:") && !address.starts_with("unix:@");
                let fits = |key: &str| match key {
                    "mode" | "user" | "group" => is_file,
                    "reuse-port" => address.starts_with("tcp:"),
                    _ => true,
                };
                let more = common.iter().filter(|(key, _)| fits(key)).map(|(key, value)| format!(", {key} = {value}"));
                sockets.push(format!("{{ address = {}{} }}", basic(&address), more.collect::<String>()));
            }
            Err(why) => worker.note(setting.note(why)),
        }
    }
    for setting in unit.effective("Socket") {
        let key = setting.key.as_str();
        let read = ["Backlog", "SocketMode", "SocketUser", "SocketGroup", "ReusePort", "FileDescriptorName"];
        if key.starts_with("Listen") && key != "ListenStream" {
            worker.note(setting.note("only stream sockets are held here: let the program open it by itself"));
        } else if !SO_ANYWAY.contains(&key) && !read.contains(&key) {
            worker.note(setting.lost());
        }
    }
    if sockets.is_empty() {
        worker.off = true;
        worker.note(unit.note("none of its sockets can be held; take the `#` away if the program opens one by itself"));
        return;
    }
    worker.set("listen", format!("[{}]", sockets.join(", ")), unit.last("Socket", "ListenStream"));
    worker.note(unit.note("the worker is started with the tree, not by the first connection"));
}

/// The keys that all sockets of the unit share.
fn common(unit: &Unit<'_>, worker: &mut Draft) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let last = |key: &str| unit.last("Socket", key);
    // The default name is the unit's in systemd and the worker's here, so it is always written.
    let name = match last("FileDescriptorName").map(|setting| unit.named.specified(&setting.value)) {
        Some(Ok(name)) => name.in_toml(),
        Some(Err(_)) | None => unit.named.name.clone(),
    };
    found.push(("name", basic(&name)));
    if let Some(setting) = last("Backlog") {
        match setting.value.parse::<u32>() {
            Ok(backlog) => found.push(("backlog", backlog.to_string())),
            Err(_) => worker.note(setting.note("is no whole number")),
        }
    }
    found.push(("mode", basic(last("SocketMode").map_or(MODE, |setting| setting.value.as_str()))));
    for (key, theirs) in [("user", "SocketUser"), ("group", "SocketGroup")] {
        match last(theirs).map(|setting| (setting, unit.named.specified(&setting.value))) {
            Some((_, Ok(value))) => found.push((key, basic(&value.in_toml()))),
            Some((setting, Err(why))) => worker.note(setting.note(why)),
            None => {}
        }
    }
    if last("ReusePort").is_some_and(|setting| matches!(setting.value.as_str(), "yes" | "true" | "on" | "1")) {
        found.push(("reuse-port", "true".into()));
    }
    found
}

/// Converts an address. A port alone means all addresses, of IPv6 and IPv4.
fn address(unit: &Unit<'_>, setting: &Setting) -> Result<String, String> {
    let value = unit.named.specified(&setting.value)?.in_toml();
    let address = if value.starts_with('/') || value.starts_with('@') {
        format!("unix:{value}")
    } else if value.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("tcp://[::]:{value}")
    } else {
        format!("tcp://{value}")
    };
    // An address with variables cannot be checked, as they are known only when the tree is started.
    if address.contains("${") {
        return Ok(address);
    }
    Address::parse(&address).map(|_| address).map_err(|error| error.to_string())
}
