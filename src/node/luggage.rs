//! What goes over to another image of the program besides the plain state of a node: descriptors, by their numbers, and
//! bytes that would be long in JSON.
//!
//! What is taken over stays as it was until the commit: an error must not close a descriptor, unlock a file or remove a
//! socket that the program before needs. So errors are not returned from here: they lead back where they arise
//! ([`OrBack`]).

use crate::error::Chain;
use crate::os::exec;
use crate::os::pidfd::PidFd;
use crate::os::{fd, kept};
use crate::wire::snapshot::{Blob, Blobs, Descriptor, Draft, Facts, Kind};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A descriptor, as the state refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Number(RawFd);

/// What is packed so far.
#[derive(Default)]
pub(super) struct Packing<'a> {
    draft: Draft<'a>,
    descriptors: Vec<Descriptor>,
}

impl<'a> Packing<'a> {
    /// A descriptor goes along: what it is, and of what, in words.
    pub(super) fn descriptor(&mut self, fd: &impl AsRawFd, kind: Kind, of: impl Display) -> Number {
        let number = fd.as_raw_fd();
        self.descriptors.push(Descriptor { number, kind, of: of.to_string() });
        Number(number)
    }

    /// A process goes along, by its pidfd; the snapshot holds the number under which the other image finds it.
    pub(super) fn process(&mut self, pidfd: &PidFd, pid: u32) -> Number {
        self.descriptor(pidfd, Kind::Pidfd, pid)
    }

    /// Bytes go along, beside the JSON of the snapshot; the state refers to them by what is returned.
    pub(super) fn bytes(&mut self, bytes: impl Into<Cow<'a, [u8]>>) -> Blob {
        self.draft.blob(bytes)
    }

    /// The numbers of all descriptors.
    pub(super) fn numbers(&self) -> Vec<RawFd> {
        self.descriptors.iter().map(|descriptor| descriptor.number).collect()
    }

    /// The snapshot in pieces. Its descriptors are those that were packed.
    ///
    /// # Errors
    /// When JSON cannot represent the state.
    pub(super) fn finish<N: Serialize, C: Serialize>(
        self,
        facts: impl FnOnce(Vec<Descriptor>) -> Facts<N, C>,
    ) -> serde_json::Result<Vec<Cow<'a, [u8]>>> {
        self.draft.finish(facts(self.descriptors))
    }
}

/// What another image of the program has handed over, while the parts of the node take theirs out of it.
pub(super) struct Unpacking<'a> {
    blobs: Blobs<'a>,
    left: BTreeSet<RawFd>,
}

impl<'a> Unpacking<'a> {
    /// Looks at all descriptors before any is taken: each must be what is written of it.
    pub(super) fn begin(descriptors: &[Descriptor], blobs: Blobs<'a>) -> Unpacking<'a> {
        for descriptor in descriptors {
            if let Err(why) = fits(descriptor) {
                fail(&why);
            }
        }
        Unpacking { blobs, left: descriptors.iter().map(|descriptor| descriptor.number).collect() }
    }

    /// Takes a descriptor over, once.
    pub(super) fn take(&mut self, Number(number): Number) -> OwnedFd {
        if !self.left.remove(&number) {
            fail(&format!("descriptor {number} is not listed, or is taken twice"));
        }
        kept::take(number).or_back(&format!("taking descriptor {number} over"))
    }

    /// Takes a process over.
    pub(super) fn process(&mut self, number: Number) -> PidFd {
        PidFd::from_owned(self.take(number))
    }

    /// Bytes, where they lie in the snapshot.
    pub(super) fn bytes(&self, blob: Blob) -> &'a [u8] {
        self.blobs.get(blob).or_back("reading the snapshot")
    }
}

/// Whether a descriptor is what is written of it.
fn fits(descriptor: &Descriptor) -> Result<(), String> {
    let Descriptor { number, kind, of } = descriptor;
    let found = kept::look(*number).map_err(|error| format!("descriptor {number}, {kind:?} of {of}: {error}"))?;
    let fits = match (kind, found) {
        // One that has ended and was waited for by another process has no number any more.
        (Kind::Pidfd, kept::Kind::Pidfd(pid)) => pid.is_none_or(|pid| pid.to_string() == *of),
        (Kind::Pipe, kept::Kind::Pipe)
        | (Kind::Listener, kept::Kind::Listener)
        | (Kind::Datagram, kept::Kind::Datagram)
        | (Kind::Connection, kept::Kind::Connection)
        | (Kind::File, kept::Kind::File)
        | (Kind::Directory, kept::Kind::Directory)
        | (Kind::Device, kept::Kind::Device) => true,
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("descriptor {number} is {found:?}, and should be {kind:?} of {of}")) }
}

/// The program before goes on. Where there is no way back, this process ends as one that has crashed.
#[expect(clippy::disallowed_methods, reason = "a destructor would close or remove what the program before needs")]
pub(super) fn fail(why: &str) -> ! {
    exec::go_back(why);
    fd::complain(format_args!("treevisor: a supervisor could not go on in a new image of the program: {why}"));
    std::process::exit(1)
}

/// For what must succeed before the commit.
pub(super) trait OrBack<T> {
    /// What was to be done as words that can follow "while ".
    fn or_back(self, doing: &str) -> T;
}

impl<T, E: std::error::Error + 'static> OrBack<T> for Result<T, E> {
    fn or_back(self, doing: &str) -> T {
        self.unwrap_or_else(|error| fail(&format!("while {doing}: {}", Chain(&error))))
    }
}
