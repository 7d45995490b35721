//! One hook: what it is about, its process, and its start.

use super::causes::Cause;
use super::queue::Class;
use crate::explain::sentence::{self, to_the_second};
use crate::ids::Path;
use crate::node::children;
use crate::node::cleanup::PATIENCE;
use crate::node::command::HelperProcess;
use crate::node::context::Context;
use crate::node::reactor::{Reactor, Source};
use crate::node::unknown_children::ProcessFamily;
use crate::os::descendants::below::ticks_now;
use crate::os::descendants::stamp::{self, Stamp};
use crate::os::spawn::{self, PlanSpec, SpawnError};
use crate::os::{fd, net};
use crate::text;
use crate::time::{Credit, Span, Time};
use crate::wire::view::EventView;
use serde::{Deserialize, Serialize};
use slog::warn;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;

/// The time limit of a hook.
pub(super) const LIMIT: Span = Span::from_secs(30);

/// A hook that runs.
pub(super) struct Running {
    pub number: u64,
    pub key: Key,
    pub about: Path,
    pub process: HelperProcess,
    /// When it has taken too long to end by itself; once it was killed, to end of that.
    pub until: Time,
    /// What it was credited.
    pub credited: Credit,
    /// SIGKILL has not ended it in time: nothing waits for it any more.
    pub stuck: bool,
}

/// A hook that is to be run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub key: Key,
    pub command: Vec<String>,
    pub about: Path,
    pub facts: Facts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Key {
    Panic,
    Escalate,
    Restart,
}

impl Key {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Key::Panic => "on-panic",
            Key::Escalate => "on-escalate",
            Key::Restart => "on-restart",
        }
    }

    pub(super) fn class(self) -> Class {
        match self {
            Key::Panic | Key::Escalate => Class::Disaster,
            Key::Restart => Class::Routine,
        }
    }
}

/// What a hook is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    message: String,
    event: Option<EventView>,
    cause: Option<Cause>,
    /// The number of restarts that the hook stands for, and the time of the first.
    restarts: Option<(u64, String)>,
}

impl Facts {
    pub(super) fn of(view: &EventView) -> Facts {
        Facts { message: sentence::of(view), event: Some(view.clone()), cause: None, restarts: None }
    }

    pub(super) fn without_event(message: String) -> Facts {
        Facts { message, event: None, cause: None, restarts: None }
    }

    /// Adds the cause of the event. Without one, the event is its own cause.
    pub(super) fn caused_by(self, cause: Option<Cause>) -> Facts {
        Facts { cause, ..self }
    }

    /// Sets how many restarts the hook stands for, and the time of the first.
    pub(super) fn standing_for(mut self, count: u64, since: String) -> Facts {
        if count > 1 {
            self.message += &format!("; {count} restarts since {}", to_the_second(&since));
        }
        self.restarts = Some((count, since));
        self
    }

    /// Adds the environment variables that describe the cause.
    fn cause(&self, environment: &mut BTreeMap<OsString, OsString>) {
        let Some(cause) = self.cause.clone().or_else(|| self.event.clone().map(Cause::itself)) else { return };
        let sentence = sentence::of(&cause.first).replace('\0', " ");
        environment.insert("TREEVISOR_CAUSE".into(), sentence.into());
        if let Ok(json) = serde_json::to_string(&cause.first) {
            environment.insert("TREEVISOR_CAUSE_EVENT".into(), text::json(&json).into_owned().into());
        }
        let Some(exited) = cause.exited() else { return };
        let status = exited.code.map(|code| code.to_string()).or_else(|| exited.signal_name.clone());
        if let Some(status) = status {
            environment.insert("TREEVISOR_EXIT_STATUS".into(), status.into());
        }
        let output: Vec<_> = exited.output.iter().map(|line| text::clean(line)).collect();
        environment.insert("TREEVISOR_OUTPUT".into(), output.join("\n").into());
    }
}

