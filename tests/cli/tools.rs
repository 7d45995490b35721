//! What is there for editors, shells and `man`: files and scripts that other programs read.

use crate::{VERBS, call, golden, treevisor};
use std::fs;
use std::process::{Command, Stdio};
use tempfile::tempdir;

/// Whether this machine has the program; where not, a notice shows what is left out.
fn has(program: &str) -> bool {
    let found = std::env::var("PATH")
        .unwrap_or_default()
        .split(':')
        .any(|dir| fs::exists(format!("{dir}/{program}")).unwrap_or(false));
    if !found {
        eprintln!("notice: there is no {program} here; what it would say is not tested");
    }
    found
}

#[test]
fn a_file_to_begin_with() {
    let directory = tempdir().unwrap();
    let at = directory.path();
    let (out, said, code) = call(at, &["init"]);
    assert_eq!((out.as_str(), code), ("", 0), "{said}");
    let (_, complaints, code) = call(at, &["check", "supervisors.toml"]);
    assert_eq!((complaints.as_str(), code), ("", 0));
    let (_, again, code) = call(at, &["init"]);
    assert_eq!(code, 1);
    golden::compare("init.txt", &format!("$ treevisor init\n{said}\n$ treevisor init\n{again}"));
    fs::write(at.join("supervisors.toml"), "x").unwrap();
    assert_eq!(call(at, &["init", "--force", "--schema"]).2, 0);
    let text = fs::read_to_string(at.join("supervisors.toml")).unwrap();
    assert!(text.starts_with("#:schema ./treevisor.schema.json\n"), "{text}");
    assert_eq!(fs::read_to_string(at.join("treevisor.schema.json")).unwrap(), call(at, &["schema"]).0);
    let (printed, said, code) = call(at, &["init", "-"]);
    assert_eq!((said.as_str(), code), ("", 0));
    assert!(text.ends_with(&printed));
    let (_, said, code) = call(at, &["init", "no/such/directory.toml"]);
    assert_eq!(code, 1);
    assert!(said.contains("cannot write no/such/directory.toml: No such file"), "{said}");
}

#[test]
fn the_schema_is_kept() {
    let directory = tempdir().unwrap();
    let (schema, said, code) = call(directory.path(), &["schema"]);
    assert_eq!((said.as_str(), code), ("", 0));
    golden::compare("schema.json", &schema);
}

#[test]
fn manual_pages_are_without_faults() {
    let directory = tempdir().unwrap();
    let (page, said, code) = call(directory.path(), &["man", "status"]);
    assert_eq!((said.as_str(), code), ("", 0));
    golden::compare("man-status.1", &page.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    let (files, _, code) = call(directory.path(), &["man", "--dir", "man1"]);
    assert_eq!(code, 0);
    let wanted: Vec<String> = std::iter::once("man1/treevisor.1".to_owned())
        .chain(VERBS.iter().map(|verb| format!("man1/treevisor-{verb}.1")))
        .chain(["man5/treevisor.toml.5".to_owned()])
        .collect();
    let (page, said, code) = call(directory.path(), &["man", "treevisor.toml"]);
    assert_eq!((said.as_str(), code), ("", 0));
    for word in [".TH TREEVISOR.TOML 5", "KEYS OF WORKERS", "\\fBstop\\-signal\\fR", "KEYS OF HEARTBEAT"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    assert_eq!(files.lines().collect::<Vec<_>>(), wanted);
    let (_, said, code) = call(directory.path(), &["man", "strat"]);
    assert_eq!(code, 2);
    assert!(said.contains("there is no such verb") && said.contains("status"), "{said}");
    if has("groff") {
        for file in wanted {
            let output = Command::new("groff")
                .args(["-man", "-ww", "-Tutf8", "-z"])
                .arg(directory.path().join(&file))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{file}");
        }
    }
}

#[test]
fn help_and_version_are_verbs_too() {
    let directory = tempdir().unwrap();
    for (verb, option) in
        [(&["help"][..], &["--help"][..]), (&["help", "run"], &["run", "--help"]), (&["version"], &["--version"])]
    {
        let as_verb = call(directory.path(), verb);
        assert_eq!((as_verb.1.as_str(), as_verb.2), ("", 0));
        assert_eq!(as_verb, call(directory.path(), option));
    }
}

#[test]
fn completions_are_scripts_that_their_shells_understand() {
    let directory = tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (script, said, code) = call(directory.path(), &["completions", shell]);
        assert_eq!((said.as_str(), code), ("", 0));
        assert!(script.contains("TREEVISOR_COMPLETE"), "{script}");
        if has(shell) {
            let file = directory.path().join(shell);
            fs::write(&file, script).unwrap();
            let output = Command::new(shell).arg("-n").arg(&file).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
        }
    }
    let (_, said, code) = call(directory.path(), &["completions", "tcsh"]);
    assert_eq!(code, 2);
    assert!(said.contains("bash, zsh, fish"), "{said}");
}

#[test]
fn verbs_and_options_are_completed_where_nothing_runs() {
    let directory = tempdir().unwrap();
    let complete = |words: &[&str]| {
        let output = treevisor(directory.path(), &["--", "treevisor"])
            .args(words)
            .env("TREEVISOR_COMPLETE", "bash")
            .envs([("_CLAP_COMPLETE_INDEX", words.len().to_string()), ("_CLAP_IFS", "\n".into())])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["stat"]), ["status"]);
    assert_eq!(complete(&["man", "not"]), ["notify"]);
    assert_eq!(complete(&["-i", "shop", "--json", "stat"]), ["status"]);
    assert_eq!(complete(&["status", "/w"]), [""; 0]);
    assert_eq!(complete(&["status", "-i", ""]), [""; 0]);
    assert!(complete(&["events", "--"]).contains(&"--follow".to_owned()));
    fs::write(directory.path().join("shop.toml"), "").unwrap();
    assert_eq!(complete(&["check", "sh"]), ["shop.toml"]);
}

#[test]
fn the_examples_for_systemd_and_for_containers_are_sound() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let directory = tempdir().unwrap();
    let (_, said, code) = call(directory.path(), &["check", &format!("{examples}/container/supervisors.toml")]);
    assert_eq!((said.as_str(), code), ("", 0));
    let entrypoint = Command::new("sh").arg("-n").arg(format!("{examples}/container/entrypoint")).status().unwrap();
    assert!(entrypoint.success());
    if has("systemd-analyze") {
        // The programs and the manual that a unit names have to be there.
        let unit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/treevisor@.service")).unwrap();
        let unit = unit.replace("/usr/bin/treevisor", env!("CARGO_BIN_EXE_treevisor"));
        let unit: String = unit.split_inclusive('\n').filter(|line| !line.starts_with("Documentation=")).collect();
        let file = directory.path().join("treevisor@shop.service");
        fs::write(&file, unit).unwrap();
        let output = Command::new("systemd-analyze").arg("verify").arg(&file).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}
