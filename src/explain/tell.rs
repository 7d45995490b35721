//! An explanation in words: the state, its first cause, what followed, and commands to try next.

use super::meaning::bytes;
use super::output::telling;
use super::types::{Below, Category, Explanation, Step, StoppedRollout};
use crate::explain::sentence::{self, happened, over_limit, words};
use crate::ids::Path;
use crate::text::clean;
use crate::time::Span;
use crate::wire::view::EventBody;
use crate::wire::view::event::{Exited, FailedOver, Restarting};
use std::fmt::Write;

/// An explanation, ready to be laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplanationText {
    /// The state in a sentence.
    pub headline: String,
    /// The causes, oldest first, and what to do.
    pub paragraphs: Vec<Paragraph>,
}

/// A part of the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// The heading, such as "First cause".
    pub label: &'static str,
    /// The content, in a sentence.
    pub text: String,
    /// Details, a line each.
    pub notes: Vec<String>,
    /// Lines of a worker's output, without control characters.
    pub quotes: Vec<String>,
}

/// Most characters of a quoted line of output.
const QUOTE_MAX: usize = 200;

/// A heading and paragraphs for a terminal, from the parts of an explanation.
pub fn tell(explanation: &Explanation) -> ExplanationText {
    let mut paragraphs = self::paragraphs(explanation);
    paragraphs.extend(explanation.rollout.as_ref().map(|stopped| rolled(stopped, explanation)));
    if !explanation.listen.is_empty() {
        let sockets = clean(&explanation.listen.join(", ")).into_owned();
        let text = format!("{sockets}: held by its supervisor, so connections wait while it is down");
        paragraphs.push(paragraph("Sockets", text));
    }
    paragraphs.extend(explanation.below.as_ref().map(below));
    for hint in &explanation.hints {
        paragraphs.push(paragraph("Next", hint.clone()));
    }
    ExplanationText { headline: headline(explanation), paragraphs }
}

/// The paragraph about failures below a supervisor.
fn below(below: &Below) -> Paragraph {
    /// How many children are listed at most.
    const ROWS: usize = 5;
    let times = below.failures;
    let count = if times == 1 { "1 failure".into() } else { format!("{times} failures") };
    let when = match &below.since {
        Some(since) => format!(" since {}", time(since)),
        None => String::new(),
    };
    let Below { last, children, .. } = below;
    let (path, at) = (&last.path, date_and_time(&last.at));
    let mut told = paragraph("Below", format!("{count}{when}; the last was {path} at {at}: {}", words(last)));
    if let [_, _, ..] = children[..] {
        let mut rows: Vec<_> =
            children.iter().take(ROWS).map(|(path, times)| format!("{path} {}", often(*times))).collect();
        if children.len() > ROWS {
            rows.push(format!("{} more", children.len() - ROWS));
        }
        told.notes.push(rows.join(", "));
    }
    told
}

/// The explanation in at most `lines_max` plain lines, as a root prints it when it gives up.
pub fn tell_short(explanation: &Explanation, lines_max: usize) -> Vec<String> {
    /// Lines of output in the short form.
    const QUOTES: usize = 2;
    let mut lines = Vec::new();
    for mut paragraph in paragraphs(explanation) {
        lines.push(format!("{}: {}", paragraph.label.to_lowercase(), paragraph.text));
        lines.extend(paragraph.notes.drain(..).take(1).map(|note| format!("  {note}")));
        let skip = paragraph.quotes.len().saturating_sub(QUOTES);
        lines.extend(paragraph.quotes.drain(..).skip(skip).map(|quote| format!("  | {quote}")));
    }
    if lines.len() > lines_max {
        // The beginning and the end matter most.
        let cut = lines.len() - lines_max + 1;
        let from = lines_max / 2;
        lines.splice(from..from + cut, [format!("... {cut} more lines, by `treevisor why`")]);
    }
    lines
}

fn paragraph(label: &'static str, text: String) -> Paragraph {
    Paragraph { label, text, notes: Vec::new(), quotes: Vec::new() }
}

