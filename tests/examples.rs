//! The shell scripts of `examples/`: each is sound, and each has the one vice that it promises.
//!
//! A stand-in for `treevisor beat` writes down how it was called; what a real node makes of these workers is the matter
//! of the tests with real trees.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn scripts() -> Vec<PathBuf> {
    let mut scripts: Vec<_> = fs::read_dir(examples())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sh"))
        .collect();
    scripts.sort();
    scripts
}

/// A script at work, with a stand-in for treevisor. Killed, with the children in its process group, when it is dropped.
struct Run {
    child: Child,
    dir: TempDir,
}

impl Run {
    fn new(script: &str, arguments: &[&str]) -> Run {
        use std::os::unix::process::CommandExt;
        let dir = tempfile::tempdir().unwrap();
        let stand_in = dir.path().join("treevisor");
        fs::write(&stand_in, "#!/bin/sh\necho \"$*\" >>\"$BEATS\"\n").unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        let beats = dir.path().join("beats");
        // A fifo, so that a test can wait for the next beat instead of looking for it now and then.
        nix::unistd::mkfifo(&beats, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut command = Command::new(examples().join(script));
        command
            .args(arguments)
            .env("TREEVISOR_EXE", &stand_in)
            .env("TREEVISOR_HEARTBEAT_MS", "20")
            .env("BEATS", &beats)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        #[allow(clippy::disallowed_methods, reason = "no node is involved here")]
        let child = command.spawn().unwrap();
        Run { child, dir }
    }

    /// The beats, one a line. Opened for reading and writing, so that it does not end between two beats.
    fn beats(&self) -> impl Iterator<Item = String> + use<> {
        let fifo = fs::File::options().read(true).write(true).open(self.dir.path().join("beats")).unwrap();
        BufReader::new(fifo).lines().map(Result::unwrap)
    }

    fn output(&mut self) -> BufReader<std::process::ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    fn line(output: &mut impl BufRead) -> String {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn pid_in(line: &str) -> i32 {
    line.split_whitespace().last().unwrap().parse().unwrap()
}

fn is_alive(pid: i32) -> bool {
    // Its state stands behind its name, which may hold anything. A process has no command line for a moment while it
    // executes another program, so that does not tell it from a zombie.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn every_script_is_sound_and_says_what_it_is() {
    let scripts = scripts();
    assert!(scripts.len() >= 15, "{scripts:?}");
    for script in scripts {
        let text = fs::read_to_string(&script).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("#!/bin/sh"), "{}", script.display());
        assert!(lines.next().unwrap().starts_with("# "), "{}: the first line says what it is", script.display());
        assert_ne!(fs::metadata(&script).unwrap().permissions().mode() & 0o111, 0, "{}", script.display());
        let check = Command::new("sh").arg("-n").arg(&script).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
        // With treevisor from the PATH where the tree did not say which.
        if text.contains("beat()") {
            assert!(text.contains("beat() { \"${TREEVISOR_EXE:-treevisor}\" beat \"$@\"; }"), "{}", script.display());
        }
    }
}

#[test]
fn the_steady_one_beats_makes_progress_and_stops_when_asked() {
    let mut run = Run::new("steady.sh", &["tests"]);
    let beats: Vec<_> = run.beats().take(2).collect();
    assert_eq!(beats, ["beat --progress 1 --status 1 pieces of tests", "beat --progress 2 --status 2 pieces of tests"]);
    let mut output = run.output();
    assert!(Run::line(&mut output).starts_with("here, with process id "));
    assert_eq!(Run::line(&mut output), "tests: piece 1");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_arrhythmic_one_beats_irregularly_until_it_crashes() {
    let mut run = Run::new("arrhythmic.sh", &[]);
    // The test reads the beats until there are no more: the writer would wait otherwise.
    let fifo = fs::File::options().read(true).write(true).open(run.dir.path().join("beats")).unwrap();
    let status = run.child.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{status:?}");
    drop(fifo);
    let mut last_words = String::new();
    run.child.stderr.take().unwrap().read_to_string(&mut last_words).unwrap();
    assert!(last_words.contains("my heart!"), "{last_words}");
}

#[test]
fn the_deaf_one_does_not_hear() {
    let mut run = Run::new("deaf.sh", &[]);
    let mut beats = run.beats();
    beats.next();
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.signal(nix::sys::signal::Signal::SIGINT);
    // It beats again afterwards.
    assert_eq!(beats.next().as_deref(), Some("beat --status la la la"));
    assert!(run.child.try_wait().unwrap().is_none());
}

#[test]
fn the_daemonizer_leaves_a_session_of_its_own_behind() {
    let mut run = Run::new("daemonizer.sh", &["0"]);
    let mut output = run.output();
    let (one, other) = (Run::line(&mut output), Run::line(&mut output));
    let (daemon, worker) = if one.starts_with("daemon") { (one, other) } else { (other, one) };
    let (daemon, worker) = (pid_in(&daemon), pid_in(&worker));
    assert_eq!(run.child.wait().unwrap().code(), Some(1));
    let session = |pid: i32| nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid))).unwrap().as_raw();
    let (alive, session) = (is_alive(daemon), session(daemon));
    // Before anything can fail: it would outlive the test.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(alive && daemon != worker);
    assert_eq!(session, daemon, "it leads its session");
}

