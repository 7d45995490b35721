//! Converts `WatchdogSec=`, and the signal that a hung service gets.

use super::super::draft::{Draft, Setting};
use super::super::signals::hang_signal;
use super::amount::span;
use super::unit::Unit;
use crate::spec::print::basic;
use crate::time::Span;

/// systemd's default of `WatchdogSignal=`.
const SIGNAL: &str = "ABRT";

/// Converts `WatchdogSec=` into a heartbeat.
pub(super) fn watchdog(setting: &Setting, worker: &mut Draft) {
    match span(&setting.value) {
        Some(whole) if whole.as_nanos() >= 2 => {
            let half = basic(&Span::from_nanos(whole.as_nanos() / 2).to_string());
            let heartbeat = format!("{{ interval = {half}, misses = 2, source = \"notify\" }}");
            worker.set("heartbeat", heartbeat, Some(setting));
        }
        Some(_) => {}
        None if setting.value == "infinity" => {}
        None => worker.note(setting.note("is no time")),
    }
}

/// Converts the signal that the service gets before it is killed as hung.
pub(super) fn of_a_hang(unit: &Unit<'_>, worker: &mut Draft) {
    match unit.last("Service", "WatchdogSignal") {
        Some(setting) if !worker.has("heartbeat") => worker.note(setting.note("nothing shows that it hangs")),
        Some(setting) => hang_signal(&setting.value, Some(setting), worker),
        None if worker.has("heartbeat") => hang_signal(SIGNAL, None, worker),
        None => {}
    }
}
