use super::super::testing::{end_of, script, start_piped};
use super::*;
use crate::os::cgroup::tree::Tree;
use crate::os::random;

/// Prints "ready" when its own child exists, and it has used some CPU time.
const BUSY: &str = "sleep 1000 & i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; wait";

#[test]
fn a_family_is_counted_with_its_children() {
    let (child, output) = start_piped(script(BUSY)).unwrap();
    assert_eq!(super::super::testing::read_line(&output), "ready");
    let alone = of_process(child.pid).unwrap();
    let family = of_family(child.pid).unwrap();
    assert_eq!((alone.processes, family.processes), (1, 2));
    assert!(alone.memory_bytes >= 4_096, "{alone:?}");
    assert!(family.memory_bytes > alone.memory_bytes, "{alone:?} {family:?}");
    assert!(family.cpu >= alone.cpu && family.cpu < Span::from_secs(60), "{alone:?} {family:?}");
    crate::os::process::signal_group(child.pid, libc::SIGKILL);
    child.pidfd.signal(libc::SIGKILL).unwrap();
    end_of(&child.pidfd);
    assert_eq!(of_family(child.pid), None);
}

#[test]
fn what_has_ended_uses_nothing() {
    // The kernel never assigns such a pid.
    assert_eq!(of_process(u32::MAX / 2), None);
    assert_eq!(of_family(u32::MAX / 2), None);
}

#[test]
fn a_cgroup_counts_by_itself() {
    let Ok(tree) = Tree::create("usage", &random::mark().unwrap()) else {
        eprintln!("skipped: no cgroup v2 that can be written");
        return;
    };
    let group = tree.root().child("c.a").unwrap();
    let used = of_group(&group).unwrap();
    assert_eq!((used.processes, used.memory_bytes), (0, 0));
    tree.remove();
}
