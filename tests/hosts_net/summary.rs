//! What all faults have shown between them, in a line of a table, and what of it is judged on a quiet machine.
use crate::cluster::LEASE;
use crate::faults::Fault;
use crate::observe::{Subject, Verdict};
use std::fmt;

/// A fail-over on a quiet machine, in leases.
const FAIL_OVER: f64 = 1.2;

/// How long an agent that is killed interrupts what it runs on a quiet machine, in seconds.
const KILLED: f64 = 0.2;

/// Of one of both: the root, or the placed subtree.
struct Times {
    subject: Subject,
    moves: usize,
    tokens: usize,
    /// Seconds.
    smallest_gap: Option<f64>,
    /// After the loss of its host, in leases, sorted.
    lost: Vec<f64>,
    /// After the kill of its agent, in seconds, sorted.
    killed: Vec<f64>,
}

pub(crate) struct Summary {
    faults: usize,
    lines: usize,
    times: Vec<Times>,
    pub(crate) overlaps: Vec<String>,
    disturbed: Vec<String>,
}

impl Summary {
    pub(crate) fn of(done: &[Fault], verdict: &Verdict) -> Summary {
        let sorted = |of: &dyn Fn(&Fault) -> Option<u64>, unit: f64| {
            let mut times: Vec<f64> = done.iter().filter_map(of).map(|time| time as f64 / 1e9 / unit).collect();
            times.sort_unstable_by(f64::total_cmp);
            times
        };
        let times = Subject::ALL.map(|subject| Times {
            subject,
            moves: done.iter().filter(|fault| fault.has_moved(subject)).count(),
            tokens: verdict.reigns(subject).count(),
            smallest_gap: verdict.smallest_gap(subject).map(|gap| gap as f64 / 1e9),
            lost: sorted(&|fault| fault.lost(subject), LEASE as f64),
            killed: sorted(&|fault| fault.killed(subject), 1.0),
        });
        Summary {
            faults: done.len(),
            lines: verdict.lines,
            times: times.into(),
            overlaps: verdict.overlaps.clone(),
            disturbed: done.iter().flat_map(|fault| fault.disturbed.iter().cloned()).collect(),
        }
    }

    /// Asserts what holds on a machine that does nothing else.
    pub(crate) fn judge_times(&self) {
        assert!(self.disturbed.is_empty(), "disturbed by faults of others: {:?}", self.disturbed);
        for Times { subject, lost, killed, .. } in &self.times {
            assert!(
                lost.last().is_none_or(|longest| *longest <= FAIL_OVER),
                "{subject}: fail-over, in leases: {lost:?}"
            );
            let is_short = killed.last().is_none_or(|longest| *longest <= KILLED);
            assert!(is_short, "{subject}: after the kill of its agent, in seconds: {killed:?}");
        }
    }
}

/// The median and the largest of sorted times.
fn middle_and_last(times: &[f64]) -> String {
    match (times.get(times.len() / 2), times.last()) {
        (Some(middle), Some(last)) => format!("{middle:.2} / {last:.2} ({})", times.len()),
        _ => "-".to_owned(),
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { faults, lines, times, overlaps, disturbed } = self;
        writeln!(f, "{lines} lines; times: half / all within, and how many")?;
        writeln!(
            f,
            "| of | faults | moves | tokens | overlaps | smallest gap, s | fail-over, leases | KillAgent, s | disturbed |"
        )?;
        write!(f, "|---|---|---|---|---|---|---|---|---|")?;
        for Times { subject, moves, tokens, smallest_gap, lost, killed } in times {
            let gap = smallest_gap.map_or_else(|| "-".to_owned(), |gap| format!("{gap:.3}"));
            let (lost, killed) = (middle_and_last(lost), middle_and_last(killed));
            let of = |what: &[String]| what.iter().filter(|text| text.contains(&format!("{subject} "))).count();
            let (overlaps, disturbed) = (overlaps.len(), of(disturbed));
            write!(
                f,
                "\n| {subject} | {faults} | {moves} | {tokens} | {overlaps} | {gap} | {lost} | {killed} | {disturbed} |"
            )?;
        }
        Ok(())
    }
}
