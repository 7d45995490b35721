//! Whatever is wrong with what we are given: a clear error, nothing half-started, nothing left.

use crate::harness::*;

/// Runs `treevisor start` on a text that cannot be started.
#[track_caller]
fn start_fails(toml: &str, code: i32, says: &[&str]) {
    let mut tree = Tree::begin(toml, &[]);
    assert_eq!(tree.wait(), code, "{}", tree.printed());
    let printed = tree.printed();
    for text in says {
        assert!(printed.contains(text), "\"{text}\" is not said in:\n{printed}");
    }
    assert!(!printed.contains("panicked at"), "{printed}");
    assert_eq!(files_below(&tree.dir().join("run")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_unreadable_file() {
    let dir = tempfile::tempdir().unwrap();
    let ran: Ran = command_in(dir.path()).args(["start", "missing.toml"]).output().unwrap().into();
    let ran = ran.expect(2);
    assert!(ran.stderr.contains("missing.toml") && ran.stderr.contains("No such file"), "{}", ran.stderr);
    let ran: Ran = command_in(dir.path()).args(["start", "."]).output().unwrap().into();
    ran.expect(2);
}

#[test]
fn a_bad_toml() {
    start_fails("[[child]\nname = 1\n", 2, &["tree.toml", "1"]);
    start_fails("strategy = \"one-for-al\"\n[[child]]\nname = \"a\"\ncommand = \"true\"\n", 2, &["one-for-all"]);
    start_fails("", 2, &["tree.toml"]);
    // Nothing is started from a file with an error, and all errors are reported.
    start_fails(
        "[[child]]\nname = \"a\"\ncommand = [\"touch\", \"started\"]\nrestrat = \"permanent\"\n[[child]]\nname = \"a\"\ncommand = []\n",
        2,
        &["restrat", "restart", "4"],
    );
}

#[test]
fn a_missing_program() {
    start_fails(
        "[[child]]\nname = \"a\"\ncommand = [\"no-such-program-anywhere\"]\n",
        11,
        &["no-such-program-anywhere", "looked up in PATH"],
    );
    start_fails("[[child]]\nname = \"a\"\ncommand = [\"./no-such-file\"]\n", 11, &["./no-such-file", "No such file"]);
}

#[test]
fn a_program_that_is_not_executable() {
    start_fails("[[child]]\nname = \"a\"\ncommand = [\"./tree.toml\"]\n", 11, &["./tree.toml", "executable"]);
}

/// What these errors mean, which is not what they mean of a program.
const CWD: &str = "the directory in `cwd` is not there";
const STDIN: &str = "the file in `stdin` is not there";

#[test]
fn a_working_directory_or_user_that_does_not_exist() {
    start_fails("[[child]]\nname = \"a\"\ncommand = \"true\"\ncwd = \"/no/such/dir\"\n", 11, &["/no/such/dir", CWD]);
    start_fails(
        "[[child]]\nname = \"a\"\ncommand = \"true\"\nstdin = \"/no/such/file\"\n",
        11,
        &["/no/such/file", STDIN],
    );
    // Before anything is started, with the line and the column.
    let started = "[[child]]\nname = \"first\"\ncommand = [\"touch\", \"started\"]\n";
    for (key, column) in [("user", 8), ("group", 9)] {
        let file = format!("{started}[[child]]\nname = \"a\"\ncommand = \"true\"\n{key} = \"nosuchone\"\n");
        start_fails(&file, 2, &["nosuchone", &format!(":7:{column}")]);
    }
}

#[test]
fn a_socket_path_that_is_too_long() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tree.toml"), "[[child]]\nname = \"a\"\ncommand = \"sleep 1000\"\n").unwrap();
    let long = dir.path().join("x".repeat(100));
    let ran: Ran = command_in(dir.path())
        .args(["start", "tree.toml"])
        .env("TREEVISOR_RUNTIME_DIR", &long)
        .output()
        .unwrap()
        .into();
    assert!(matches!(ran.code, Some(1 | 2)), "{ran:?}");
    assert!(ran.stderr.contains("too long"), "{}", ran.stderr);
    assert!(!long.exists(), "nothing half-starts");
}

#[test]
fn a_child_that_loses_its_program_while_the_tree_runs() {
    let dir = tempfile::Builder::new().prefix("tv").tempdir().unwrap();
    let program = dir.path().join("program");
    install("/bin/sleep", &program);
    std::fs::write(
        dir.path().join("tree.toml"),
        "intensity = 2\n[[child]]\nname = \"a\"\ncommand = [\"./program\", \"1000\"]\n",
    )
    .unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("the tree is up");
    tree.follow();
    let pid = tree.pid("/a");
    std::fs::remove_file(tree.dir().join("program")).unwrap();
    signal(pid, 9);
    // R34: its exit is charge 1, and each attempt that fails is one more, until the next would be too many.
    assert_eq!(tree.wait(), 10);
    let printed = tree.printed();
    assert!(printed.contains("./program") && printed.contains("No such file"), "{printed}");
}

#[test]
fn start_without_a_file_is_told_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let ran: Ran = command_in(dir.path()).arg("start").output().unwrap().into();
    ran.expect(2);
}