fn paragraphs(explanation: &Explanation) -> Vec<Paragraph> {
    let mut paragraphs = Vec::new();
    if !explanation.complete {
        let text = "earlier events are forgotten or lost".to_string();
        paragraphs.push(paragraph("Before", text));
    }
    let Some(first) = &explanation.first_cause else { return paragraphs };
    // The exit that follows a hang, a panic or a failed start has the resources that the process had used.
    let of_first = explanation.chain.iter().filter(|step| step.event.path == first.event.path);
    let exit = of_first.filter_map(|step| Some((step, step.event.exited()?))).next();
    let label = if explanation.complete { "First cause" } else { "First known" };
    let mut cause = paragraph(label, cause_text(first, exit.map(|(_, exited)| exited)));
    let meaning = first.meaning.iter().map(|note| clean(note).into_owned());
    // The sentence of a hang names the reason of its probe already.
    let new: Vec<String> = meaning.filter(|note| !cause.text.contains(note)).collect();
    cause.notes.extend(new);
    if let Some((exit, exited)) = exit {
        if exit.event.id != first.event.id {
            cause.notes.extend(exit.meaning.iter().map(|note| clean(note).into_owned()));
        }
        end(exited, &mut cause);
    }
    paragraphs.push(cause);
    for step in explanation.chain.iter().skip(1).filter(|step| step.is_notable()) {
        // A start that failed because the process ended is already shown as that end.
        let is_told = match &step.event.body {
            EventBody::StartFailed(_) => exit.is_some_and(|(exit, _)| step.event.cause == Some(exit.event.id)),
            EventBody::Exited(exited) if exited.code == Some(10) => exited.explanation.is_some(),
            // The event `start_failed` follows and says more.
            EventBody::Exited(exited) if exited.code == Some(11) => explanation.chain.iter().any(|later| {
                matches!(later.event.body, EventBody::StartFailed(_)) && later.event.cause == Some(step.event.id)
            }),
            _ => false,
        };
        if !is_told {
            paragraphs.push(paragraph("Then", then_text(step)));
        }
    }
    paragraphs
}

/// The resources that a process had used, and its last output.
fn end(exited: &Exited, told: &mut Paragraph) {
    told.notes.extend(life(exited));
    told.quotes = last_lines(&exited.output).iter().map(|line| quote(line)).collect();
    if !told.quotes.is_empty() {
        told.notes.push("its last output:".into());
    }
}

/// The roll-out that has left a copy with its old spec, and the end of the process that failed.
fn rolled(stopped: &StoppedRollout, explanation: &Explanation) -> Paragraph {
    let StoppedRollout { stopped, failed } = stopped;
    let (at, above) = (date_and_time(&stopped.at), &stopped.path);
    let mut told = paragraph("Roll-out", format!("{above} {}, at {at}", words(stopped)));
    // The first cause is shown above already.
    let is_shown = |step: &Step| explanation.first_cause.as_ref().is_some_and(|first| first.event.id == step.event.id);
    let Some(first) = failed.first().filter(|first| !is_shown(first)) else { return told };
    let exit = failed.iter().find_map(|step| step.event.exited());
    let ran = exit.and_then(|exit| exit.uptime_ms).map(|ran| format!(", after {}", coarse(ran))).unwrap_or_default();
    let (about, at) = (sentence::about(&first.event), time(&first.event.at));
    told.notes.push(format!("{about} {} at {at}{ran}", happened(&first.event)));
    told.notes.extend(failed.iter().flat_map(|step| &step.meaning).map(|note| clean(note).into_owned()));
    exit.into_iter().for_each(|exited| end(exited, &mut told));
    told
}

/// The last lines of an output, from a few lines above the most telling one.
fn last_lines(output: &[String]) -> &[String] {
    const LINES: usize = 5;
    const ABOVE: usize = 3;
    let from = telling(output).map_or(0, |(at, _)| at.saturating_sub(ABOVE));
    &output[from.min(output.len().saturating_sub(LINES))..]
}

fn quote(line: &str) -> String {
    let line = clean(line);
    let mut text: String = line.chars().take(QUOTE_MAX).collect();
    if text.len() < line.len() {
        text.push_str("...");
    }
    text
}

