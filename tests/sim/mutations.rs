//! Deliberate breaches, to see that the checkers see.
//!
//! Some make the world break its side of the contract, some tell the core another policy than the one that the checkers
//! hold it to, and some alter what the core takes in or orders: a core with a bug, made from one without.

use crate::checkers::Rule;
use treevisor::spec::policy::{
    ChildPolicy, Intensity, Restart, Shutdown, StartOrder, StopOrder, Strategy, SupervisorPolicy,
};
use treevisor::supervision::{Action, Command, End, Event, Fact, Notice, StopReason, ToParent};
use treevisor::time::Span;

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The shell hands an exit in although some of what the child left is alive.
    ExitBeforeCleared,
    /// The kernel's word that a process has ended gets lost.
    ExitForgotten,
    /// The shell waits for ever for what cannot be killed.
    NeverGivesUp,
    /// What was given up on is reported to be gone.
    LostIsGone,
    /// The end of what was given up on is not reported.
    LostForGood,
    /// A node that replaces another one does not receive what is held.
    HoldForgotten,
    /// Each order to start is carried out twice.
    SpawnedTwice,
    /// Orders to kill are not carried out.
    KillIgnored,
    /// Answers to requests come twice.
    AnsweredTwice,
    /// Answers to requests get lost.
    AnswerLost,
    /// No time is credited to children when their supervisor did not run.
    NoCredit,
    /// Verdicts come before signs of life.
    VerdictFirst,
    /// What must arrive is sent only once.
    SaidOnce,
    /// A beat that is due is never looked at.
    TickForgotten,
    /// Temporary children are restarted.
    TemporaryReturns,
    /// Transient ones are restarted after a normal exit.
    TransientAlways,
    /// A group that is too large.
    WiderGroup,
    /// All children are stopped at once.
    StoppedTogether,
    /// One restart too many.
    OneRestartMore,
    /// One restart too few.
    OneRestartLess,
    /// Killed without being asked.
    Impatient,
    /// An operator's stop is carried out as a crash.
    StopAsPanic,
    /// All copies of a `count` are replaced at once.
    RolledTogether,
    /// No copy has to settle.
    NothingSettles,
    /// A reload does not reach the child nodes that run.
    ReloadNotPassedOn,
    /// A probe that has taken too long is never over.
    ProbeForgotten,
    /// Requests are not informed that a child node's process is gone.
    LossNotNoticed,
    /// Replies to requests come twice.
    RepliedTwice,
    /// The last reply to an operator gets lost.
    ReplyLost,
    /// Halts at the first order to stop, with children alive.
    HaltsEarly,
    /// Halts with a reason that nothing has given.
    WrongEnd,
    /// Each order to ask a child to stop comes twice.
    AskedTwice,
    /// All children are started at once.
    StartedTogether,
    /// A group that is too small.
    NarrowerGroup,
    /// An order to hurry kills no child.
    HurrySpares,
    /// That something cannot be killed does not reach the core.
    StuckIgnored,
    /// Nor does it that a worker names another main process.
    NameIgnored,
    /// Nor do ticks.
    TickIgnored,
    /// Reports of starts get lost.
    ReportLost,
    /// Exits are reported as something else.
    EndUncounted,
    /// A supervisor reports at once that it is up.
    UpEarly,
    /// Children may be silent for a thousand times as long.
    SilenceAllowed,
    /// The order to stop the tree gets lost.
    StopLost,
    /// What is to be killed past a supervisor is not.
    SparedPast,
    /// A node that has given up exits at once, whatever its parent has received.
    LeavesUnheard,
    /// What is written down of a supervisor lacks something.
    TwinBehind,
    /// The core panics.
    CorePanics,
}

/// All of them, with the rules that one of the first seeds must then find broken.
pub(crate) const MUTATIONS: &[(Mutation, &[Rule])] = &[
    (Mutation::ExitBeforeCleared, &[Rule::Orphan, Rule::TwoIncarnations]),
    (Mutation::ExitForgotten, &[Rule::Settles, Rule::Stops, Rule::HealthyKilled]),
    (Mutation::NeverGivesUp, &[Rule::Settles, Rule::Stops]),
    (Mutation::LostIsGone, &[Rule::Orphan]),
    (Mutation::LostForGood, &[Rule::Settles]),
    (Mutation::HoldForgotten, &[Rule::StaysDown]),
    (Mutation::SpawnedTwice, &[Rule::TwoIncarnations]),
    (Mutation::KillIgnored, &[Rule::Settles, Rule::Stops]),
    (Mutation::AnsweredTwice, &[Rule::Answers]),
    (Mutation::AnswerLost, &[Rule::Settles, Rule::Answers]),
    (Mutation::NoCredit, &[Rule::HealthyKilled]),
    (Mutation::VerdictFirst, &[Rule::HealthyKilled]),
    (Mutation::SaidOnce, &[Rule::Settles]),
    (Mutation::TickForgotten, &[Rule::HangMissed, Rule::HealthyKilled, Rule::Settles, Rule::Stops]),
    (Mutation::TemporaryReturns, &[Rule::RestartType]),
    (Mutation::TransientAlways, &[Rule::RestartType]),
    (Mutation::WiderGroup, &[Rule::Group]),
    (Mutation::StoppedTogether, &[Rule::StopOrder]),
    (Mutation::OneRestartMore, &[Rule::Intensity]),
    (Mutation::OneRestartLess, &[Rule::Intensity]),
    (Mutation::Impatient, &[Rule::StopTime]),
    (Mutation::StopAsPanic, &[Rule::Answers, Rule::StaysDown]),
    (Mutation::RolledTogether, &[Rule::Rollout]),
    (Mutation::NothingSettles, &[Rule::Rollout]),
    (Mutation::ReloadNotPassedOn, &[Rule::Reloaded]),
    (Mutation::ProbeForgotten, &[Rule::Settles]),
    (Mutation::LossNotNoticed, &[Rule::Settles]),
    (Mutation::RepliedTwice, &[Rule::Replies]),
    (Mutation::ReplyLost, &[Rule::Settles, Rule::Replies]),
    (Mutation::HaltsEarly, &[Rule::Orphan, Rule::Halt]),
    (Mutation::WrongEnd, &[Rule::Halt]),
    (Mutation::AskedTwice, &[Rule::NoSuchProcess]),
    (Mutation::StartedTogether, &[Rule::StartOrder]),
    (Mutation::NarrowerGroup, &[Rule::Absorbed]),
    (Mutation::HurrySpares, &[Rule::Hurry]),
    (Mutation::StuckIgnored, &[Rule::Told]),
    (Mutation::NameIgnored, &[Rule::MainProcess]),
    (Mutation::TickIgnored, &[Rule::Deadlines]),
    (Mutation::ReportLost, &[Rule::Causes]),
    (Mutation::EndUncounted, &[Rule::Counts]),
    (Mutation::UpEarly, &[Rule::Readiness]),
    (Mutation::SilenceAllowed, &[Rule::HangMissed]),
    (Mutation::StopLost, &[Rule::Stops]),
    (Mutation::SparedPast, &[Rule::PanicPast]),
    (Mutation::LeavesUnheard, &[Rule::Escalation]),
    (Mutation::TwinBehind, &[Rule::Twin]),
    (Mutation::CorePanics, &[Rule::Panicked]),
];

