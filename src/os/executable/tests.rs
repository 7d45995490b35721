use super::super::testing::{become_nobody, is_root};
use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// A copy of a small program of this machine, in a directory of this user.
fn program(dir: &tempfile::TempDir) -> PathBuf {
    let path = dir.path().canonicalize().unwrap().join("program");
    fs::copy("/bin/true", &path).unwrap();
    set_mode(&path, 0o755);
    path
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn refused(path: &Path) -> String {
    Executable::open(path, own_uid()).expect_err("it has to be refused").to_string()
}

#[test]
fn a_program_in_good_hands_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = program(&dir);
    let taken = Executable::open(&path, own_uid()).unwrap();
    assert!(taken.is_unchanged().unwrap());
    assert_eq!(taken.identity(), Executable::open(&path, own_uid()).unwrap().identity());
    let known = |path: &Path| Executable::known(path, taken.identity()).map_err(|error| error.to_string());
    known(&path).unwrap();
    assert!(known(Path::new("/bin/sh")).unwrap_err().starts_with("/bin/sh is another file"));
    assert_eq!(
        known(Path::new("/nowhere/x")).unwrap_err(),
        "opening /nowhere/x: No such file or directory (os error 2)"
    );
    // Through a link as well, where its target counts.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(taken.identity(), Executable::open(&link, own_uid()).unwrap().identity());
    fs::OpenOptions::new().append(true).open(&path).unwrap().set_len(30_000).unwrap();
    assert!(!taken.is_unchanged().unwrap());
    assert!(Executable::open(Path::new("/proc/self/exe"), own_uid()).is_ok());
}

#[test]
fn what_is_no_program_of_this_machine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = program(&dir);
    let (shown, bytes) = (path.display(), fs::read(&path).unwrap());
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        fs::write(&path, changed).unwrap();
        refused(&path)
    };
    let foreign = format!("{shown} is a program for another machine than this one");
    assert_eq!(with(4, 3 - bytes[4]), foreign);
    assert_eq!(with(18, bytes[18] + 1), foreign);
    assert_eq!(with(16, 4), format!("{shown} is a part of a program, or a core: an executable is needed"));
    assert_eq!(with(0, b'x'), format!("{shown} is no program (ELF) of this machine"));
    fs::write(&path, "#!/bin/sh\necho an upgrade\n").unwrap();
    assert_eq!(refused(&path), format!("{shown} is a script: a program of this machine is needed"));
    fs::write(&path, "ELF").unwrap();
    assert_eq!(refused(&path), format!("{shown} is too short to be a program of this machine"));
    fs::remove_file(&path).unwrap();
    assert_eq!(refused(&path), format!("{shown} cannot be found: No such file or directory"));
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display();
    assert_eq!(refused(dir.path()), format!("{shown} is a directory, no program: a regular file is needed"));
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(refused(&fifo), format!("{} is a fifo, no program: a regular file is needed", fifo.display()));
    assert_eq!(refused(Path::new("/dev/null")), "/dev/null is a device, no program: a regular file is needed");
}

#[test]
fn modes_that_are_wrong_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = program(&dir);
    let shown = path.display();
    let alone = if own_uid() == 0 { "root".to_owned() } else { format!("root and user {}", own_uid()) };
    let with = |mode| {
        set_mode(&path, mode);
        refused(&path)
    };
    assert_eq!(with(0o644), format!("{shown} cannot be executed (Permission denied): chmod +x {shown}"));
    let setuid = format!("{shown} is set-id (mode 4755), which an upgrade must not be: chmod ug-s {shown}");
    assert_eq!(with(0o4755), setuid);
    assert!(with(0o2755).contains("is set-id (mode 2755)"));
    for mode in [0o775, 0o757] {
        let others = format!(
            "{shown} can be written by others (mode {mode:04o}), and what an upgrade runs may be written by {alone} alone: chmod go-w {shown}"
        );
        assert_eq!(with(mode), others);
    }
    set_mode(&path, 0o755);
    // The directory: its files can be replaced, unless the sticky bit lets only owners remove them.
    let dir_shown = path.parent().unwrap().display();
    set_mode(dir.path(), 0o777);
    let others = format!(
        "{dir_shown}, on the way to {shown}, can be written by others (mode 0777), and what an upgrade runs may be written by {alone} alone: chmod go-w {dir_shown}"
    );
    assert_eq!(refused(&path), others);
    set_mode(dir.path(), 0o1777);
    assert!(Executable::open(&path, own_uid()).is_ok());
    set_mode(dir.path(), 0o700);
}

#[test]
fn capabilities_and_owners_that_are_wrong_are_refused() {
    if !is_root() {
        eprintln!("skipped: only root can give capabilities and files away");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = program(&dir);
    let shown = path.display();
    // CAP_NET_BIND_SERVICE, permitted and effective: version 2 of the format, capabilities(7).
    let mut value = [0u8; 20];
    value[..8].copy_from_slice(&[1, 0, 0, 2, 0, 4, 0, 0]);
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: live strings, and a value with its length.
    let set = unsafe {
        libc::setxattr(name.as_ptr(), c"security.capability".as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    if set == 0 {
        let with = format!("{shown} has file capabilities, which an upgrade must not have: setcap -r {shown}");
        assert_eq!(refused(&path), with);
        // SAFETY: live strings.
        unsafe { libc::removexattr(name.as_ptr(), c"security.capability".as_ptr()) };
    } else {
        eprintln!("not tried: capabilities cannot be given here");
    }
    std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
    let foreign =
        format!("{shown} belongs to user 4711, and what an upgrade runs may be written by root alone: chown 0 {shown}");
    assert_eq!(refused(&path), foreign);
    // For a tree of that user the file is accepted, if all its directories belong to root or that user.
    assert!(Executable::open(&path, 4711).is_ok());
    std::os::unix::fs::chown(dir.path(), Some(4712), None).unwrap();
    let why = Executable::open(&path, 4711).unwrap_err().to_string();
    assert!(
        why.contains("belongs to user 4712, and what an upgrade runs may be written by root and user 4711"),
        "{why}"
    );
}

alone! {
    fn the_identity_of_the_program_takes_no_descriptor() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let open = || File::open("/proc/self/exe").and_then(|own| own.metadata());
        let known = Identity::of(&open().unwrap());
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        assert!(open().is_err(), "none is left");
        assert_eq!(Identity::own().unwrap(), known);
    }

    fn an_ordinary_user_takes_what_is_its_own_or_roots() {
        become_nobody();
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let path = program(&dir);
        Executable::open(&path, own_uid()).unwrap();
        Executable::open(Path::new("/bin/true"), own_uid()).unwrap();
        set_mode(&path, 0o111);
        let why = Executable::open(&path, own_uid()).unwrap_err().to_string();
        assert_eq!(why, format!("{} cannot be opened to be read: Permission denied", path.display()));
    }
}
