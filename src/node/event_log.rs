//! The log of a node's own events: their levels, and their texts.

use super::context::Context;
use super::journald;
use crate::explain::{self, sentence};
use crate::ids::Path;
use crate::logs::Format;
use crate::wire::view::event::RolloutStage;
use crate::wire::view::{EventBody, EventView};
use slog::{Drain, Level, error, info, o, warn};

/// `is_node`: whether a path is that of a child node.
pub(super) fn log(view: &EventView, context: &Context, is_node: &dyn Fn(&Path) -> bool) {
    // The root logs its own start and end in lines of its own, so these events have a lower level.
    let level = level_of(view, view.path == context.place.path);
    if context.log_handle.is_live() {
        return show(view, level, context, is_node);
    }
    if !context.event_logger.is_enabled(level) {
        return;
    }
    let sentence = sentence::of(view);
    if context.log_handle.is_to_journald() {
        return journald::send(&context.log_handle, level, &sentence, view);
    }
    // A JSON log has the event itself beside the sentence.
    let with_event = (context.place.log_format == Format::Json)
        .then(|| context.event_logger.new(o!("event" => slog::Serde(view.clone()))));
    let logger = with_event.as_ref().unwrap_or(&context.event_logger);
    match level {
        Level::Critical | Level::Error => error!(logger, "{}", sentence),
        Level::Warning => warn!(logger, "{}", sentence),
        Level::Info => info!(logger, "{}", sentence),
        Level::Debug | Level::Trace => slog::debug!(logger, "{}", sentence),
    }
}

/// Shows an event on a terminal: starts, readiness, failures, restarts and their causes. The start of a
/// supervisor's process is left out; it is shown once all below it is up.
fn show(view: &EventView, level: Level, context: &Context, is_node: &dyn Fn(&Path) -> bool) {
    let level = match view.body {
        EventBody::Started(_) if is_node(&view.path) => return,
        // The exit has been shown: this adds nothing.
        EventBody::Stopped => return,
        EventBody::Ready if view.path != context.place.path => Level::Info,
        _ => level,
    };
    let words = explain::sentence::words(view);
    context.log_handle.happened(level, view.path.as_str(), explain::style::of_event(&view.body), &words);
}

/// The log level of an event. `own`: it is an event of this supervisor itself, not of a child.
fn level_of(view: &EventView, own: bool) -> Level {
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
