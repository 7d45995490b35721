//! The plan of a reload as text.

use super::render::Look;
use crate::spec::diff::{Action, Change, Diff, Step};
use crate::spec::difference;
use crate::text::clean;
use anstyle::{AnsiColor, Style};
use std::fmt::Write;

/// One line for each child, one more for each further reason, and a summary.
pub(super) fn draw(plan: &Diff, look: Look) -> String {
    let mut out = String::new();
    let name = |step: &Step| match step.below {
        0 => step.path.to_string(),
        1 => format!("{} and 1 below", step.path),
        several => format!("{} and {several} below", step.path),
    };
    let width = plan.steps.iter().map(|step| name(step).chars().count()).max().unwrap_or(0);
    for step in &plan.steps {
        let mut reasons: Vec<String> = step.changes.iter().map(reason).collect();
        if !step.why.is_empty() {
            reasons.push(step.why.clone());
        }
        let mut rest = reasons.iter();
        let first = rest.next().map(String::as_str).unwrap_or_default();
        let (word, style) = word(step.action);
        let word = format!("{word:7}");
        let word = if look.colour { format!("{style}{word}{style:#}") } else { word };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{word}  {:width$}  {}", name(step), clean(first));
        for reason in rest {
            let _ = writeln!(out, "{:7}  {:width$}  {}", "", "", clean(reason));
        }
    }
    let counts: Vec<String> = ORDER
        .iter()
        .filter_map(|action| match plan.count(*action) {
            0 => None,
            count if *action == Action::Roll && count > 1 => Some(format!("{count} to roll one after another")),
            count => Some(format!("{count} to {}", self::word(*action).0)),
        })
        .collect();
    let stay = format!("{} {} as they are", plan.stay, if plan.stay == 1 { "stays" } else { "stay" });
    let stay = if plan.stay == 1 { stay.replace("they are", "it is") } else { stay };
    if counts.is_empty() {
        let _ = writeln!(out, "nothing to do; {stay}");
    } else {
        let _ = writeln!(out, "{}; {stay}", counts.join(", "));
    }
    out
}

const ORDER: [Action; 8] = [
    Action::Start,
    Action::Add,
    Action::Stop,
    Action::Restart,
    Action::Roll,
    Action::Update,
    Action::Move,
    Action::Keep,
];

fn word(action: Action) -> (&'static str, Style) {
    match action {
        Action::Start => ("start", AnsiColor::Green.on_default()),
        Action::Add => ("add", AnsiColor::Cyan.on_default()),
        Action::Stop => ("stop", AnsiColor::Red.on_default().bold()),
        Action::Restart => ("restart", AnsiColor::Yellow.on_default()),
        Action::Roll => ("roll", AnsiColor::Yellow.on_default()),
        Action::Update => ("update", AnsiColor::Cyan.on_default()),
        Action::Move => ("move", Style::new().dimmed()),
        Action::Keep => ("keep", Style::new().dimmed()),
    }
}

/// `nice: 1 -> 2 (it is set before the program is executed)`.
fn reason(change: &Change) -> String {
    let Change { key, old, new, restart } = change;
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".into());
    let mut text = match (old.as_deref(), new.as_deref()) {
        // Values of environment variables are not shown, as they may be secrets.
        (Some("…"), Some("…")) if key == "env-file" => "what is in env-file has changed".to_owned(),
        (Some("…"), Some("…")) => format!("{key} has another value"),
        (None, Some("…")) => format!("{key} is new"),
        (Some("…"), None) => format!("{key} is gone"),
        (Some(old), Some(new)) => difference(key, old, new),
        _ => format!("{key}: {} -> {}", shown(old), shown(new)),
    };
    if let Some(why) = restart {
        let _ = write!(text, " ({why})");
    }
    text
}
