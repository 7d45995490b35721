//! Bundles that are fetched from other hosts, part by part. Pure: no descriptor, no clock.
//!
//! One part is requested at a time, so that a large bundle does not delay other messages between two hosts. A complete
//! bundle goes to the disk, which checks that its content matches its digest.

use crate::time::{Span, Time};
use crate::wire::hosts::{BUNDLE_FILES_MAX, BUNDLE_MAX, Bundle as Files};
use crate::wire::tvh1::FRAME_MAX;
use crate::wire::tvh1::header::{Bundle, BundleWhat};
use std::collections::{BTreeMap, BTreeSet};

/// A part that has not arrived after this is requested again.
const AGAIN: Span = Span::from_secs(1);

/// A fetch without any part for this long is given up.
const STUCK: Span = Span::from_secs(8);

/// A bundle that could not be kept is not fetched again for this long, unless it is offered.
const REFUSED: Span = Span::from_secs(60);

/// How many bundles are fetched at once at most.
const AT_ONCE: usize = 4;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send this message to a host.
    Send(String, Bundle),
    /// The bundle is complete: keep it, if its content matches the digest.
    Keep { digest: String, files: Files, contents: Vec<Vec<u8>> },
}

#[derive(Debug)]
struct Fetch {
    from: String,
    /// The hosts that have offered it, and wait for the outcome.
    offered: BTreeSet<String>,
    files: Option<Files>,
    bytes: Vec<u8>,
    part: u32,
    asked: Time,
    /// When the last part has arrived, or the fetch has begun.
    came: Time,
    /// It is complete, and was handed to the disk.
    whole: bool,
}

/// The fetches in progress, by digest.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    all: BTreeMap<String, Fetch>,
    refused: BTreeMap<String, Time>,
}

/// The number of frames in which a bundle of this length is sent.
fn parts(files: &Files) -> usize {
    length(files).div_ceil(FRAME_MAX).max(1)
}

fn length(files: &Files) -> usize {
    files.files.iter().map(|file| file.bytes).fold(0, usize::saturating_add)
}

/// The part of a bundle with this number: its header and its frame; `None`: the bundle has fewer parts.
pub(super) fn part_of(files: &Files, contents: &[Vec<u8>], part: u32) -> Option<(BundleWhat, Vec<u8>)> {
    let at = usize::try_from(part).ok().filter(|at| *at < parts(files))?;
    let bytes = contents.iter().flatten().skip(at * FRAME_MAX).take(FRAME_MAX).copied().collect();
    Some((BundleWhat::Part { part, files: (part == 0).then(|| files.clone()) }, bytes))
}

impl Fetches {
    /// A host offers one that is not here.
    pub(super) fn offered(&mut self, host: &str, digest: &str, now: Time) -> Vec<Step> {
        if let Some(fetch) = self.all.get_mut(digest) {
            fetch.offered.insert(host.to_owned());
            return Vec::new();
        }
        if self.all.len() >= AT_ONCE {
            return vec![send(host, digest, BundleWhat::Refused { why: "too much comes at the same time".into() })];
        }
        self.begin(host, digest, BTreeSet::from([host.to_owned()]), now)
    }

    /// A wanted bundle is missing here, and this host has it: begins to fetch it.
    pub(super) fn missing(&mut self, host: &str, digest: &str, now: Time) -> Vec<Step> {
        self.refused.retain(|_, until| *until > now);
        if self.all.contains_key(digest) || self.all.len() >= AT_ONCE || self.refused.contains_key(digest) {
            return Vec::new();
        }
        self.begin(host, digest, BTreeSet::new(), now)
    }

    fn begin(&mut self, host: &str, digest: &str, offered: BTreeSet<String>, now: Time) -> Vec<Step> {
        let from = host.to_owned();
        let fetch =
            Fetch { from, offered, files: None, bytes: Vec::new(), part: 0, asked: now, came: now, whole: false };
        self.all.insert(digest.to_owned(), fetch);
        vec![send(host, digest, BundleWhat::Want { part: 0 })]
    }

    /// A part has come.
    pub(super) fn came(
        &mut self,
        host: &str,
        digest: &str,
        (part, files): (u32, Option<Files>),
        frame: &[u8],
        now: Time,
    ) -> Vec<Step> {
        let Some(fetch) = self.all.get_mut(digest) else { return Vec::new() };
        if fetch.from != host || fetch.part != part || fetch.whole {
            return Vec::new();
        }
        let known = fetch.files.take().or(files);
        let fits = |files: &Files| files.files.len() <= BUNDLE_FILES_MAX && length(files) <= BUNDLE_MAX;
        let Some(known) = known.filter(fits) else {
            return self.over(digest, Err("its list of files is missing, or too long".into()), now);
        };
        let left = length(&known) - fetch.bytes.len();
        if frame.len() != left.min(FRAME_MAX) {
            return self.over(digest, Err(format!("part {part} of it has another length")), now);
        }
        fetch.bytes.extend_from_slice(frame);
        (fetch.came, fetch.asked, fetch.part) = (now, now, part + 1);
        if fetch.bytes.len() < length(&known) {
            fetch.files = Some(known);
            return vec![send(host, digest, BundleWhat::Want { part: part + 1 })];
        }
        fetch.whole = true;
        let bytes = std::mem::take(&mut fetch.bytes);
        let mut rest = bytes.as_slice();
        let mut contents = Vec::new();
        for file in &known.files {
            let (content, others) = rest.split_at(file.bytes);
            contents.push(content.to_vec());
            rest = others;
        }
        vec![Step::Keep { digest: digest.to_owned(), files: known, contents }]
    }

