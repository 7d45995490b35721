//! How a worker is started: user, group, environment, limits, and a clean slate.

use crate::harness::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

#[test]
fn a_worker_gets_what_its_spec_says() {
    // Below nice(1) that value is where we begin, and only root may go down from there.
    let own = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let own: i32 = own.rsplit(") ").next().unwrap().split(' ').nth(19 - 3).unwrap().parse().unwrap();
    let nice = own.max(5);
    let mut tree = Tree::start(
        &r#"
[[child]]
name = "a"
cwd = "/"
env = { GREETING = "good morning" }
umask = "027"
nice = NICE
limits = { nofile = 123, core = 0 }
command = ["sh", "-c", "echo got $(pwd) $GREETING $(umask) $(nice) $(ulimit -n) $(ulimit -c); exec sleep 1000"]
[[child]]
name = "b"
clear-env = true
env = { ONLY = "this", PATH = "/usr/bin:/bin" }
command = ["sh", "-c", "echo env: $(env | cut -d= -f1 | sort | tr '\\n' ' ').; exec sleep 1000"]
[[child]]
name = "c"
command = ["sh", "-c", "echo fds: $(ls /proc/self/fd | tr '\\n' ' ').; exec sleep 1000"]
[[child]]
name = "d"
stop-signal = "USR1"
command = ["sh", "-c", "trap 'echo usr1 came; exit 0' USR1; echo ready now; while :; do sleep 1000 & wait; done"]
"#
        .replace("NICE", &nice.to_string()),
    );
    let line = tree.line("│ got ");
    assert!(line.contains(&format!("got / good morning 0027 {nice} 123 0")), "{line}");
    let line = tree.line("│ env: ");
    assert!(!line.contains("HOME") && line.contains("ONLY") && line.contains("TREEVISOR_PATH"), "{line}");
    // ls itself opens the directory as the next free number.
    let line = tree.line("│ fds: ");
    assert!(line.contains("fds: 0 1 2 3 ."), "{line}");
    tree.line("ready now");
    tree.run(&["stop", "/d"]).expect(0);
    tree.line("usr1 came");
    let status = tree.status("/d");
    assert_eq!(status["last_exit"]["code"], 0, "{status}");
    tree.stop();
}

#[test]
fn a_worker_runs_as_another_user_and_may_beat_but_not_command() {
    let tree = tree_for_other_users(|program| {
        format!(
            r#"
intensity = 10
[[child]]
name = "a"
user = "nobody"
heartbeat = {{ interval = "1s", misses = 5, grace = "10s" }}
command = ["sh", "-c", "echo I am $(id -un); {program} stop /a 2>&1 | head -1; while :; do {program} beat; sleep 0.2; done"]
"#
        )
    });
    let Some(mut tree) = tree else { return };
    tree.line(&format!("I am {PLAIN_USER}"));
    tree.line("the tree is up");
    tree.follow();
    while beats(&tree, "/a") < 3 {}
    assert_eq!(tree.status("/a")["incarnation"], 1);
    tree.stop();
}

#[test]
fn a_worker_with_a_user_is_that_user_and_can_open_what_it_prints_to() {
    let tree = tree_for_other_users(|_| {
        r#"
[[child]]
name = "a"
user = "nobody"
command = ["sh", "-c", "echo a out $HOME,$USER,$LOGNAME,$SHELL > /dev/stdout; echo a err > /dev/stderr; exec sleep 1000"]
[[child]]
name = "own"
user = "nobody"
env = { HOME = "/srv", SHELL = "/bin/own" }
command = ["sh", "-c", "echo own $HOME,$USER,$LOGNAME,$SHELL; exec sleep 1000"]
[[child]]
name = "number"
user = 54321
command = ["sh", "-c", "echo number $HOME,$USER,$LOGNAME,$(env | grep -c ^SHELL=) > /dev/stdout; exec sleep 1000"]
[[child]]
name = "clear"
user = "nobody"
clear-env = true
env = { PATH = "/usr/bin:/bin" }
command = ["sh", "-c", "echo clear $HOME,$USER; exec sleep 1000"]
[[child]]
name = "same"
group = "nogroup"
command = ["sh", "-c", "echo same [$HOME] > /dev/stdout; exec sleep 1000"]
"#
        .into()
    });
    let Some(mut tree) = tree else { return };
    let nobody = nix::unistd::User::from_name(PLAIN_USER).unwrap().unwrap();
    let (home, shell) = (nobody.dir.display(), nobody.shell.display());
    tree.line(&format!("a out {home},{PLAIN_USER},{PLAIN_USER},{shell}"));
    tree.line("a err");
    tree.line(&format!("own /srv,{PLAIN_USER},{PLAIN_USER},/bin/own"));
    tree.line("number /,54321,54321,0");
    tree.line(&format!("clear {home},{PLAIN_USER}"));
    tree.line(&format!("same [{}]", std::env::var("HOME").unwrap_or_default()));
    tree.line("the tree is up");
    tree.stop();
}

