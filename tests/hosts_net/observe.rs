//! What the workers have written, and whether two hosts have ever run them at once.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What has a claim of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The tree, without what is placed by itself.
    Root,
    /// The subtree /db.
    Placed,
}

impl Subject {
    pub(crate) const ALL: [Subject; 2] = [Subject::Root, Subject::Placed];

    fn of(path: &str) -> Subject {
        if path.starts_with("/db/") { Subject::Placed } else { Subject::Root }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Subject::Root => "/",
            Subject::Placed => "/db",
        })
    }
}

/// One line of a worker: it ran at this moment, there, by this claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// CLOCK_BOOTTIME, in nanoseconds: the hosts are one machine, so it is the same for all of them.
    pub(crate) at: u64,
    pub(crate) subject: Subject,
    pub(crate) host: String,
    pub(crate) token: u64,
    pid: u32,
}

impl Line {
    fn parse(text: &str) -> Option<Line> {
        let mut words = text.split(' ');
        let line = Line {
            at: words.next()?.parse().ok()?,
            subject: Subject::of(words.next()?),
            host: words.next()?.to_owned(),
            token: words.next()?.parse().ok()?,
            pid: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(line)
    }
}

/// The time in which one token ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reign {
    pub(crate) host: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// All processes of it that have written.
    pub(crate) pids: BTreeSet<u32>,
}

/// What is to be reported of all lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) lines: usize,
    reigns: BTreeMap<(Subject, u64), Reign>,
    /// In words: a larger token began before a smaller one was over, or two hosts had one.
    pub(crate) overlaps: Vec<String>,
}

impl Verdict {
    fn add(&mut self, line: Line) {
        let Line { at, subject, host, token, pid } = line;
        self.lines += 1;
        let new = || Reign { host: host.clone(), first: at, last: at, pids: BTreeSet::new() };
        let reign = self.reigns.entry((subject, token)).or_insert_with(new);
        if reign.host != host {
            self.overlaps.push(format!("the token {token} of {subject} is that of {} and of {host}", reign.host));
        }
        (reign.first, reign.last) = (reign.first.min(at), reign.last.max(at));
        reign.pids.insert(pid);
    }

    /// The same with what is seen of all lines together: the order in which they were written down does not matter.
    fn judged(mut self) -> Verdict {
        for subject in Subject::ALL {
            let reigns: Vec<_> = self.reigns(subject).collect();
            let overlap = |((token, reign), (later, next)): ((u64, &Reign), (u64, &Reign))| {
                (reign.last > next.first).then(|| {
                    format!(
                        "{} still ran token {token} of {subject} at {}, {} us after {} had begun with {later}",
                        reign.host,
                        reign.last,
                        (reign.last - next.first) / 1000,
                        next.host
                    )
                })
            };
            let pairs =
                reigns.iter().enumerate().flat_map(|(at, one)| reigns[at + 1..].iter().map(|next| (*one, *next)));
            let found: Vec<_> = pairs.filter_map(overlap).collect();
            self.overlaps.extend(found);
        }
        self
    }

    pub(crate) fn reigns(&self, subject: Subject) -> impl Iterator<Item = (u64, &Reign)> {
        self.reigns.iter().filter(move |((of, _), _)| *of == subject).map(|((_, token), reign)| (*token, reign))
    }

    pub(crate) fn reign(&self, subject: Subject, token: u64) -> Option<&Reign> {
        self.reigns.get(&(subject, token))
    }

    /// The shortest time between the last line of one token and the first of the next.
    pub(crate) fn smallest_gap(&self, subject: Subject) -> Option<u64> {
        let reigns: Vec<_> = self.reigns(subject).map(|(_, reign)| reign).collect();
        reigns.windows(2).map(|pair| pair[1].first.saturating_sub(pair[0].last)).min()
    }
}

/// What was read of the file that all workers append to.
#[derive(Default)]
struct Seen {
    /// Behind the last line that was whole.
    torn: Vec<u8>,
    last: BTreeMap<Subject, Line>,
    verdict: Verdict,
}

impl Seen {
    fn add(&mut self, bytes: &[u8]) {
        self.torn.extend_from_slice(bytes);
        let Some(end) = self.torn.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.torn.split_off(end + 1);
        let text = String::from_utf8(std::mem::replace(&mut self.torn, rest)).expect("lines of workers");
        for text in text.lines() {
            let line = Line::parse(text).unwrap_or_else(|| panic!("{text:?} is no line of a worker"));
            if self.last.get(&line.subject).is_none_or(|last| last.at <= line.at) {
                self.last.insert(line.subject, line.clone());
            }
            self.verdict.add(line);
        }
    }
}

/// The file, as far as it was read.
pub(crate) struct Observer {
    path: PathBuf,
    file: RefCell<File>,
    seen: RefCell<Seen>,
}

impl Observer {
    pub(crate) fn new(path: &Path) -> Observer {
        File::create(path).expect("a file for the workers");
        let file = File::open(path).expect("the same file");
        Observer { path: path.to_owned(), file: RefCell::new(file), seen: RefCell::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) {
        let mut bytes = Vec::new();
        self.file.borrow_mut().read_to_end(&mut bytes).expect("what the workers have written");
        self.seen.borrow_mut().add(&bytes);
    }

    /// The last line of its workers.
    pub(crate) fn last(&self, subject: Subject) -> Option<Line> {
        self.read();
        self.seen.borrow().last.get(&subject).cloned()
    }

    pub(crate) fn judge(&self) -> Verdict {
        self.read();
        self.seen.borrow().verdict.clone().judged()
    }
}

#[test]
fn an_overlap_is_seen() {
    let judge = |text: &str| {
        let mut seen = Seen::default();
        // Torn anywhere.
        text.as_bytes().chunks(7).for_each(|bytes| seen.add(bytes));
        seen.verdict.judged()
    };
    let well = judge(
        "1 /w a 1 7\n5 /w a 1 8\n2 /x/w a 1 7\n9 /w b 2 7\n10 /w b 2 7\n30 /w a 4 7\n6 /db/w b 2 7\n31 /db/w b 2 7\n",
    );
    assert!(well.overlaps.is_empty(), "{:?}", well.overlaps);
    assert_eq!((well.lines, well.reigns(Subject::Root).count(), well.reigns(Subject::Placed).count()), (8, 3, 1));
    assert_eq!((well.smallest_gap(Subject::Root), well.smallest_gap(Subject::Placed)), (Some(4), None));
    assert_eq!(well.reign(Subject::Root, 1).unwrap().pids, BTreeSet::from([7, 8]));
    // Once is enough, and the order in the file does not matter.
    assert_eq!(judge("1 /w a 1 7\n5 /w b 2 7\n6 /w a 1 7\n7 /w b 2 7\n").overlaps.len(), 1);
    assert_eq!(judge("7 /db/w b 2 7\n8 /db/w a 1 7\n5 /db/w b 2 7\n").overlaps.len(), 1);
    assert_eq!(judge("1 /w a 1 7\n2 /w b 1 7\n").overlaps.len(), 1);
    // On the same host too: a new token is a new epoch, before which all has to be gone.
    assert_eq!(judge("1 /w a 1 7\n2 /w a 2 7\n3 /w a 1 7\n").overlaps.len(), 1);
}
