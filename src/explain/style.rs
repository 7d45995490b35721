//! The colour of an event, the same in every output.

use crate::wire::view::EventBody;
use crate::wire::view::event::RolloutStage;
use anstyle::{AnsiColor, Style};

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const QUIET: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Magenta and not yellow, which cannot be read on a light background.
pub(crate) const BUSY: Style = AnsiColor::Magenta.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const HELD: Style = AnsiColor::Magenta.on_default().bold();

/// The colour of an event.
pub(crate) fn of_event(body: &EventBody) -> Style {
    match body {
        EventBody::Ready | EventBody::Started(_) | EventBody::Reachable(_) => GOOD,
        EventBody::Exited(exited) if exited.done => GOOD,
        // An ordered exit is no problem.
        EventBody::Exited(exited) if exited.is_expected() && exited.killed.is_none() => QUIET,
        EventBody::BeatLate(_) | EventBody::Dropped(_) | EventBody::Restarting(_) | EventBody::Exited(_) => BUSY,
        EventBody::Unreachable(_) | EventBody::FailedOver(_) | EventBody::NoHost(_) => BUSY,
        EventBody::Hung(_)
        | EventBody::KillFailed(_)
        | EventBody::Escalated(_)
        | EventBody::GaveUp(_)
        | EventBody::Panic(_)
        | EventBody::UpgradeFailed(_)
        | EventBody::StartFailed(_) => BAD,
        EventBody::Held(_) => HELD,
        EventBody::Starting | EventBody::Stopping(_) | EventBody::Stopped => QUIET,
        EventBody::Rollout(rollout) if rollout.stage == RolloutStage::Stopped => BAD,
        EventBody::AutoShutdown(_)
        | EventBody::Released(_)
        | EventBody::MainPid(_)
        | EventBody::Succeeded(_)
        | EventBody::Reloaded(_)
        | EventBody::Rollout(_)
        | EventBody::Upgraded(_)
        | EventBody::Other { .. } => PLAIN,
    }
}