/// The state in a sentence.
fn headline(explanation: &Explanation) -> String {
    let path = &explanation.path;
    let Some(state) = &explanation.state else {
        if let Some(end) = explanation.ended.as_ref().filter(|end| end.killed) {
            return format!("{path} is down: the tree ended at {}: {}", time(&end.at), clean(&end.text));
        }
        match (&explanation.at, &explanation.last) {
            (Some(at), Some(last)) if last.at == *at => {
                return format!("{}, at {}", sentence::of(last), date_and_time(at));
            }
            (Some(at), Some(last)) => {
                let (at, since) = (date_and_time(at), date_and_time(&last.at));
                return format!("{path} at {at}: {}, since {since}", words(last));
            }
            (Some(at), None) => return format!("{path}: nothing is known of it before {}", date_and_time(at)),
            (None, _) => {}
        }
        if explanation.runs {
            return format!("{path}: its state is not known, as its supervisor is down or does not answer");
        }
        return match &explanation.last {
            Some(last) if matches!(last.body, EventBody::GaveUp(_)) && path.is_root() => {
                format!("/ gave up at {}, and the tree ended", time(&last.at))
            }
            Some(last) => {
                format!("{path} is down: nothing runs; its last event, at {}: {}", time(&last.at), words(last))
            }
            None => format!("{path} is down: nothing runs, and nothing is known of it"),
        };
    };
    let mut line = match (explanation.done, explanation.unstarted) {
        (true, _) => format!("{path} is done: it is a step, and has exited as it should"),
        (false, true) => {
            return format!("{path} is not started: its `autostart` is false, and no operator has started it");
        }
        (false, false) => format!("{path} is {}", clean(state)),
    };
    let mut brackets = Vec::new();
    if let Some(incarnation) = explanation.incarnation.filter(|number| *number > 0) {
        brackets.push(format!("incarnation {incarnation}"));
    }
    if let Some(uptime) = explanation.uptime_ms {
        brackets.push(format!("for {}", coarse(uptime)));
    }
    if let Some(waits) = explanation.waits_ms {
        brackets.push(format!("backoff ends in {}", coarse(waits)));
    }
    if !brackets.is_empty() {
        let _ = write!(line, " ({})", brackets.join(", "));
    }
    match explanation.restarts {
        Some(0) if explanation.first_cause.is_none() => line.push_str("; it has never failed"),
        Some(0) | None => {}
        Some(times) => {
            let _ = write!(line, "; it was restarted {}", often(times));
        }
    }
    line
}

/// The first cause in one line.
pub(super) fn verdict(explanation: &Explanation) -> String {
    if let Some(end) = explanation.ended.as_ref().filter(|end| end.killed) {
        return format!("the root was killed, and all with it: {}", clean(&end.text));
    }
    match (&explanation.first_cause, &explanation.last) {
        (Some(first), _) => {
            let mut line = format!("{} {}", first.event.path, happened(&first.event));
            if let Some(name) = in_words(first.category) {
                let _ = write!(line, " ({name})");
            }
            line
        }
        (None, Some(last)) if matches!(last.body, EventBody::Starting) && last.incarnation.unwrap_or(1) > 1 => {
            format!("{} was started by an operator", explanation.path)
        }
        (None, Some(_)) => format!("{} has never failed, as far as is remembered", explanation.path),
        (None, None) => format!("nothing is known of {}", explanation.path),
    }
}

/// The name of a category, if it explains more than the event's sentence.
fn in_words(category: Category) -> Option<&'static str> {
    Some(match category {
        Category::Crash => "a crash",
        Category::OutOfMemory => "out of memory",
        Category::ResourceLimit => "a resource limit",
        Category::KilledFromOutside => "from outside, not by treevisor",
        Category::Livelock => "a livelock",
        _ => return None,
    })
}

fn cause_text(step: &Step, exit: Option<&Exited>) -> String {
    let event = &step.event;
    let mut text = format!("{} {} at {}", event.path, happened(event), date_and_time(&event.at));
    if let Some(ran) = exit.and_then(|exit| exit.uptime_ms) {
        let _ = write!(text, ", after {}", coarse(ran));
    }
    if step.times > 1 {
        let _ = write!(text, "; the last of {} failures of it in a row", step.times);
    }
    text
}

