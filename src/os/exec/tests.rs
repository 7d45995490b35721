use super::super::testing::become_nobody;
use super::*;
use crate::os::{fd, memory};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;

fn flags(fd: BorrowedFd<'_>) -> i32 {
    // SAFETY: plain numbers.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) }
}

fn mask() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find(|line| line.starts_with("SigBlk:")).unwrap().to_owned()
}

/// Tries to execute a file, and checks that everything is as before.
#[track_caller]
fn fails_with(file: &File, kept: &[BorrowedFd<'_>]) -> Option<i32> {
    let (old, snapshot) = (File::open("/proc/self/exe").unwrap(), memory::sealed("test", &[b"x"]).unwrap());
    let all: Vec<_> = kept.iter().copied().chain([file.as_fd(), old.as_fd(), snapshot.as_fd()]).collect();
    let look = || (all.iter().map(|fd| flags(*fd)).collect::<Vec<_>>(), mask());
    let before = look();
    // SAFETY: takes a number.
    unsafe { libc::alarm(1000) };
    let kept: Vec<_> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    let order = Order { file: file.as_fd(), old: old.as_fd(), snapshot: snapshot.as_fd(), kept: &kept, limit: 5 };
    let gap = Gap::begin();
    assert_ne!(mask(), before.1);
    let error = gap.execute(&order);
    assert_eq!(look(), before);
    // SAFETY: takes a number.
    let left = unsafe { libc::alarm(0) };
    assert!((900..=1000).contains(&left), "{left} s are left of the alarm");
    error.raw_os_error()
}

alone! {
    fn what_cannot_be_executed_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (reader, writer) = fd::pipe().unwrap();
        // One descriptor is listed twice.
        let kept = [reader.as_fd(), writer.as_fd(), reader.as_fd()];
        let path = dir.path().join("file");
        fs::write(&path, "no program").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(fails_with(&File::open(&path).unwrap(), &kept), Some(libc::ENOEXEC));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(fails_with(&File::open(&path).unwrap(), &kept), Some(libc::EACCES));
        become_nobody();
        assert_eq!(fails_with(&File::open("/etc/passwd").unwrap(), &kept), Some(libc::EACCES));
    }

    fn what_is_not_open_cannot_be_kept() {
        // SAFETY: only its number is used, which no descriptor has.
        let none = unsafe { BorrowedFd::borrow_raw(1_000_000) };
        assert_eq!(fails_with(&File::open("/bin/true").unwrap(), &[none]), Some(libc::EBADF));
    }

    fn only_a_thread_that_starts_children_is_replaced() {
        let tried = std::thread::spawn(|| {
            let file = File::open("/bin/true").unwrap();
            let order =
                Order { file: file.as_fd(), old: file.as_fd(), snapshot: file.as_fd(), kept: &[], limit: 5 };
            Gap::begin().execute(&order).raw_os_error()
        });
        assert_eq!(tried.join().unwrap(), None);
    }

    fn an_ordinary_start_is_no_resumption() {
        assert!(Resumed::take().unwrap().is_none());
        for wrong in ["", "x", "-1", "0", "1000000"] {
            // SAFETY: this is the only thread.
            unsafe { std::env::set_var("TREEVISOR_RESUME", wrong) };
            let error = Resumed::take().unwrap_err().to_string();
            assert_eq!(error, format!("TREEVISOR_RESUME={wrong} names no descriptor that another program has left"));
            assert_eq!(std::env::var_os("TREEVISOR_RESUME"), None);
        }
    }
}
