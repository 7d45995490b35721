//! What is made of the files of other supervisors; each result passes `check` without an error.

use crate::{call, ended, golden, treevisor};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

/// Imports files of tests/data/import, compares what is printed, and checks what came of it.
fn imported(name: &str, arguments: &[&str]) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import");
    let directory = tempdir().unwrap();
    let at = directory.path();
    fs::create_dir(at.join("conf.d")).unwrap();
    for file in [
        "supervisord.conf",
        "conf.d/mailer.conf",
        "Procfile",
        "shop-web.service",
        "shop-db.service",
        "shop-migrate.service",
    ] {
        fs::copy(data.join(file), at.join(file)).unwrap();
    }
    let all: Vec<&str> = std::iter::once("import").chain(arguments.iter().copied()).collect();
    let (toml, said, code) = call(at, &all);
    assert_eq!(code, 0, "{said}");
    let plain = |text: &str| {
        text.replace(&fs::canonicalize(at).unwrap().display().to_string(), "DIR").replace(at.to_str().unwrap(), "DIR")
    };
    golden::compare(&format!("import-{name}.toml"), &plain(&toml));
    golden::compare(&format!("import-{name}.txt"), &plain(&said));
    fs::write(at.join("imported.toml"), &toml).unwrap();
    let (_, complaints, code) = checked(at);
    assert_eq!((complaints.as_str(), code), ("", 0));
    // What is printed on stderr stands in the file too.
    let notes = |text: &str, mark: &str| text.lines().filter(|line| line.contains(mark)).count();
    assert_eq!(notes(&toml, "# differs: "), said.lines().count() - 1, "{said}");
}

/// With the variables that the files have of the environment.
fn checked(at: &Path) -> (String, String, i32) {
    let variables = [("HOME", "/home/shop"), ("LOGS", "/var/log/shop")];
    ended(&treevisor(at, &["check", "--portable", "imported.toml"]).envs(variables).output().unwrap())
}

#[test]
fn a_supervisord_conf() {
    imported("supervisord", &["supervisord.conf"]);
}

#[test]
fn a_procfile() {
    imported("procfile", &["Procfile", "--formation", "web=2,worker=3,clok=1"]);
}

#[test]
fn one_unit_and_several() {
    imported("unit", &["shop-web.service"]);
    imported("units", &["shop-web.service", "shop-migrate.service", "shop-db.service"]);
}

/// Each directory of tests/data/import/corpus is a case: files, the `arguments` of the import, and beside them what is
/// made of the files and what is reported of it.
#[test]
fn a_corpus_of_files() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import/corpus");
    let mut cases: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 10, "{}", corpus.display());
    for case in cases {
        let directory = tempdir().unwrap();
        let at = fs::canonicalize(directory.path()).unwrap();
        copy(&case, &at);
        let arguments = fs::read_to_string(case.join("arguments")).unwrap();
        let all: Vec<&str> = std::iter::once("import").chain(arguments.split_whitespace()).collect();
        let (toml, said, code) = call(&at, &all);
        assert_eq!(code, 0, "{}: {said}", case.display());
        let plain = |text: &str| text.replace(at.to_str().unwrap(), "DIR");
        golden::compare_with(&case.join("expected.toml"), &plain(&toml));
        golden::compare_with(&case.join("expected.txt"), &plain(&said));
        let started = toml.lines().any(|line| line.trim() == "[[child]]");
        fs::write(at.join("imported.toml"), &toml).unwrap();
        let (_, complaints, code) = checked(&at);
        assert_eq!(code == 0, started, "{}: {complaints}", case.display());
    }
}

/// Copies what is in a directory.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[test]
fn what_cannot_be_imported_is_said_so() {
    let directory = tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("x.txt"), "").unwrap();
    fs::write(at.join("Procfile"), "no\n").unwrap();
    fs::write(at.join("web.service"), [0xff]).unwrap();
    fs::write(at.join("good.service"), "[Service]\nExecStart=/bin/x\n").unwrap();
    fs::write(at.join("there.toml"), "").unwrap();
    let mut text = String::new();
    for (arguments, code) in [
        (&["missing.conf"][..], 1),
        (&["x.txt"], 2),
        (&["Procfile"], 1),
        (&["web.service"], 1),
        (&["Procfile", "x.txt"], 2),
        (&["good.service", "--formation", "web=1"], 2),
        (&["good.service", "--formation", "web"], 2),
        (&["good.service", "-o", "there.toml"], 1),
    ] {
        let all: Vec<&str> = std::iter::once("import").chain(arguments.iter().copied()).collect();
        let (out, said, ended) = call(at, &all);
        assert_eq!((out.as_str(), ended), ("", code), "{arguments:?}: {said}");
        text.push_str(&format!("$ treevisor import {}\n{said}\n", arguments.join(" ")));
    }
    golden::compare("import-errors.txt", &text);
    assert_eq!(call(at, &["import", "good.service", "-o", "there.toml", "--force"]).2, 0);
    assert!(fs::read_to_string(at.join("there.toml")).unwrap().contains("command = [\"/bin/x\"]"));
    fs::write(at.join(".env"), "SECRET=1\n").unwrap();
    fs::write(at.join("Procfile"), "web: ./x\n").unwrap();
    let (toml, said, _) = call(at, &["import", "Procfile"]);
    let here = fs::canonicalize(at).unwrap().display().to_string();
    let whole = format!("[defaults]\ncwd = \"{here}\"\nenv-file = \"-{here}/.env\"\n");
    assert!(toml.contains(&whole) && !toml.contains("SECRET"), "nothing tells where stdout goes\n{said}\n{toml}");
    fs::create_dir(at.join("etc")).unwrap();
    for (output, defaults) in [("etc/x.toml", &*whole), ("x.toml", "[defaults]\nenv-file = \"-.env\"\n")] {
        assert_eq!(call(at, &["import", "Procfile", "-o", output]).2, 0);
        let toml = fs::read_to_string(at.join(output)).unwrap();
        assert!(toml.contains(defaults), "{output}\n{toml}");
    }
}
