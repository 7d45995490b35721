//! What the workers have written, and whether two hosts have ever run them at once.
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One line of a worker: it ran at this moment, there, by this claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// CLOCK_BOOTTIME, in nanoseconds: the hosts are one machine, so it is the same for all of them.
    pub(crate) at: u64,
    pub(crate) host: String,
    pub(crate) token: u64,
}

impl Line {
    fn parse(text: &str) -> Option<Line> {
        let mut words = text.split(' ');
        let line = Line {
            at: words.next()?.parse().ok()?,
            host: words.next()?.to_owned(),
            token: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(line)
    }
}

/// The file that all workers append to.
pub(crate) struct Observer(PathBuf);

/// The time in which one token ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reign {
    pub(crate) host: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// What is to be reported of all lines.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lines: usize,
    pub(crate) reigns: BTreeMap<u64, Reign>,
    /// Lines after the first line of a larger token, in words.
    pub(crate) overlaps: Vec<String>,
    /// The shortest time between the last line of one token and the first of the next.
    pub(crate) smallest_gap: Option<u64>,
}

impl Observer {
    pub(crate) fn new(path: &Path) -> Observer {
        File::create(path).expect("a file for the workers");
        Observer(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The last whole line.
    pub(crate) fn last(&self) -> Option<Line> {
        let file = File::open(&self.0).ok()?;
        let length = file.metadata().ok()?.len();
        let from = length.saturating_sub(400);
        let mut bytes = vec![0; usize::try_from(length - from).ok()?];
        file.read_exact_at(&mut bytes, from).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let whole = text.rsplit_once('\n')?.0;
        Line::parse(whole.rsplit('\n').next()?)
    }

    pub(crate) fn judge(&self) -> Verdict {
        let text = std::fs::read_to_string(&self.0).expect("what the workers have written");
        judge(&text)
    }
}

fn judge(text: &str) -> Verdict {
    let mut lines: Vec<Line> = text
        .lines()
        .map(|line| Line::parse(line).unwrap_or_else(|| panic!("{line:?} is no line of a worker")))
        .collect();
    lines.sort_by_key(|line| line.at);
    let mut verdict = Verdict { lines: lines.len(), ..Verdict::default() };
    for line in lines {
        let Line { at, host, token } = line;
        if let Some((later, reign)) = verdict.reigns.range(token + 1..).next_back() {
            verdict.overlaps.push(format!(
                "{host} still ran token {token} at {at}, {} us after {} had begun with {later}",
                (at - reign.first) / 1000,
                reign.host
            ));
        }
        let reign = verdict.reigns.entry(token).or_insert_with(|| Reign { host: host.clone(), first: at, last: at });
        if reign.host != host {
            verdict.overlaps.push(format!("token {token} is that of {} and of {host}", reign.host));
        }
        reign.last = at;
    }
    let reigns: Vec<&Reign> = verdict.reigns.values().collect();
    verdict.smallest_gap = reigns.windows(2).map(|pair| pair[1].first.saturating_sub(pair[0].last)).min();
    verdict
}

#[test]
fn an_overlap_is_seen() {
    let well = judge("1 a 1\n5 a 1\n2 a 1\n9 b 2\n10 b 2\n30 a 4\n");
    assert!(well.overlaps.is_empty(), "{:?}", well.overlaps);
    assert_eq!((well.lines, well.reigns.len(), well.smallest_gap), (6, 3, Some(4)));
    // Once is enough, and the order in the file does not matter.
    assert_eq!(judge("1 a 1\n5 b 2\n6 a 1\n7 b 2\n").overlaps.len(), 1);
    assert_eq!(judge("7 b 2\n8 a 1\n5 b 2\n").overlaps.len(), 1);
    assert_eq!(judge("1 a 1\n2 b 1\n").overlaps.len(), 1);
    // On the same host too: a new token is a new epoch, before which all has to be gone.
    assert_eq!(judge("1 a 1\n2 a 2\n3 a 1\n").overlaps.len(), 1);
}
