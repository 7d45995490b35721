use super::*;
use crate::os::users;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn nobody() -> Credentials {
    Credentials::of(&users::resolve(Some("nobody"), None).unwrap().unwrap())
}

fn append_line(path: &Path, user: Option<&Credentials>) -> io::Result<FileLocation> {
    let (location, mut file) = append(path, user)?;
    file.write_all(b"line\n")?;
    Ok(location)
}

/// A directory that every user can enter, with one in it that belongs to the user `nobody`.
fn directories() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let theirs = dir.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let nobody = nobody();
    chown(&theirs, Some(nobody.uid), Some(nobody.gid)).unwrap();
    (dir, theirs)
}

#[test]
fn our_own_links_are_followed_and_the_file_is_renamed_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("disk")).unwrap();
    fs::create_dir_all(dir.path().join("logs")).unwrap();
    symlink("../disk/w.log", dir.path().join("logs/w.log")).unwrap();
    let location = append_line(&dir.path().join("logs/w.log"), None).unwrap();
    location.rename(location.name(), OsStr::new("w.log.1")).unwrap();
    assert!(dir.path().join("logs/w.log").is_symlink());
    assert_eq!(fs::read(dir.path().join("disk/w.log.1")).unwrap(), b"line\n");
    symlink("loop", dir.path().join("loop")).unwrap();
    assert_eq!(append_line(&dir.path().join("loop"), None).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    assert_eq!(append_line(dir.path(), None).unwrap_err().raw_os_error(), Some(libc::EISDIR));
}

#[test]
fn a_stream_that_is_named_by_proc_is_written_to() {
    let (mut reader, writer) = io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
    append_line(Path::new(&path), None).unwrap();
    drop(writer);
    assert_eq!(io::read_to_string(&mut reader).unwrap(), "line\n");
}

#[test]
fn nobody_is_led_by_a_link_of_another_user() {
    if !is_root() {
        return;
    }
    let (dir, theirs) = directories();
    let target = dir.path().join("secret");
    fs::write(&target, "").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
    let nobody = nobody();
    let planted = |link: &Path| {
        symlink(&target, link).unwrap();
        std::os::unix::fs::lchown(link, Some(nobody.uid), Some(nobody.gid)).unwrap();
    };
    planted(&theirs.join("link.log"));
    fs::hard_link(&target, theirs.join("hard.log")).unwrap();
    for user in [None, Some(&nobody)] {
        for name in ["link.log", "hard.log"] {
            let error = append_line(&theirs.join(name), user).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{name}: {error}");
        }
    }
    // Nor through a link to a directory.
    let link = theirs.join("elsewhere");
    symlink(dir.path(), &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(nobody.uid), Some(nobody.gid)).unwrap();
    append_line(&link.join("new.log"), None).unwrap_err();
    append_line(&link.join("new.log"), Some(&nobody)).unwrap_err();
    assert_eq!(fs::read(&target).unwrap(), b"");
    assert!(!dir.path().join("new.log").exists());
    // A link of root in the same place was made by the administrator, and is followed.
    symlink(&target, theirs.join("ours.log")).unwrap();
    append_line(&theirs.join("ours.log"), None).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"line\n");
}

#[test]
fn in_a_directory_of_its_user_a_file_is_its_users() {
    if !is_root() {
        return;
    }
    let (dir, theirs) = directories();
    let nobody = nobody();
    let location = append_line(&theirs.join("sub/w.log"), Some(&nobody)).unwrap();
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    assert_eq!((owner(&theirs.join("sub")), owner(&theirs.join("sub/w.log"))), (nobody.uid, nobody.uid));
    location.rename(location.name(), OsStr::new("w.log.1")).unwrap();
    // A file that an earlier version has left there as root is continued.
    fs::write(theirs.join("old.log"), "old\n").unwrap();
    append_line(&theirs.join("old.log"), Some(&nobody)).unwrap();
    assert_eq!(fs::read(theirs.join("old.log")).unwrap(), b"old\nline\n");
    // In a directory of root the file belongs to root, whatever the worker's user.
    append_line(&dir.path().join("w.log"), Some(&nobody)).unwrap();
    assert_eq!(owner(&dir.path().join("w.log")), 0);
    // And this thread's ids are restored.
    assert_eq!((fs_uid(None), fs_gid(None)), (0, nix::unistd::getegid().as_raw()));
    // SAFETY: takes plain numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 1);
    fs::write(dir.path().join("own"), "").unwrap();
    assert_eq!(owner(&dir.path().join("own")), 0);
}

#[test]
fn what_was_moved_or_removed_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.log");
    let (location, file) = append(&path, None).unwrap();
    assert!(location.holds(&file.metadata().unwrap()));
    fs::rename(&path, dir.path().join("moved")).unwrap();
    assert!(!location.holds(&file.metadata().unwrap()));
    fs::write(&path, "another").unwrap();
    assert!(!location.holds(&file.metadata().unwrap()));
}
