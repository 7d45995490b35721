use super::*;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

fn base_with(variables: &[(&str, &str)], uid: u32) -> String {
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
    base(find, uid).display().to_string()
}

#[test]
fn the_base_follows_the_rule() {
    let xdg = ("XDG_RUNTIME_DIR", "/run/user/7");
    assert_eq!(base_with(&[(BASE_VARIABLE, "/r"), xdg], 7), "/r");
    assert_eq!(base_with(&[xdg], 7), "/run/user/7/treevisor");
    assert_eq!(base_with(&[], 0), "/run/treevisor");
    assert_eq!(base_with(&[], 7), "/tmp/treevisor-7");
    assert_eq!(base_with(&[(BASE_VARIABLE, ""), ("XDG_RUNTIME_DIR", "relative")], 7), "/tmp/treevisor-7");
}

#[test]
fn a_path_that_is_too_long_names_length_limit_and_remedy() {
    let name = Name::parse(&"n".repeat(64)).unwrap();
    let base = PathBuf::from("/run/user/1000/treevisor");
    let error = RuntimeDir::of(&base, &name).unwrap_err().to_string();
    assert!(error.starts_with("socket path too long: "), "{error}");
    for part in ["has 108 bytes", "at most 99", BASE_VARIABLE] {
        assert!(error.contains(part), "{error}");
    }
    // The longest name that fits.
    let fits = Name::parse(&"n".repeat(64 - 9)).unwrap();
    let socket = RuntimeDir::of(&base, &fits).unwrap().node_socket(&TreePathName::root());
    assert_eq!(socket.as_os_str().len(), SOCKET_PATH_MAX);
}

#[test]
fn sockets_of_nodes_have_names_of_one_length() {
    let dir = RuntimeDir::at("/r/x");
    // The reference values of FNV-1a.
    assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(b"foobar"), 0x85944171f73967e8);
    assert_eq!(dir.node_socket(&TreePathName::root()), PathBuf::from("/r/x/n-af63a24c860189fe"));
    let deep = TreePathName::parse(&"a/".repeat(100)).unwrap();
    assert_eq!(dir.node_socket(&deep).file_name().unwrap().len(), 18);
}

fn instance() -> InstanceFile {
    InstanceFile {
        name: Name::parse("shop").unwrap(),
        pid: 7,
        started_at: "2026-01-02T03:04:05Z".into(),
        version: "0.1.0".into(),
        mark: "00".into(),
        containment: "group".into(),
        cgroup: None,
        keeper_pid: Some(8),
        config: "supervisors.toml".into(),
        tree_paths: vec![TreePath { path: TreePathName::root(), supervisor: true, log: None }],
    }
}

#[test]
fn what_is_written_is_read_and_removed() {
    let base = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
    dir.create().unwrap();
    dir.create().unwrap();
    assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o700);
    dir.write_instance(&instance()).unwrap();
    assert_eq!(dir.read_instance().unwrap(), instance());
    for file in [dir.control_socket(), dir.node_socket(&TreePathName::root()), dir.lock_file()] {
        fs::write(file, "").unwrap();
    }
    dir.remove();
    assert!(!dir.path().exists());
}

#[test]
fn the_output_of_a_tree_in_the_background_is_kept() {
    let base = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
    dir.create().unwrap();
    fs::write(dir.output_file(), "it gave up").unwrap();
    dir.remove();
    assert!(dir.output_file().exists());
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
    dir.create().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(dir.create(), Err(RuntimeError::NotOurs { .. })));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(base.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(dir.create(), Err(RuntimeError::NotOurs { .. })));
    // As /tmp is.
    fs::set_permissions(base.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    dir.create().unwrap();
}

#[test]
fn what_another_user_has_made_where_all_may_is_not_trusted() {
    const STRANGER: u32 = 65_533;
    let open = tempfile::tempdir().unwrap();
    let base = open.path().join("treevisor-7");
    fs::create_dir(&base).unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(check_found(&base, own_uid()).is_ok() && check_found(&open.path().join("absent"), own_uid()).is_ok());
    if std::os::unix::fs::chown(&base, Some(STRANGER), None).is_err() {
        eprintln!("skipped: needs root");
        return;
    }
    assert!(matches!(check_found(&base, 7), Err(RuntimeError::NotOurs { .. })));
    assert!(check_found(&base, STRANGER).is_ok() && check_found(&base, 0).is_ok());
    // A link of that user, which may lead to another place at any time.
    let link = open.path().join("link");
    std::os::unix::fs::symlink("/", &link).unwrap();
    assert!(check_found(&link, 7).is_ok());
    std::os::unix::fs::lchown(&link, Some(STRANGER), None).unwrap();
    assert!(matches!(check_found(&link, 7), Err(RuntimeError::NotOurs { .. })));
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(check_found(&base, 7).is_ok(), "the owner of the directory above has admitted it");
}

#[test]
fn a_link_in_the_place_of_the_directory_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), dir.path()).unwrap();
    assert!(matches!(dir.create(), Err(RuntimeError::NotOurs { .. })));
}

#[test]
fn a_worker_of_another_user_reaches_its_node_only() {
    let base = tempfile::tempdir().unwrap();
    let dir = RuntimeDir::of(base.path(), &Name::parse("shop").unwrap()).unwrap();
    dir.create().unwrap();
    let socket = dir.node_socket(&TreePathName::root());
    let _bound = UnixListener::bind(&socket).unwrap();
    dir.open_to_others(&socket).unwrap();
    assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o711);
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o666);
    // A file that another user has put in the socket's place is not opened.
    let secret = base.path().join("secret");
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(&socket).unwrap();
    std::os::unix::fs::symlink(&secret, &socket).unwrap();
    for opened in [dir.open_to_others(&socket), dir.open_to(&socket, 65_533), dir.keep(&socket)] {
        assert!(opened.unwrap_err().to_string().contains("link"));
    }
    let found = fs::metadata(&secret).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o7777), (own_uid(), 0o600));
}
