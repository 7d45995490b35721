//! What is slow: disks that do not answer hold up nobody but those who need them.

use crate::harness::*;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Holds a lease on a file and does not give it back: who opens the file to execute it waits, as for a dead disk. `None` where that
/// cannot be had.
fn hold(file: &Path) -> Option<Child> {
    const HOLD: &str = "import fcntl, os, signal, sys\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\n\
        fd = os.open(sys.argv[1], os.O_RDONLY)\nfcntl.fcntl(fd, 1024, 1)\nprint('held', flush=True)\nsys.stdin.read()\n";
    let mut holder = Command::new("python3");
    holder.args(["-c", HOLD]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut holder = holder.spawn().ok()?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
    if line == "held\n" {
        return Some(holder);
    }
    let _ = holder.wait();
    None
}

#[test]
fn a_program_on_a_dead_disk_waits_alone() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("needy.sh");
    fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut tree = Tree::start(&format!(
        "[[child]]\nname = \"healthy\"\ncommand = \"sleep 1000\"\n[[child]]\nname = \"needy\"\ncommand = [\"{}\"]\n",
        program.display()
    ));
    let Some(mut holder) = hold(&program) else {
        eprintln!("notice: no file can be held here, so what a dead disk does is not tested");
        tree.stop();
        return;
    };
    signal(tree.pid("/needy"), 9);
    // It counts as started before its program is executed, and says so.
    tree.incarnation("/needy", 2);
    until("it says what it waits for", || {
        tree.status("/needy")["status_text"].as_str().is_some_and(|text| text.contains("not executed yet"))
    });
    signal(tree.pid("/healthy"), 9);
    tree.incarnation("/healthy", 2);
    // It can be stopped as well, and started again.
    tree.run(&["restart", "/needy"]).expect(0);
    tree.incarnation("/needy", 3);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    until("it runs at last", || {
        let status = tree.status("/needy");
        let name = fs::read_to_string(format!("/proc/{}/comm", status["pid"])).unwrap_or_default();
        status["state"] == "running"
            && name.trim() == "sleep"
            && status["status_text"].as_str().unwrap_or("").is_empty()
    });
    tree.stop();
}