    /// The host that it was asked of does not have it.
    pub(super) fn not_there(&mut self, host: &str, digest: &str, why: &str, now: Time) -> Vec<Step> {
        let asked = self.all.get(digest).is_some_and(|fetch| fetch.from == host && !fetch.whole);
        if asked { self.over(digest, Err(format!("{host} does not send it: {why}")), now) } else { Vec::new() }
    }

    /// The disk has kept a complete bundle, or has failed to. Returns the outcome for the hosts that have offered it.
    pub(super) fn over(&mut self, digest: &str, kept: Result<(), String>, now: Time) -> Vec<Step> {
        let Some(fetch) = self.all.remove(digest) else { return Vec::new() };
        if kept.is_err() {
            self.refused.insert(digest.to_owned(), now + REFUSED);
        }
        let what = kept.map_or_else(|why| BundleWhat::Refused { why }, |()| BundleWhat::Kept);
        fetch.offered.iter().map(|host| send(host, digest, what.clone())).collect()
    }

    /// Repeats requests, and gives up fetches that are stuck.
    pub(super) fn due(&mut self, now: Time) -> Vec<Step> {
        let mut steps = Vec::new();
        let stuck = |fetch: &Fetch| !fetch.whole && now.since(fetch.came) >= STUCK;
        let given_up: Vec<String> =
            self.all.iter().filter(|(_, fetch)| stuck(fetch)).map(|(digest, _)| digest.clone()).collect();
        for digest in given_up {
            steps.extend(self.over(&digest, Err("it did not come".into()), now));
            // Another host may have it.
            self.refused.remove(&digest);
        }
        for (digest, fetch) in &mut self.all {
            if !fetch.whole && now.since(fetch.asked) >= AGAIN {
                fetch.asked = now;
                steps.push(send(&fetch.from, digest, BundleWhat::Want { part: fetch.part }));
            }
        }
        steps
    }
}

fn send(host: &str, digest: &str, what: BundleWhat) -> Step {
    Step::Send(host.to_owned(), Bundle { digest: digest.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hosts::BundleFile;

    fn at(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    fn bundle(lengths: &[usize]) -> (Files, Vec<Vec<u8>>) {
        let file = |(at, bytes): (usize, &usize)| BundleFile { path: format!("{at}"), bytes: *bytes };
        let files = lengths.iter().enumerate().map(file).collect();
        let contents = lengths.iter().enumerate().map(|(at, bytes)| vec![at as u8; *bytes]).collect();
        (Files { instance: "shop".into(), file: "0".into(), files }, contents)
    }

    /// Answers each request for a part until the bundle is complete.
    fn bring(fetches: &mut Fetches, mut steps: Vec<Step>, (files, contents): &(Files, Vec<Vec<u8>>)) -> Vec<Step> {
        while let [Step::Send(host, Bundle { digest, what: BundleWhat::Want { part } })] = steps.as_slice() {
            let (what, frame) = part_of(files, contents, *part).unwrap();
            let BundleWhat::Part { part, files } = what else { panic!("no part") };
            steps = fetches.came(host, digest, (part, files), &frame, at(1));
        }
        steps
    }

    #[test]
    fn a_bundle_of_several_parts_comes_as_it_was() {
        for lengths in [&[3, 0, 5][..], &[FRAME_MAX, FRAME_MAX + 1, 7], &[0], &[FRAME_MAX]] {
            let (mut fetches, whole) = (Fetches::default(), bundle(lengths));
            let asked = fetches.offered("a", "d1", at(0));
            let steps = bring(&mut fetches, asked, &whole);
            let [Step::Keep { digest, files, contents }] = steps.as_slice() else { panic!("{steps:?}") };
            assert_eq!((digest.as_str(), files, contents), ("d1", &whole.0, &whole.1));
            let told = fetches.over("d1", Ok(()), at(2));
            assert_eq!(told, [send("a", "d1", BundleWhat::Kept)]);
        }
    }

    #[test]
    fn what_is_not_a_part_of_it_ends_it() {
        let (mut fetches, (files, _)) = (Fetches::default(), bundle(&[10]));
        fetches.offered("a", "d1", at(0));
        assert!(fetches.came("b", "d1", (0, Some(files.clone())), &[0; 10], at(1)).is_empty(), "of another host");
        assert!(fetches.came("a", "d1", (1, None), &[0; 10], at(1)).is_empty(), "another part");
        let told = fetches.came("a", "d1", (0, Some(files)), &[0; 11], at(1));
        assert!(matches!(&told[..], [Step::Send(_, Bundle { what: BundleWhat::Refused { .. }, .. })]), "{told:?}");
        let (large, _) = bundle(&[BUNDLE_MAX, 1]);
        fetches.offered("a", "d2", at(0));
        let told = fetches.came("a", "d2", (0, Some(large)), &[0; FRAME_MAX], at(1));
        assert!(matches!(&told[..], [Step::Send(_, Bundle { what: BundleWhat::Refused { .. }, .. })]), "{told:?}");
        assert!(fetches.missing("a", "d1", at(2)).is_empty(), "not again at once");
        assert!(!fetches.missing("a", "d1", at(70_000)).is_empty());
    }

    #[test]
    fn a_part_that_is_lost_is_asked_for_again_and_given_up_in_the_end() {
        let mut fetches = Fetches::default();
        assert_eq!(fetches.missing("a", "d1", at(0)), [send("a", "d1", BundleWhat::Want { part: 0 })]);
        assert!(fetches.due(at(900)).is_empty());
        assert_eq!(fetches.due(at(1_000)), [send("a", "d1", BundleWhat::Want { part: 0 })]);
        assert!(fetches.due(at(8_000)).is_empty());
        assert!(!fetches.missing("b", "d1", at(8_001)).is_empty(), "of another host");
    }
}
