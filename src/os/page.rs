//! The deadline of a host's lease, in memory that processes share: pages that one process writes and others can only
//! read.
//!
//! There are two pages. The agent's has the deadline and the poke, a number. The fence's has its answer to the poke,
//! and how often and how late it has killed the processes under the lease. Each is a memory file of fixed size. Its
//! writer maps it and then seals it against later writing (F_SEAL_FUTURE_WRITE, fcntl(2)): a process that gets the
//! descriptor afterwards, or opens it in /proc, cannot write to it.
//!
//! A deadline is two numbers, written one after the other, so a reader may see one new and one old number. A deadline
//! has passed when *either* clock has passed it. So every mixture of an old and a later deadline passes no later than
//! the later one: a reader may be early, but never late.
use super::clock::LeaseTime;
use crate::time::{Span, Time};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Until when something may run, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadline(pub LeaseTime);

impl Deadline {
    /// Whether it has passed on either clock.
    pub fn passed(self, now: LeaseTime) -> bool {
        self.left(now).is_zero()
    }

    /// The time left, on the clock that has less.
    pub fn left(self, now: LeaseTime) -> Span {
        self.0.boottime.since(now.boottime).min(self.0.raw.since(now.raw))
    }

    /// The time on CLOCK_BOOTTIME at which it will have passed, as seen now: for a timer, which uses that clock alone.
    pub fn on_boottime(self, now: LeaseTime) -> Time {
        now.boottime + self.left(now)
    }
}

/// The agent's page, for its writer.
#[derive(Debug)]
pub struct LeasePage(Written);

/// The agent's page, for its readers.
#[derive(Debug)]
pub struct LeaseView(Words);

/// The fence's page, for its writer.
#[derive(Debug)]
pub struct AnswerPage(Written);

/// The fence's page, for the agent.
#[derive(Debug)]
pub struct AnswerView(Words);

// The layout. It must be the same in every version, since a node may be newer than its agent.
const BOOTTIME: usize = 0;
const RAW: usize = 1;
const POKE: usize = 2;
const ANSWER: usize = 0;
const CLEARINGS: usize = 1;
const LATE: usize = 2;

impl LeasePage {
    /// A page with a deadline that has passed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<LeasePage> {
        Ok(LeasePage(Written::of(blank("treevisor-lease")?)?))
    }

    /// Sets the deadline. Only one thread of one process may do this.
    pub fn set(&self, deadline: Deadline) {
        let LeaseTime { boottime, raw } = deadline.0;
        self.0.words.set(BOOTTIME, boottime.as_nanos());
        self.0.words.set(RAW, raw.as_nanos());
    }

    /// Sets the poke; the fence answers with the same number.
    pub fn poke(&self, number: u64) {
        self.0.words.set(POKE, number);
    }

    /// The descriptor for a child, which cannot write with it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

impl LeaseView {
    /// Maps the page of a descriptor, which may be closed afterwards.
    ///
    /// # Errors
    /// `InvalidInput` if it is no such page; and the kernel's.
    pub fn of(file: impl AsFd) -> io::Result<LeaseView> {
        Ok(LeaseView(Words::read(file.as_fd(), fixed() | SealFlag::F_SEAL_FUTURE_WRITE)?))
    }

    /// The same for a descriptor that another image of this program has left open; the descriptor is not changed.
    ///
    /// # Errors
    /// Those of [`LeaseView::of`].
    pub fn inherited(number: RawFd) -> io::Result<LeaseView> {
        // SAFETY: borrowed for calls that fail with EBADF when nothing is there.
        LeaseView::of(unsafe { BorrowedFd::borrow_raw(number) })
    }

    /// The deadline; one that is being set may appear earlier. Read it *before* the clock that it is compared with.
    pub fn deadline(&self) -> Deadline {
        let (boottime, raw) = (self.0.get(BOOTTIME), self.0.get(RAW));
        Deadline(LeaseTime { boottime: Time::from_nanos(boottime), raw: Time::from_nanos(raw) })
    }

    /// The number of the last poke.
    pub fn poke(&self) -> u64 {
        self.0.get(POKE)
    }
}