#[test]
fn a_socket_for_plain_beats_is_the_workers_own() {
    use std::os::unix::fs::MetadataExt;
    let tree = tree_for_other_users(|_| {
        "[[child]]\nname = \"a\"\nuser = 54321\nheartbeat = { interval = \"1000s\", misses = 2, source = { push = \"ipc://beats\" } }\n\
         command = [\"sh\", \"-c\", \"test -w beats && echo it may write; exec sleep 1000\"]\n"
            .into()
    });
    let Some(mut tree) = tree else { return };
    tree.line("it may write");
    tree.line("the tree is up");
    let beats = tree.dir().join("beats");
    assert_eq!(fs::metadata(&beats).unwrap().uid(), 54321);
    fs::remove_file(&beats).unwrap();
    until("it is put back", || {
        // A node looks when it is awake.
        tree.status("/a");
        fs::metadata(&beats).is_ok_and(|there| there.uid() == 54321)
    });
    tree.stop();
}

#[test]
fn a_worker_that_could_not_reach_its_socket_is_not_taken_over() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: changing the user needs root");
        return;
    }
    const PLAIN: &str = "[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\n";
    const OTHER: &str =
        "[[child]]\nname = \"b\"\nuser = \"nobody\"\nready = \"notify\"\ncommand = [\"sleep\", \"1000\"]\n";
    let mut tree = Tree::start(PLAIN);
    fs::set_permissions(tree.dir(), fs::Permissions::from_mode(0o700)).unwrap();
    let file = tree.dir().join("tree.toml");
    fs::write(&file, format!("{PLAIN}{OTHER}")).unwrap();
    fs::write(tree.dir().join("b.toml"), OTHER).unwrap();
    let closed = "/b runs as uid 65534, which cannot reach the tree's sockets: the directory";
    for (arguments, nothing) in
        [(&["reload"][..], "nothing was changed"), (&["add", "/", "b.toml"], "nothing was started")]
    {
        let refused = tree.run(arguments).expect(1);
        assert!(refused.stderr.contains(closed) && refused.stderr.contains(nothing), "{}", refused.stderr);
    }
    signal(tree.root_pid(), 1);
    tree.line("SIGHUP: nothing changed: /b runs as uid 65534");
    assert_eq!(tree.status("/")["children"].as_array().unwrap().len(), 1);
    tree.stop();
}

#[test]
fn a_worker_does_not_outlive_its_node_and_leads_a_session_of_its_own() {
    let tree = Tree::start("[[child]]\nname = \"a\"\ncommand = [\"sleep\", \"1000\"]\n");
    let pid = tree.pid("/a");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    assert_eq!(fields[2], pid.to_string(), "process group");
    assert_eq!(fields[3], pid.to_string(), "session");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for name in ["SigBlk", "SigIgn"] {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
    tree.stop();
}

#[test]
fn a_file_of_variables_is_read_with_the_spec_and_shown_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
[[child]]
name = "s"
  [[child.child]]
  name = "a"
  env-file = ["a.env", "-none.env"]
  env = { B = "from env" }
  command = ["sh", "-c", "echo a has $A and $B; exec sleep 1000"]
[[child]]
name = "plain"
command = ["sh", "-c", "echo plain has [$A]; exec sleep 1000"]
"#;
    fs::write(dir.path().join("tree.toml"), text).unwrap();
    let missing = Ran::from(command_in(dir.path()).args(["start", "tree.toml"]).output().unwrap()).expect(2);
    assert!(missing.stderr.contains("there is no file"), "{}", missing.stderr);
    fs::write(dir.path().join("a.env"), "A=hunter2\nB=hunter3\n").unwrap();
    let mut tree = Tree::begin_in(dir, &[]);
    tree.line("a has hunter2 and from env");
    tree.line("plain has []");
    tree.line("the tree is up");
    tree.follow();
    let env = tree.dir().join("a.env");
    fs::write(&env, "A=hunter4\n").unwrap();
    let plan = tree.run(&["reload", "--plan"]).expect(0);
    assert!(plan.stdout.contains("/s/a") && plan.stdout.contains("what is in env-file has changed"), "{}", plan.stdout);
    tree.run(&["reload"]).expect(0);
    tree.line("a has hunter4 and from env");
    // It is read with the file, and not by a start.
    fs::write(&env, "A=hunter5\n").unwrap();
    tree.run(&["restart", "/s/a"]).expect(0);
    tree.line("a has hunter4 and from env");
    signal(tree.root_pid(), 1);
    tree.line("a has hunter5 and from env");
    // What never ends is not waited for, and changes nothing.
    fs::remove_file(&env).unwrap();
    nix::unistd::mkfifo(&env, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    signal(tree.root_pid(), 1);
    tree.line("the file has errors");
    assert!(tree.run(&["reload"]).expect(2).stderr.contains("a.env"));
    for arguments in [
        &["status", "--json"][..],
        &["events", "--json"],
        &["why", "/s/a"],
        &["reload", "--plan", "--json"],
        &["check", "tree.toml"],
    ] {
        let ran = tree.run(arguments);
        assert!(!ran.stdout.contains("hunter") && !ran.stderr.contains("hunter"), "{arguments:?}: {ran:?}");
    }
    tree.stop();
}

#[test]
fn copies_know_their_numbers_and_new_ones_too() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
[[child]]
name = "s"
  [[child.child]]
  name = "w"
  count = 2
  command = ["sh", "-c", "echo copy $TREEVISOR_NUMBER has port $PORT, $SHARD, ${@n+100} of ${PLACE}; exec sleep 1000"]
  env = { PORT = "${@n+8079}" }
  env-file = "shard-${@n}.env"
[[child]]
name = "one"
command = ["sh", "-c", "echo one has [$TREEVISOR_NUMBER]; exec sleep 1000"]
"#;
    fs::write(dir.path().join("tree.toml"), text).unwrap();
    for n in 1..=4 {
        fs::write(dir.path().join(format!("shard-{n}.env")), format!("SHARD=shard{n}\n")).unwrap();
    }
    let mut start = command_in(dir.path());
    start.args(["start", "tree.toml"]).env("PLACE", "here").stdin(Stdio::null());
    let root = start.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut tree = Tree::adopt(dir, root);
    tree.line("copy 1 has port 8080, shard1, 101 of here");
    tree.line("copy 2 has port 8081, shard2, 102 of here");
    tree.line("one has []");
    tree.line("the tree is up");
    // The tool has another environment, and the tree remembers its own.
    tree.run(&["scale", "/s/w", "4"]).expect(0);
    tree.line("copy 3 has port 8082, shard3, 103 of here");
    tree.line("copy 4 has port 8083, shard4, 104 of here");
    let refused = tree.run(&["scale", "/s/w", "6"]).expect(1);
    assert!(refused.stderr.contains("shard-5.env") && refused.stderr.contains("nothing was changed"), "{refused:?}");
    tree.run(&["scale", "/s/w", "1"]).expect(0);
    tree.run(&["scale", "/s/w", "2"]).expect(0);
    tree.line("copy 2 has port 8081, shard2, 102 of here");
    let plan = tree.command().args(["reload", "--plan"]).env("PLACE", "here").output().unwrap();
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.starts_with("nothing to do"), "{plan}");
    tree.stop();
}