#[test]
fn the_forker_leaves_children_behind_that_ignore_being_asked() {
    let mut run = Run::new("forker.sh", &["2", "0"]);
    let mut output = run.output();
    let children = [pid_in(&Run::line(&mut output)), pid_in(&Run::line(&mut output))];
    assert_eq!(run.child.wait().unwrap().code(), Some(1));
    assert!(children.iter().all(|child| is_alive(*child)));
    // Dropping the run kills its process group, in which they still are.
}

#[test]
fn the_slow_one_warms_up_first() {
    let mut run = Run::new("slow_start.sh", &["0.2"]);
    let mut output = run.output();
    assert_eq!(Run::line(&mut output), "warming up");
    assert_eq!(run.beats().next().as_deref(), Some("beat --ready"));
    assert_eq!(Run::line(&mut output), "ready");
}

#[test]
fn the_short_lived_ones_end_as_they_are_told() {
    let mut run = Run::new("crashy.sh", &["0", "7"]);
    assert_eq!(run.child.wait().unwrap().code(), Some(7));
    let mut run = Run::new("crashy.sh", &["0", "ABRT"]);
    assert_eq!(run.child.wait().unwrap().signal(), Some(libc::SIGABRT));
    let mut run = Run::new("db.sh", &["0"]);
    assert_eq!(run.child.wait().unwrap().code(), Some(3));
}

#[test]
fn the_chatty_one_does_not_stop() {
    let mut run = Run::new("chatty.sh", &["bla"]);
    let mut output = run.output();
    for _ in 0..100_000 {
        assert_eq!(Run::line(&mut output), "bla");
    }
}

#[test]
fn the_livelocked_one_beats_and_stands_still() {
    let run = Run::new("livelock.sh", &["1"]);
    for beat in run.beats().take(3) {
        assert_eq!(beat, "beat --progress 1 --pending 7 --status so busy");
    }
}

#[test]
fn the_hanging_one_lives_on_in_silence() {
    let mut run = Run::new("hang.sh", &["1"]);
    assert_eq!(run.beats().next().as_deref(), Some("beat"));
    assert_eq!(Run::line(&mut run.output()), "waiting for myself");
    assert!(run.child.try_wait().unwrap().is_none());
}

#[test]
fn the_panic_button_is_pressed_for_what_is_named() {
    let mut run = Run::new("panic-button.sh", &["/lab/hearts", "demo"]);
    assert_eq!(run.beats().next().as_deref(), Some("panic /lab/hearts"));
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    let mut without = Run::new("panic-button.sh", &[]);
    assert_eq!(without.child.wait().unwrap().code(), Some(2));
}

#[test]
fn the_workers_of_the_demo_work() {
    for (script, arguments, word) in [
        ("cache.sh", &[][..], "warm"),
        ("web.sh", &["page"][..], "pages"),
        ("arm.sh", &["left"][..], "1 moves"),
        ("db.sh", &["60"][..], "0 transactions"),
    ] {
        let run = Run::new(script, arguments);
        let beat = run.beats().next().unwrap();
        assert!(beat.starts_with("beat ") && beat.ends_with(word), "{script}: {beat}");
    }
}

#[test]
fn a_jammed_arm_lives_on_in_silence() {
    let run = Run::new("arm.sh", &["right", "1"]);
    // Its life is drawn: 1 or 2 moves. Then a sleep takes the place of the beats.
    let mut beats = run.beats();
    assert_eq!(beats.next().as_deref(), Some("beat --progress 1 --status 1 moves"));
    let mut complaint = String::new();
    let mut run = run;
    BufReader::new(run.child.stderr.take().unwrap()).read_line(&mut complaint).unwrap();
    assert_eq!(complaint, "right arm: the servo is j\n");
    assert!(run.child.try_wait().unwrap().is_none());
}

#[test]
fn the_program_that_knows_nothing_of_treevisor_is_sound() {
    let script = examples().join("random_app.py");
    let check = Command::new("python3")
        .args(["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"])
        .arg(script)
        .output();
    match check {
        Ok(check) => assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr)),
        Err(error) => eprintln!("skipped, there is no Python: {error}"),
    }
}