impl AnswerPage {
    /// Takes over the page that the agent has made ([`blank_answer`]), as its writer.
    ///
    /// # Errors
    /// `InvalidInput` if it is no page, or has a writer already; and the kernel's.
    pub fn of(file: OwnedFd) -> io::Result<AnswerPage> {
        Ok(AnswerPage(Written::of(file)?))
    }

    /// Answers a poke: writes its number to the page.
    pub fn answer(&self, poke: u64) {
        self.0.words.set(ANSWER, poke);
    }

    /// Records that the processes under the lease were killed, `late` after the deadline.
    pub fn cleared(&self, late: Span) {
        self.0.words.set(LATE, late.as_nanos());
        self.0.words.set(CLEARINGS, self.0.words.get(CLEARINGS).wrapping_add(1));
    }
}

impl AnswerView {
    /// Maps the page, whether it has a writer yet or not.
    ///
    /// # Errors
    /// `InvalidInput` if it is no such page; and the kernel's.
    pub fn of(file: impl AsFd) -> io::Result<AnswerView> {
        Ok(AnswerView(Words::read(file.as_fd(), fixed())?))
    }

    /// The poke that was answered last; zero before the first.
    pub fn answer(&self) -> u64 {
        self.0.get(ANSWER)
    }

    /// How often the processes under the lease were killed after the deadline.
    pub fn clearings(&self) -> u64 {
        self.0.get(CLEARINGS)
    }

    /// How long after the deadline the last of these kills began. Read it after their number.
    pub fn late(&self) -> Span {
        Span::from_nanos(self.0.get(LATE))
    }
}

/// A page for the fence's answers, without a writer yet.
///
/// # Errors
/// The kernel's.
pub fn blank_answer() -> io::Result<OwnedFd> {
    blank("treevisor-fence")
}

const SIZE: usize = 4096;
const WORDS: usize = SIZE / size_of::<AtomicU64>();

/// The size of a page is fixed: shrinking it would be a SIGBUS for its readers.
fn fixed() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW
}

fn blank(name: &str) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    ftruncate(&file, SIZE as libc::off_t)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(fixed()))?;
    Ok(file)
}

/// A page that this process writes.
#[derive(Debug)]
struct Written {
    words: Words,
    file: OwnedFd,
}

impl Written {
    fn of(file: OwnedFd) -> io::Result<Written> {
        let words = Words::map(file.as_fd(), fixed(), libc::PROT_READ | libc::PROT_WRITE)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SEAL))?;
        Ok(Written { words, file })
    }
}

/// The words of the shared memory, as they are mapped.
#[derive(Debug)]
struct Words(NonNull<AtomicU64>);

// SAFETY: atomic numbers in memory that stays mapped as long as this is there; each thread may look at them.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    fn read(file: BorrowedFd<'_>, seals: SealFlag) -> io::Result<Words> {
        Words::map(file, seals, libc::PROT_READ)
    }

    fn map(file: BorrowedFd<'_>, seals: SealFlag, protection: i32) -> io::Result<Words> {
        let wrong = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
        let found = fcntl(file, FcntlArg::F_GET_SEALS).map_err(|_| wrong("this is no file in memory"))?;
        if !SealFlag::from_bits_retain(found).contains(seals) {
            return Err(wrong("this file in memory is not sealed as a lease's page is"));
        }
        if usize::try_from(fstat(file)?.st_size) != Ok(SIZE) {
            return Err(wrong("this file in memory has not the size of a lease's page"));
        }
        // SAFETY: a new mapping at a place of the kernel's choice, of a file that keeps its size.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), SIZE, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address.cast()).map(Words).ok_or_else(|| wrong("the kernel has mapped it at address zero"))
    }

    fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS);
        // SAFETY: within the mapping, which is aligned to a page and there for as long as we are. All processes that
        // map it use atomic accesses.
        unsafe { self.0.add(index).as_ref() }
    }

    fn get(&self, index: usize) -> u64 {
        self.at(index).load(Ordering::SeqCst)
    }

    /// Only for a page that is mapped for writing.
    fn set(&self, index: usize, value: u64) {
        self.at(index).store(value, Ordering::SeqCst);
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which no reference is left.
        unsafe { libc::munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

#[cfg(test)]
mod tests;
