//! The environment variables that pass data from one program to the next, and string arrays for execveat(2).
use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;

/// The number of the snapshot's descriptor.
pub(super) const RESUME: &str = "TREEVISOR_RESUME";

/// The number of the descriptor of the former program's executable.
pub(super) const OLD_FILE: &str = "TREEVISOR_OLD_FILE";

/// Why the former program was executed again.
pub(super) const WAY_BACK: &str = "TREEVISOR_WAY_BACK";

/// Strings, and the array of pointers to them that a C function expects.
pub(super) struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    /// Strings with a zero byte are left out: they cannot be passed on, and cannot have come from the kernel.
    fn new(strings: impl Iterator<Item = OsString>) -> Strings {
        let owned: Vec<CString> = strings.filter_map(|string| CString::new(string.into_vec()).ok()).collect();
        let pointers = owned.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Strings { _owned: owned, pointers }
    }

    /// The arguments of this process.
    pub(super) fn arguments() -> Strings {
        Strings::new(std::env::args_os())
    }

    /// The environment of this process, with these variables added or replaced.
    pub(super) fn environment(snapshot: RawFd, more: &[(&str, &str)]) -> Strings {
        let own = std::env::vars_os().filter(|(key, _)| [RESUME, OLD_FILE, WAY_BACK].iter().all(|name| key != name));
        let snapshot = snapshot.to_string();
        let new = [(RESUME, snapshot.as_str())].into_iter().chain(more.iter().copied());
        let new = new.map(|(key, value)| (key.into(), value.into()));
        Strings::new(own.chain(new).map(|(mut entry, value): (OsString, OsString)| {
            entry.push("=");
            entry.push(value);
            entry
        }))
    }

    /// The array, terminated by a null pointer; valid as long as this value.
    pub(super) fn as_ptr(&self) -> *const *const libc::c_char {
        self.pointers.as_ptr()
    }
}
