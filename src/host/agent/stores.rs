//! Requests to the store. The store may block, so threads ask it. They share no state with the loop: a request goes in
//! with its purpose, and comes out with the answer.
//!
//! There are two threads, so that requests about the host's own record, which is its lease, never wait behind others.

use crate::hosts::{Answer, RequestId, Stored};
use crate::os::thread;
use crate::os::wake::Wake;
use crate::store::etcd::{Endpoints, Etcd};
use crate::store::{self, Ask, Health, Record, Store};
use crate::time::Span;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

/// The sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Core(RequestId),
    /// A deployment, by its number.
    Deploy(u64),
    /// The regular check of the store's health.
    Health,
}

/// An answer that has arrived.
#[derive(Debug)]
pub(super) enum StoreReply {
    Core(RequestId, Answer),
    Deploy(u64, store::Answer),
    Health(Health),
}

type Asked = (For, Ask, Span);

/// The two threads that ask the store.
pub(super) struct Stores {
    own: Sender<Asked>,
    other: Sender<Asked>,
    answers: Receiver<(For, store::Answer)>,
    wake: Arc<Wake>,
    endpoints: Endpoints,
}

impl Stores {
    /// Starts the threads, each with a client of its own.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(etcd: &Etcd) -> io::Result<Stores> {
        let wake = Arc::new(Wake::new()?);
        let (answer, answers) = mpsc::channel();
        let start = |name: &str| -> io::Result<Sender<Asked>> {
            let mut store = etcd.clone();
            let (asks, asked) = mpsc::channel::<Asked>();
            let (answer, wake) = (answer.clone(), Arc::clone(&wake));
            thread::start_quiet(name, move || {
                while let Ok((what, ask, limit)) = asked.recv() {
                    let told = store.ask(&ask, limit);
                    // An error means that the loop has ended.
                    if answer.send((what, told)).is_err() {
                        return;
                    }
                    wake.ring();
                }
            })?;
            Ok(asks)
        };
        let (own, other) = (start("treevisor-lease")?, start("treevisor-store")?);
        Ok(Stores { own, other, answers, wake, endpoints: etcd.endpoints() })
    }

    /// The present endpoints of the store.
    pub(super) fn endpoints(&self) -> Vec<String> {
        self.endpoints.get().to_vec()
    }

    pub(super) fn fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Sends a request about the host's own record.
    pub(super) fn ask_of_own(&self, what: For, ask: Ask, limit: Span) {
        // An error means that the thread has panicked, which ends the process.
        let _ = self.own.send((what, ask, limit));
    }

    /// Sends any other request.
    pub(super) fn ask(&self, what: For, ask: Ask, limit: Span) {
        let _ = self.other.send((what, ask, limit));
    }

    /// The answers since the last call.
    pub(super) fn answers(&self) -> Vec<StoreReply> {
        self.wake.take();
        self.answers.try_iter().filter_map(|(what, answer)| came(what, answer)).collect()
    }
}

fn came(what: For, answer: store::Answer) -> Option<StoreReply> {
    Some(match what {
        For::Core(request) => StoreReply::Core(request, in_the_cores_terms(answer)),
        For::Deploy(number) => StoreReply::Deploy(number, answer),
        For::Health => match answer {
            store::Answer::Health(health) => StoreReply::Health(health),
            // Not reported: the core's own requests show that the store does not answer.
            _ => return None,
        },
    })
}

fn in_the_cores_terms(answer: store::Answer) -> Answer {
    let stored = |Record { key, version, value }: Record| Stored { key, version, value };
    match answer {
        store::Answer::Records(records) => Answer::Records(records.into_iter().map(stored).collect()),
        store::Answer::Done(version) => Answer::Done(version),
        store::Answer::Lost(found) => Answer::Lost(found.map(stored)),
        store::Answer::Health(_) => Answer::Unknown("an answer to something else".into()),
        store::Answer::Unknown(why) => Answer::Unknown(why),
    }
}
