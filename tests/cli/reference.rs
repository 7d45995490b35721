//! `docs/cli.md` and the pages of `docs/cli` hold the help of every verb, word for word.

use crate::{OF_HOST, VERBS, call, golden};
use std::fs;
use std::path::PathBuf;

const BEGIN: &str = "<!-- help";
const FENCE: &str = "```";

/// The page with the help in each of its marked blocks replaced by the real one, and the verbs that were met.
fn with_real_help(page: &str) -> (String, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let mut out = String::new();
    let mut met = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(verb) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix("-->")) else { continue };
        let verb = verb.trim();
        met.push(verb.to_owned());
        let arguments: Vec<&str> = verb.split_whitespace().chain(["--help"]).collect();
        let (help, error, code) = call(directory.path(), &arguments);
        assert_eq!((error.as_str(), code), ("", 0), "{verb}");
        out.push_str(&format!("{FENCE}text\n{}\n{FENCE}\n", clean(&help)));
        // What stood there is skipped.
        assert!(lines.next().is_some_and(|line| line.starts_with(FENCE)), "a block has to follow {line}");
        assert!(lines.by_ref().any(|line| line == FENCE), "the block after {line} has no end");
    }
    (out, met)
}

/// Without the spaces that clap leaves at the ends of lines.
fn clean(help: &str) -> String {
    help.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_is_the_help() {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<_> = fs::read_dir(docs.join("cli")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.push(docs.join("cli.md"));
    let mut all = Vec::new();
    for path in pages {
        let page = fs::read_to_string(&path).unwrap();
        let (real, met) = with_real_help(&page);
        all.extend(met);
        if golden::blessing() {
            fs::write(path, real).unwrap();
        } else {
            assert!(page == real, "{} does not hold the present help; run with TREEVISOR_BLESS=1", path.display());
        }
    }
    let mut wanted: Vec<_> = VERBS.iter().chain(OF_HOST).chain(&[""]).collect();
    wanted.sort_unstable();
    all.sort_unstable();
    assert_eq!(all.iter().map(String::as_str).collect::<Vec<_>>(), wanted.into_iter().copied().collect::<Vec<_>>());
}

#[test]
fn every_verb_of_a_host_is_among_those_that_are_looked_at() {
    let (help, _, _) = call(tempfile::tempdir().unwrap().path(), &["host", "--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: Vec<_> = listed.filter_map(|line| Some(format!("host {}", line.split_whitespace().next()?))).collect();
    assert_eq!(listed, OF_HOST);
}

#[test]
fn the_short_help_fits_a_screen() {
    let directory = tempfile::tempdir().unwrap();
    let (help, _, code) = call(directory.path(), &["-h"]);
    assert_eq!(code, 0);
    golden::compare("short-help.txt", &help);
    // What there is to do takes a line each; nothing else may make it longer.
    assert!(help.lines().count() <= 20 + VERBS.len());
    // Without any word it helps too, but as an error: a script that forgot the verb must not go on.
    let (out, error, code) = call(directory.path(), &[]);
    assert_eq!((out.as_str(), code), ("", 2));
    assert!(error.contains("Usage: treevisor"));
}

#[test]
fn no_line_of_help_is_wider_than_a_screen() {
    let directory = tempfile::tempdir().unwrap();
    for verb in VERBS.iter().chain(OF_HOST) {
        let words: Vec<_> = verb.split(' ').chain(["--help"]).collect();
        let (help, _, _) = call(directory.path(), &words);
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{verb}: {line}");
        }
        assert!(help.contains("Examples:"), "{verb}");
    }
}
