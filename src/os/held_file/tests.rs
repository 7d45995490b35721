use super::*;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// A user without an entry in the user database.
const STRANGER: u32 = 65_533;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A socket in a directory, and next to it a file that must not be changed.
fn places() -> (tempfile::TempDir, UnixListener, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (socket, secret) = (dir.path().join("s.sock"), dir.path().join("secret"));
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let bound = UnixListener::bind(&socket).unwrap();
    (dir, bound, socket, secret)
}

fn owner_and_mode(path: &Path) -> (u32, u32) {
    let found = path.symlink_metadata().unwrap();
    (found.uid(), found.mode() & 0o7777)
}

#[test]
fn the_socket_that_was_bound_is_changed() {
    let (_dir, _bound, socket, _) = places();
    let held = HeldFile::socket(&socket, FileId::at(&socket)).unwrap();
    held.set_mode(0o1640).unwrap();
    assert_eq!(owner_and_mode(&socket).1, 0o1640);
    held.give(Some(held.uid()), None).unwrap();
    if is_root() {
        held.give(Some(STRANGER), Some(STRANGER)).unwrap();
        assert_eq!((owner_and_mode(&socket).0, socket.metadata().unwrap().gid()), (STRANGER, STRANGER));
    }
}

#[test]
fn what_lies_in_its_place_is_not_changed() {
    let (dir, _bound, socket, secret) = places();
    let (id, before) = (FileId::at(&socket), owner_and_mode(&secret));
    let told = |id| HeldFile::socket(&socket, id).unwrap_err().to_string();
    fs::hard_link(&socket, dir.path().join("second")).unwrap();
    assert!(told(id).contains("another name"), "{}", told(id));
    fs::rename(&socket, dir.path().join("moved")).unwrap();
    assert_eq!(HeldFile::socket(&socket, id).unwrap_err().kind(), io::ErrorKind::NotFound);
    symlink(&secret, &socket).unwrap();
    for id in [id, FileId::at(&socket), None] {
        assert!(told(id).contains("link"), "{}", told(id));
    }
    fs::remove_file(&socket).unwrap();
    fs::hard_link(&secret, &socket).unwrap();
    assert!(told(FileId::at(&socket)).contains("no socket"), "{}", told(None));
    fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    assert!(told(id).contains("another socket"), "{}", told(id));
    assert_eq!(owner_and_mode(&secret), before);
}

#[test]
fn what_comes_in_its_place_later_is_not_changed_either() {
    let (dir, _bound, socket, secret) = places();
    let before = owner_and_mode(&secret);
    let held = HeldFile::socket(&socket, FileId::at(&socket)).unwrap();
    let moved = dir.path().join("moved");
    fs::rename(&socket, &moved).unwrap();
    symlink(&secret, &socket).unwrap();
    held.set_mode(0o666).unwrap();
    assert_eq!(owner_and_mode(&moved).1, 0o666);
    if is_root() {
        held.give(Some(STRANGER), None).unwrap();
        assert_eq!(owner_and_mode(&moved).0, STRANGER);
    }
    assert_eq!(owner_and_mode(&secret), before);
}
