//! The log level of events.

use crate::wire::view::event::RolloutStage;
use crate::wire::view::{EventBody, EventView};
use slog::Level;

/// The log level of an event. `own`: it is an event of this supervisor itself, not of a child.
pub(super) fn level_of(view: &EventView, own: bool) -> Level {
    match &view.body {
        EventBody::Exited(exited) if exited.is_failure() => Level::Warning,
        EventBody::BeatLate(_)
        | EventBody::Unreachable(_)
        | EventBody::Hung(_)
        | EventBody::Dropped(_)
        | EventBody::Restarting(_)
        | EventBody::FailedOver(_)
        | EventBody::NoHost(_)
        | EventBody::Escalated(_)
        | EventBody::Panic(_)
        | EventBody::StartFailed(_) => Level::Warning,
        EventBody::Rollout(rollout) if rollout.stage == RolloutStage::Stopped => Level::Error,
        EventBody::GaveUp(_) | EventBody::UpgradeFailed(_) => Level::Error,
        EventBody::Starting | EventBody::Ready | EventBody::Stopping(_) => Level::Debug,
        EventBody::Started(_) | EventBody::Stopped if own => Level::Debug,
        EventBody::Started(_)
        | EventBody::Reachable(_)
        | EventBody::Stopped
        | EventBody::Exited(_)
        | EventBody::KillFailed(_)
        | EventBody::AutoShutdown(_)
        | EventBody::Held(_)
        | EventBody::Released(_)
        | EventBody::MainPid(_)
        | EventBody::Succeeded(_)
        | EventBody::Reloaded(_)
        | EventBody::Rollout(_)
        | EventBody::Upgraded(_)
        | EventBody::Other { .. } => Level::Info,
    }
}