/// The resources that a process had used, and the state of its beats.
fn life(exit: &Exited) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(usage) = &exit.usage {
        let cpu = coarse(usage.cpu_ms);
        parts.push(match usage.peak_memory_bytes {
            Some(memory) => {
                let of = if usage.peak_of_one_process { ", its largest process" } else { "" };
                format!("it had used {cpu} of CPU and at most {} of memory{of}", bytes(memory))
            }
            None => format!("it had used {cpu} of CPU"),
        });
    }
    if let Some(beats) = &exit.beats {
        let mut text = match (beats.count, beats.age_ms) {
            (0, _) | (_, None) => "it had never beaten".to_string(),
            (1, Some(age)) => format!("it had beaten once, {} before", coarse(age)),
            (count, Some(age)) => format!("it had beaten {count} times, last {} before", coarse(age)),
        };
        if let Some(progress) = beats.progress {
            let _ = write!(text, " with its progress at {progress}");
        }
        if let Some(pending) = beats.pending {
            let _ = write!(text, " and {pending} pending");
        }
        parts.push(text);
    }
    if let Some(status) = &exit.status_text {
        parts.push(format!("its last status: {}", clean(status)));
    }
    if let Some(explanation) = &exit.explanation {
        parts.push(format!("its reason: {}", clean(explanation)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn then_text(step: &Step) -> String {
    let event = &step.event;
    match &event.body {
        EventBody::Restarting(restarting) => restarted(step, restarting),
        EventBody::FailedOver(over) => failed_over(step, over),
        EventBody::GaveUp(gave_up) => {
            let end = match event.path.is_root() {
                true => "; the tree ended with exit status 10",
                false => "; escalated to the supervisor above",
            };
            format!("{} gave up at {}: {}{end}", event.path, time(&event.at), over_limit(gave_up))
        }
        _ => format!("{} {} at {}", event.path, happened(event), time(&event.at)),
    }
}

/// A restart by a supervisor's strategy: the children that were restarted together, and the restarts in the window.
fn restarted(step: &Step, restarting: &Restarting) -> String {
    let Restarting { delay_ms, max, period_ms, strategy, used } = restarting;
    let mut text = restarted_by(step, strategy);
    if *delay_ms > 0 {
        let _ = write!(text, " after a backoff of {}", coarse(*delay_ms));
    }
    let _ = match max {
        Some(max) => write!(text, ": restart {used} of {max} allowed within {}", coarse(*period_ms)),
        None => write!(text, ": restart {used}, of any number"),
    };
    text
}

/// A fail-over after the loss of a host.
fn failed_over(step: &Step, over: &FailedOver) -> String {
    let from = over.from.as_deref().map(|from| format!(" {}", clean(from))).unwrap_or_default();
    let why = over.why.as_deref().map_or_else(|| format!("the host{from} was lost"), |why| clean(why).into_owned());
    match &over.strategy {
        Some(strategy) => format!("{} on another host: {why}; not counted as a restart", restarted_by(step, strategy)),
        None => format!("the tree was started on another host at {}: {why}", time(&step.event.at)),
    }
}

fn restarted_by(step: &Step, strategy: &str) -> String {
    let event = &step.event;
    let above = event.path.parent().unwrap_or_else(Path::root);
    let mut names = vec![event.path.name().unwrap_or("/").to_string()];
    names.extend(step.with.iter().map(|path| path.name().unwrap_or("/").to_string()));
    let names = match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    };
    format!("{above} restarted {names} ({})", clean(strategy))
}

/// The advice for a process that cannot be killed.
const NEXT_FOR_STUCK: &str = "mend what holds the process (the disk or file system that does not answer, the tracer), or end \
                              it with the rights that it takes; its end is noticed, and what waits for it goes on";

/// Commands to try next, by state and cause.
pub(super) fn hints(explanation: &Explanation) -> Vec<String> {
    let path = &explanation.path;
    let mut hints = Vec::new();
    if let Some(at) = &explanation.at {
        hints.push(format!("`treevisor events --until {at} -n 20 {path}` shows what came before it"));
        hints.push(format!("`treevisor why {path}` explains its present state"));
        return hints;
    }
    let ordered = explanation
        .first_cause
        .as_ref()
        .is_some_and(|first| matches!(first.category, Category::Operator | Category::Signal | Category::Panic));
    match explanation.state.as_deref() {
        Some(_) if explanation.unstarted => hints.push(format!("`treevisor start {path}` starts it")),
        Some("held" | "stopped" | "exited") if !path.is_root() => {
            // A child that was stopped with its supervisor is started with it again.
            let down = explanation.first_cause.as_ref().map(|first| &first.event.path);
            let what = down.filter(|down| !down.is_root() && path.is_within(down)).unwrap_or(path);
            let does = if explanation.done { "runs" } else { "starts" };
            hints.push(format!("`treevisor restart {what}` {does} it again"));
        }
        Some("waiting") => hints.push(format!("`treevisor restart {path}` tries it now")),
        Some("unreachable") => {
            hints.push(format!(
                "`treevisor panic {path}` replaces it now; its supervisor will when its beats are overdue"
            ));
        }
        None if explanation.runs => {}
        None if ordered => hints.push("`treevisor start FILE` starts the tree again".into()),
        None => hints.push("mend the first cause, and start the tree again with `treevisor start FILE`".into()),
        Some(_) => {}
    }
    let Some(first) = &explanation.first_cause else { return hints };
    // A state that an operator has ordered needs no repair.
    if ordered && matches!(explanation.state.as_deref(), Some("stopped" | "held") | None) {
        return hints;
    }
    let culprit = &first.event.path;
    if explanation.runs && first.event.exited().is_some_and(|exited| !exited.output.is_empty()) {
        hints.push(format!("`treevisor logs {culprit}` shows more of what it has printed"));
    }
    match first.category {
        Category::Hang => hints.push(against_a_hang(first).into()),
        Category::Livelock => {
            hints.push(
                "if it was busy: it has to count what it does (`beat --progress`), or report that nothing is pending"
                    .into(),
            );
        }
        Category::KillFailed => hints.push(NEXT_FOR_STUCK.into()),
        Category::ResourceLimit => hints.push("raise the limit in `limits`, if what it does is right".into()),
        Category::OutOfMemory => {
            hints.push(
                "give it more memory (the cgroup's limit, `limits`, the machine), or find out what it keeps".into(),
            );
        }
        Category::StartFailed => {
            hints.push("look at `command` and `cwd` in the file; `treevisor check FILE` shows what they mean".into());
        }
        _ => {}
    }
    let stuck = explanation.chain.iter().any(|step| step.category == Category::KillFailed);
    if stuck && explanation.state.as_deref() == Some("stopping") && first.category != Category::KillFailed {
        hints.push(NEXT_FOR_STUCK.into());
    }
    if explanation.runs {
        hints.push(format!("`treevisor events {culprit}` shows all that happened to it"));
    }
    hints
}

/// The advice after a hang: find out what had stopped the process, or whether its limits are right.
fn against_a_hang(step: &Step) -> &'static str {
    let EventBody::Hung(hung) = &step.event.body else { return "if it was healthy: is its `heartbeat` too strict?" };
    if hung.seen.as_deref() == Some("was stopped by a signal") {
        "something stopped it (SIGSTOP, Ctrl-Z, a checkpoint of its machine): find out what; `kill -CONT` wakes such a process"
    } else if hung.probe.is_some() {
        "if it was healthy: try the probe by hand; is its `timeout`, or `interval` times `misses`, too short, or does it need \
         `grace`?"
    } else {
        "if it was healthy: is its `heartbeat` too strict, or does it need `grace` or `beat --busy-for`?"
    }
}

fn often(times: u64) -> String {
    match times {
        1 => "once".into(),
        2 => "twice".into(),
        _ => format!("{times} times"),
    }
}

fn coarse(millis: u64) -> String {
    Span::from_millis(millis).coarse()
}

/// `2026-01-02T03:04:05.678901234Z` as `03:04:05.678 UTC`.
fn time(at: &str) -> String {
    match date_and_time(at).split_once(' ') {
        Some((_, time)) => time.to_owned(),
        None => clean(at).into_owned(),
    }
}

/// As `time`, preceded by the date; a text of another form is returned unchanged.
fn date_and_time(at: &str) -> String {
    let at = clean(at);
    match at.split_once('T') {
        Some((date, time)) if time.is_ascii() && time.len() >= 13 => {
            format!("{date} {}{}", &time[..12], if time.ends_with('Z') { " UTC" } else { "" })
        }
        _ => at.into_owned(),
    }
}
