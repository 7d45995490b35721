//! What the child half of a start reports, in memory that both halves use even where the child half has a copy of all
//! other memory.

use super::plan::Failed;
use std::cell::UnsafeCell;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The report. Its page must stay until the child has left the memory that it started in.
pub(super) struct Report {
    /// 1 until the child has left that memory by execve(2) or by its end. Then the kernel wakes the waiting thread,
    /// having written 0 (shared memory), or set FUTEX_OWNER_DIED (a copy, whose child has put its thread id here).
    pub here: AtomicI32,
    /// The child has a descriptor table of its own: the slots can be reused. The parent sets it when it gives up a
    /// child that has none yet; the half that is second ends the child.
    pub apart: AtomicBool,
    /// Valid to read once the child has left.
    pub failed: UnsafeCell<Option<Failed>>,
}

impl Report {
    /// Whether the child has left, as far as the kernel has reported it here.
    pub(super) fn has_left(&self) -> bool {
        let here = self.here.load(Ordering::Acquire);
        here == 0 || here as u32 & libc::FUTEX_OWNER_DIED != 0
    }
}

/// A page with a report, shared with every process that is made from this one.
pub(super) struct ReportPage(NonNull<Report>);

impl ReportPage {
    /// A page whose report is that of a child that has not begun.
    ///
    /// # Errors
    /// ENOMEM.
    pub(super) fn new() -> io::Result<ReportPage> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at a place of the kernel's choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Report>(), access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let page = ReportPage(NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?);
        // SAFETY: the mapping is aligned to a page, large enough, and ours alone so far.
        unsafe { page.0.write(Report::new()) };
        Ok(page)
    }

    /// Uses the page for another child. No child uses it any more.
    pub(super) fn clear(&mut self) {
        // SAFETY: as in `new`; a report has nothing to drop.
        unsafe { self.0.write(Report::new()) };
    }

    pub(super) fn as_ptr(&self) -> *const Report {
        self.0.as_ptr()
    }
}

impl Report {
    fn new() -> Report {
        Report { here: AtomicI32::new(1), apart: AtomicBool::new(false), failed: UnsafeCell::new(None) }
    }
}

impl Deref for ReportPage {
    type Target = Report;

    fn deref(&self) -> &Report {
        // SAFETY: mapped and initialised as long as the page lives. Both halves use atomic accesses, but for `failed`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for ReportPage {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which no reference is left.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Report>()) };
    }
}
