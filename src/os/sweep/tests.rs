use super::super::pidfd::PidFd;
use super::super::testing::{end_of, read_line, script, start_piped};
use super::*;
use crate::os::random;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

#[test]
fn what_is_left_is_named_with_its_path_and_the_reason() {
    let of = |pid, path: Option<&str>| Survivor { pid, path: path.map(self::path), why: "it is stuck".into() };
    let mut left = Survivors { processes: vec![of(7, Some("/web/api")), of(8, None)], ..Survivors::default() };
    assert_eq!(left.to_string(), "process 7 of /web/api: it is stuck; process 8: it is stuck");
    left.others = 3;
    left.unseen = Some("Too many open files".into());
    assert!(left.to_string().ends_with("; 3 more; whether more is left cannot be seen: Too many open files"), "{left}");
    assert!(!left.is_none() && Survivors::default().is_none());
    left = Survivors { unseen: Some("no".into()), ..Survivors::default() };
    assert!(!left.is_none());
    assert_eq!(left.to_string(), "whether more is left cannot be seen: no");
}

#[test]
fn the_path_of_a_process_is_read_from_its_cgroup_too() {
    let of = |text: &str| path_of_group(text).map(|path| path.to_string());
    assert_eq!(of("0::/a/treevisor-shop-12345678/c.web/c.api\n").as_deref(), Some("/web/api"));
    assert_eq!(of("1:cpu:/x\n0::/treevisor-shop-12345678/c.web/node\n").as_deref(), Some("/web"));
    assert_eq!(of("0::/treevisor-a-1/c.x/treevisor-b-2/c.y\n").as_deref(), Some("/y"));
    assert_eq!(of("0::/treevisor-shop-12345678/node\n").as_deref(), Some("/"));
    assert_eq!(of("0::/system.slice\n"), None);
    assert_eq!(of(""), None);
}

#[test]
fn a_cgroup_that_cannot_be_looked_at_is_not_empty() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (mark, root) = (random::mark().unwrap(), Path::root());
    let scope = Scope { root_pid: None, mark: &mark, within: &root, paths: &[], spare: &[] };
    let missing = file.path().with_extension("not-there");
    assert!(kill_all(&[missing], &scope, Span::ZERO).is_none());
    let left = kill_all(&[file.path().into()], &scope, Span::ZERO);
    assert!(left.unseen.is_some_and(|why| why.contains("cannot open the cgroup")));
}

#[test]
fn what_carries_the_mark_is_killed_and_what_is_there_is_named() {
    let (mark, root) = (random::mark().unwrap(), Path::root());
    // It executes no other program later: during an exec its environment cannot be read.
    let text = format!("export TREEVISOR_MARK={mark} TREEVISOR_PATH=/web/api; exec sh -c 'echo up; sleep 1000; :'");
    let (spawned, reader) = start_piped(script(&text)).unwrap();
    assert_eq!(read_line(&reader), "up");
    let left = descendants::Left { count: 1, some: vec![spawned.pid], refused: None };
    let scope = Scope { root_pid: None, mark: &mark, within: &root, paths: &[], spare: &[] };
    let named = name(Vec::new(), &left, &scope);
    assert_eq!((named.processes.len(), named.others), (1, 0));
    assert_eq!((named.processes[0].pid, named.processes[0].path.clone()), (spawned.pid, Some(path("/web/api"))));
    assert!(
        name(Vec::new(), &left, &Scope { spare: &[spawned.pid], ..scope }).processes.is_empty(),
        "one that is spared is not left over"
    );
    assert!(kill_all(&[], &scope, super::super::testing::PATIENCE).is_none());
    assert!(PidFd::open(spawned.pid).is_ok(), "it is ours to reap");
    end_of(&spawned.pidfd);
}

#[test]
fn the_path_of_a_process_is_read_from_its_stamp_where_its_environment_is_not_shown() {
    let (mark, root) = (random::mark().unwrap(), Path::root());
    let Some(limit) = Stamp::of_child(&mark, &path("/web/api")).limit() else {
        eprintln!("skipped: the hard limit of locks is set here");
        return;
    };
    let mut spec = script("exec env -i /bin/sh -c 'echo up; exec sleep 1000'");
    spec.limits.insert("locks".into(), limit);
    let (spawned, reader) = start_piped(spec).unwrap();
    assert_eq!(read_line(&reader), "up");
    let paths = [path("/web"), path("/web/api")];
    let scope = Scope { root_pid: None, mark: &mark, within: &root, paths: &paths, spare: &[] };
    assert_eq!(path_of(spawned.pid, &scope), Some(path("/web/api")));
    assert_eq!(path_of(spawned.pid, &Scope { paths: &paths[..1], ..scope }), None);
    assert!(kill_all(&[], &scope, super::super::testing::PATIENCE).is_none());
    end_of(&spawned.pidfd);
}
