use super::super::testing::{end_of, fork, open_descriptors, read_line};
use super::*;
use crate::os::fd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

fn held_by(result: Result<LockFile, LockError>) -> Option<u32> {
    match result.expect_err("a process holds it") {
        LockError::Held { pid } => pid,
        LockError::File { path, cause } => panic!("{}: {cause}", path.display()),
    }
}

#[test]
fn one_holds_it_and_the_others_are_told_who() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    assert!(!is_held(&path), "without a file no process does");
    let lock = LockFile::acquire(&path).unwrap();
    assert!(is_held(&path));
    // In the same process too, since the lock belongs to the open file.
    assert_eq!(held_by(LockFile::acquire(&path)), Some(std::process::id()));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    lock.release();
    assert!(!is_held(&path));
    // The pid of the former holder is still in the file, and is overwritten, whatever its length.
    fs::write(&path, "123456789012 ").unwrap();
    let lock = LockFile::acquire(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
    fs::write(&path, "rubbish").unwrap();
    assert_eq!(held_by(LockFile::acquire(&path)), None);
    drop(lock);
    assert!(!is_held(&path));
    fs::write(&path, "123456789012").unwrap();
    let cleaner = LockFile::acquire_to_clean(&path).unwrap();
    assert!(is_held(&path));
    assert_eq!(held_by(LockFile::acquire(&path)), None, "a cleaner goes soon");
    drop(cleaner);
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| LockFile::acquire(path).map(|_| ()).unwrap_err().to_string();
    assert_eq!(refused(dir.path()), format!("cannot lock {}", dir.path().display()));
    std::os::unix::fs::symlink("/dev/null", dir.path().join("link")).unwrap();
    assert!(refused(&dir.path().join("link")).starts_with("cannot lock "), "a link is not followed");
    assert!(refused(&dir.path().join("no/such/directory")).starts_with("cannot lock "));
}

#[test]
fn a_look_keeps_nobody_from_taking_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, done) = (dir.path().join("lock"), AtomicBool::new(false));
    LockFile::acquire(&path).unwrap().release();
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                is_held(&path);
            }
        });
        let taken = (0..20_000).try_for_each(|_| LockFile::acquire(&path).map(LockFile::release));
        done.store(true, Ordering::Relaxed);
        looking.join().unwrap();
        taken.unwrap();
    });
}

#[test]
fn a_copy_in_a_child_does_not_keep_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = LockFile::acquire(&path).unwrap();
    let copy = lock.file.try_clone().unwrap();
    lock.release();
    assert!(!is_held(&path));
    drop(copy);
}

#[test]
fn a_lock_on_a_file_that_was_removed_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let old = LockFile::acquire(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let new = LockFile::acquire(&path).unwrap();
    assert!(is_held(&path));
    old.release();
    assert!(is_held(&path), "that of the file which is there");
    new.release();
}

alone! {
    fn of_many_that_race_one_wins_and_its_death_frees_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        for _ in 0..20 {
            let (start, begin) = fd::pipe().unwrap();
            let (never, kept) = fd::pipe().unwrap();
            let (told, tell) = fd::pipe().unwrap();
            let racers: Vec<_> = (0..6)
                .map(|_| {
                    fork(|| {
                        nix::unistd::read(&start, &mut [0]).unwrap();
                        let taken = LockFile::acquire(&path);
                        let won = if taken.is_ok() { std::process::id() } else { 0 };
                        nix::unistd::write(&tell, format!("{won}\n").as_bytes()).unwrap();
                        // Blocks until it is killed while it holds the lock.
                        nix::unistd::read(&never, &mut [0]).unwrap();
                        drop(taken);
                    })
                })
                .collect();
            nix::unistd::write(&begin, &[0; 6]).unwrap();
            let said: Vec<u32> = racers.iter().map(|_| read_line(&told).parse().unwrap()).collect();
            let winners: Vec<u32> = said.into_iter().filter(|pid| *pid != 0).collect();
            assert_eq!(winners.len(), 1, "{winners:?}");
            assert_eq!(held_by(LockFile::acquire(&path)), Some(winners[0]));
            for racer in &racers {
                racer.signal(libc::SIGKILL).unwrap();
                assert_eq!(end_of(racer).signal, Some(libc::SIGKILL));
            }
            drop(kept);
            assert!(!is_held(&path));
            LockFile::acquire(&path).unwrap().release();
        }
    }

    fn no_descriptor_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let before = open_descriptors();
        let lock = LockFile::acquire(&path).unwrap();
        for _ in 0..10 {
            held_by(LockFile::acquire(&path));
            is_held(&path);
        }
        lock.release();
        assert_eq!(open_descriptors(), before);
    }
}
