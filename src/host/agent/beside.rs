//! Work that is done in threads beside the loop, one thread for each, and its results.

use crate::os::thread;
use crate::os::wake::Wake;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

/// The results of such work.
pub(super) struct Beside<T> {
    tell: Sender<T>,
    told: Receiver<T>,
    wake: Arc<Wake>,
}

impl<T: Send + 'static> Beside<T> {
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new() -> io::Result<Beside<T>> {
        let (tell, told) = mpsc::channel();
        Ok(Beside { tell, told, wake: Arc::new(Wake::new()?) })
    }

    /// A descriptor that becomes readable when work has ended.
    pub(super) fn fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Begins work in a thread of this name.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn begin(&self, name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<()> {
        let (tell, wake) = (self.tell.clone(), Arc::clone(&self.wake));
        thread::start_quiet(name, move || {
            // An error means that the agent has ended.
            let _ = tell.send(work());
            wake.ring();
        })
    }

    /// The next result since the last call, if there is one.
    pub(super) fn take(&self) -> Option<T> {
        self.wake.take();
        self.told.try_recv().ok()
    }
}