impl Mutation {
    /// What the core is given of a supervisor instead of the truth.
    pub(crate) fn lie_about_supervisor(self, policy: &mut SupervisorPolicy) {
        match self {
            Mutation::WiderGroup => policy.strategy = Strategy::OneForAll,
            Mutation::NarrowerGroup => policy.strategy = Strategy::OneForOne,
            Mutation::StartedTogether => policy.start_order = StartOrder::Together,
            Mutation::StoppedTogether => policy.stop_order = StopOrder::Together,
            Mutation::OneRestartMore => policy.intensity = shifted(policy.intensity, 1),
            Mutation::OneRestartLess => policy.intensity = shifted(policy.intensity, -1),
            _ => {}
        }
    }

    /// What the core is given of a child instead of the truth.
    pub(crate) fn lie_about_child(self, policy: &mut ChildPolicy) {
        match self {
            Mutation::TemporaryReturns if policy.restart == Restart::Temporary => {
                policy.restart = Restart::Permanent;
                policy.significant = false;
            }
            Mutation::TransientAlways if policy.restart == Restart::Transient => {
                policy.restart = Restart::Permanent;
                policy.significant = false;
            }
            Mutation::RolledTogether => policy.update.at_once = u32::MAX,
            Mutation::NothingSettles => policy.update.settle = Span::ZERO,
            Mutation::Impatient => policy.shutdown = Shutdown::BrutalKill,
            Mutation::SilenceAllowed => {
                policy.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.misses *= 1_000);
            }
            _ => {}
        }
    }

    /// What the core takes in instead of an event.
    pub(crate) fn event(self, event: Event) -> Option<Event> {
        match (self, event) {
            (Mutation::HaltsEarly, Event::Stop(StopReason::Asked))
            | (Mutation::StuckIgnored, Event::KillFailed { .. })
            | (Mutation::TickIgnored, Event::Tick { .. }) => None,
            (Mutation::StopAsPanic, Event::Asked { request, command: Command::Terminate(child), by, meant }) => {
                Some(Event::Asked { request, command: Command::Panic { child, hold: false }, by, meant })
            }
            (Mutation::NameIgnored, Event::Notice(run, notice)) => {
                Some(Event::Notice(run, Box::new(Notice { main_pid: None, ..*notice })))
            }
            (Mutation::CorePanics, _) => panic!("on purpose"),
            (_, event) => Some(event),
        }
    }

    /// What comes of an event instead of what the core orders.
    pub(crate) fn actions(self, event: &Event, actions: &mut Vec<Action>) {
        match (self, event) {
            (Mutation::HaltsEarly, Event::Stop(StopReason::Asked)) => actions.push(Action::Halt(End::Stopped)),
            (Mutation::UpEarly, Event::Begin) => actions.push(Action::TellParent(ToParent::Ready)),
            (Mutation::HurrySpares, Event::StopNow | Event::ParentLost) => {
                actions.retain(|action| !matches!(action, Action::Kill(_)));
            }
            _ => {}
        }
        for action in actions {
            match (self, action) {
                (Mutation::WrongEnd, Action::Halt(end)) if *end == End::Stopped => *end = End::AutoShutdown,
                (Mutation::EndUncounted, Action::Report(report)) if matches!(report.fact, Fact::Exited { .. }) => {
                    report.fact = Fact::Stopped;
                }
                _ => {}
            }
        }
    }

    /// How often the checkers see an action.
    pub(crate) fn times(self, action: &Action) -> usize {
        match (self, action) {
            (Mutation::AnswerLost, Action::Answer(..)) => 0,
            (Mutation::ReportLost, Action::Report(report)) if report.fact == Fact::Started => 0,
            (Mutation::AnsweredTwice, Action::Answer(..)) | (Mutation::AskedTwice, Action::AskToStop(_)) => 2,
            _ => 1,
        }
    }
}

fn shifted(intensity: Intensity, by: i32) -> Intensity {
    Intensity { max: intensity.max.map(|max| max.saturating_add_signed(by)), period: intensity.period }
}