impl Order {
    /// Runs the hook, under this number.
    ///
    /// # Errors
    /// If it cannot be started, and why.
    pub(super) fn start(&self, number: u64, context: &Context, reactor: &mut Reactor) -> Result<Running, String> {
        // The hook belongs to this node, whichever path it is about; so it is not taken for a leftover of the panicked
        // subtree.
        let place = &context.place;
        let mut environment: BTreeMap<OsString, OsString> = context.base_environment.iter().cloned().collect();
        environment.extend(children::identity_environment(place, &place.path));
        environment.insert("TREEVISOR_HOOK".into(), self.key.as_str().into());
        environment.insert("TREEVISOR_SUBJECT".into(), self.about.as_str().into());
        environment.insert("TREEVISOR_MESSAGE".into(), self.facts.message.replace('\0', " ").into());
        self.facts.cause(&mut environment);
        if let Some((count, since)) = &self.facts.restarts {
            environment.insert("TREEVISOR_RESTARTS".into(), count.to_string().into());
            environment.insert("TREEVISOR_RESTARTS_SINCE".into(), since.into());
        }
        if let Some(event) = &self.facts.event {
            environment.insert("TREEVISOR_EVENT_ID".into(), event.id.to_string().into());
            environment.insert("TREEVISOR_EVENT_AT".into(), event.at.clone().into());
            if let Ok(json) = serde_json::to_string(event) {
                environment.insert("TREEVISOR_EVENT".into(), text::json(&json).into_owned().into());
            }
        }
        let (reader, writer) = fd::output_pipe().map_err(|error| error.to_string())?;
        let words = |error: SpawnError| {
            let ours = if net::is_our_own(error.errno) { " (this supervisor lacks it)" } else { "" };
            format!("{error}{ours}")
        };
        let stamp = Stamp::of_hook(&place.mark, &place.path, number);
        let mut limits = BTreeMap::from([("nofile".to_string(), place.nofile)]);
        limits.extend(stamp.limit().map(|limit| (stamp::LIMIT.to_string(), limit)));
        let plan = spawn::prepare(PlanSpec {
            env: environment.into_iter().collect(),
            limits,
            stdout: Some(writer.as_fd()),
            stderr: Some(writer.as_fd()),
            parent_death_signal: Some(9),
            ..PlanSpec::new(self.command.iter().map(OsString::from).collect())
        })
        .map_err(words)?;
        let since = ticks_now();
        let spawned = plan.spawn().map_err(words)?;
        let kin = ProcessFamily { leader: spawned.pid, stamp, since };
        let process = HelperProcess::watch(spawned, reader, Source::Hook(number), kin, reactor)?;
        let (key, about) = (self.key, self.about.clone());
        Ok(Running {
            number,
            key,
            about,
            process,
            until: context.now() + LIMIT,
            credited: Credit::default(),
            stuck: false,
        })
    }
}

impl Running {
    /// The time of the hook is over: kills it, or waits no longer for one that was killed.
    pub(super) fn late(&mut self, context: &Context) {
        if !self.process.is_killed() {
            self.kill_late(context);
        } else if !self.stuck && !self.process.has_ended() {
            self.stuck = true;
            warn!(context.logger, "hook cannot be killed; no longer waiting for it"; "hook" => self.key.as_str(),
                "path" => %self.about, "pid" => self.process.pid(), "why" => self.process.why_alive());
        }
    }

    fn kill_late(&mut self, context: &Context) {
        self.until = context.now() + PATIENCE;
        if let Some(why) = self.process.kill(format!("took longer than {LIMIT}")) {
            warn!(context.logger, "hook timed out and cannot be killed"; "hook" => self.key.as_str(),
                "path" => %self.about, "pid" => self.process.pid(), "why" => why);
        }
    }

    /// Kills the hook, which is not waited for any longer.
    pub(super) fn kill(&mut self, why: &str, now: Time) {
        self.until = now + PATIENCE;
        self.process.kill(why.into());
    }
}
