//! A roll-out in words.

use crate::text::clean;
use crate::wire::view::event::{Rollout, RolloutStage};
use std::fmt::Write;

/// How many copies a sentence names.
const NAMED: usize = 4;

/// The result of a roll-out, as the part of the sentence after the supervisor's path.
pub(super) fn phrase(body: &Rollout) -> String {
    let (updated, total, by) = (body.updated, body.total, clean(&body.by));
    let (what, done) = match body.reload {
        true => ("rolling update", "updated"),
        false => ("rolling restart", "restarted"),
    };
    match &body.stage {
        RolloutStage::Begun if total == 1 => format!("began a {what} of 1 copy ({by})"),
        RolloutStage::Begun => format!("began a {what} of {total} copies ({by})"),
        RolloutStage::Done => format!("completed the {what}: {updated} of {total} {done}"),
        RolloutStage::Stopped => format!("stopped the {what}: {}", stopped(body)),
        RolloutStage::Overtaken => {
            format!("replaced the {what} by a later reload: {updated} of {total} {done} until then")
        }
        RolloutStage::Other(stage) => format!("{what} ({}): {updated} of {total} {done}", clean(stage)),
    }
}

/// How a roll-out was stopped: "2 of 4 updated; /api-3 failed: it exited with status 1; /api-3, /api-4 keep the old
/// spec".
pub(crate) fn stopped(body: &Rollout) -> String {
    let done = if body.reload { "updated" } else { "restarted" };
    let mut line = format!("{} of {} {done}", body.updated, body.total);
    if let Some(failed) = &body.failed {
        // Writing to a String cannot fail.
        let _ = write!(line, "; {failed} failed: {}", clean(body.why.as_deref().unwrap_or("it did not come up")));
    }
    let named = body.behind.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>();
    if !named.is_empty() {
        let others = body.behind_count.saturating_sub(named.len() as u64);
        let more = if others > 0 { format!(" and {others} more") } else { String::new() };
        let what = match (body.reload, body.behind_count) {
            (true, 1) => "keeps the old spec",
            (true, _) => "keep the old spec",
            (false, 1) => "is not restarted",
            (false, _) => "are not restarted",
        };
        let _ = write!(line, "; {}{more} {what}", named.join(", "));
    }
    if let (Some(why), Some(failed)) = (&body.not_restored, &body.failed) {
        let again = if body.reload { "with the old spec either" } else { "again" };
        let _ = write!(line, "; {failed} could not be started {again}: {}", clean(why));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Path;

    fn body(stage: RolloutStage) -> Rollout {
        Rollout {
            behind: Vec::new(),
            behind_count: 0,
            by: "uid 1".into(),
            failed: None,
            not_restored: None,
            reload: true,
            stage,
            total: 4,
            updated: 2,
            why: None,
        }
    }

    #[test]
    fn each_stage_has_its_sentence() {
        let begun = Rollout { updated: 0, ..body(RolloutStage::Begun) };
        assert_eq!(phrase(&begun), "began a rolling update of 4 copies (uid 1)");
        let done = Rollout { updated: 4, reload: false, ..body(RolloutStage::Done) };
        assert_eq!(phrase(&done), "completed the rolling restart: 4 of 4 restarted");
        let later = body(RolloutStage::Overtaken);
        assert_eq!(phrase(&later), "replaced the rolling update by a later reload: 2 of 4 updated until then");
    }

    #[test]
    fn one_that_was_stopped_says_what_is_left() {
        let path = |path: &str| Path::parse(path).unwrap();
        let stopped = Rollout {
            behind: vec![path("/api-3"), path("/api-4")],
            behind_count: 2,
            failed: Some(path("/api-3")),
            why: Some("it exited with status 1".into()),
            ..body(RolloutStage::Stopped)
        };
        let line = "stopped the rolling update: 2 of 4 updated; /api-3 failed: it exited with status 1; /api-3, /api-4 keep \
                    the old spec";
        assert_eq!(phrase(&stopped), line);
        let down = Rollout { not_restored: Some("executing ./api: No such file".into()), ..stopped.clone() };
        let more = "; /api-3 could not be started with the old spec either: executing ./api: No such file";
        assert_eq!(phrase(&down), format!("{line}{more}"));
        let many = Rollout { behind: (1..9).map(|n| path(&format!("/a-{n}"))).collect(), behind_count: 90, ..stopped };
        assert!(phrase(&many).ends_with("; /a-1, /a-2, /a-3, /a-4 and 86 more keep the old spec"));
    }
}