#[test]
fn a_worker_reads_what_its_spec_says() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
[defaults]
restart = "temporary"
[[child]]
name = "nothing"
command = ["sh", "-c", "echo nothing: $(wc -c)"]
[[child]]
name = "file"
cwd = "below"
stdin = "in.txt"
command = ["sh", "-c", "read line; echo file: $line; exec sleep 1000"]
[[child]]
name = "fifo"
stdin = "fifo"
restart = "permanent"
command = ["sh", "-c", "read line; echo fifo: $line; exec sleep 1000"]
[[child]]
name = "s"
  [[child.child]]
  name = "ours"
  stdin = "inherit"
  command = ["sh", "-c", "read line; echo ours: $line; exec sleep 1000"]
"#;
    fs::write(dir.path().join("tree.toml"), text).unwrap();
    fs::create_dir(dir.path().join("below")).unwrap();
    fs::write(dir.path().join("below/in.txt"), "from a file\nmore\n").unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut start = command_in(dir.path());
    start.args(["start", "tree.toml"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut root = start.spawn().unwrap();
    use std::io::Write;
    root.stdin.take().unwrap().write_all(b"from a pipe\n").unwrap();
    let mut tree = Tree::adopt(dir, root);
    tree.line("nothing: 0");
    tree.line("file: from a file");
    tree.line("ours: from a pipe");
    // Nothing waits for a fifo but the process that is to read it.
    tree.line("the tree is up");
    tree.follow();
    fs::write(tree.dir().join("fifo"), "from a fifo\n").unwrap();
    tree.line("fifo: from a fifo");
    fs::remove_file(tree.dir().join("below/in.txt")).unwrap();
    signal(tree.pid("/fifo"), 9);
    tree.incarnation("/fifo", 2);
    let failed = tree.run(&["restart", "/file"]).expect(1);
    assert!(failed.stderr.contains("opening the standard input in.txt: No such file"), "{}", failed.stderr);
    tree.stop();
}

#[test]
fn a_program_that_is_run_reads_what_treevisor_reads() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let mut run = command_in(dir.path());
    run.args(["run", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    run.stdin.take().unwrap().write_all(b"hello\nworld\n").unwrap();
    let ran = Ran::from(run.wait_with_output().unwrap()).expect(0);
    assert!(ran.stdout.contains("hello") && ran.stdout.contains("world"), "{ran:?}");
}

#[test]
fn the_oom_score_is_the_workers_own() {
    for containment in ["auto", "group"] {
        let mut tree = Tree::start(&format!(
            r#"
            containment = "{containment}"
            [[child]]
            name = "first"
            oom-score-adjust = 700
            command = ["sh", "-c", "until [ $(cat /proc/self/oom_score_adj) = 700 ]; do :; done; echo score 700; exec sleep 1000"]
            "#
        ));
        tree.line("score 700");
        let own = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        assert_eq!(own(tree.root_pid()), own(std::process::id()), "treevisor keeps its own");
        tree.stop();
    }
}
