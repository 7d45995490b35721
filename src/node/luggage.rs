//! What a hot upgrade hands over besides a node's plain state: file descriptors, by their numbers, and byte strings
//! that would be long in JSON.
//!
//! Until the commit of the upgrade, everything must stay as the former image left it: an error may not close a
//! descriptor, unlock a file or remove a socket that the former image needs when it goes on. So errors are not returned
//! from here. They lead back to the former image at once ([`OrRollBack`]).

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

/// The number of a file descriptor in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Number(RawFd);

/// Collects what goes into the snapshot.
#[derive(Default)]
pub(super) struct Packing<'a> {
    draft: Draft<'a>,
    descriptors: Vec<Descriptor>,
}

impl<'a> Packing<'a> {
    /// Adds a descriptor, and returns its number. `of` describes what it belongs to.
    pub(super) fn descriptor(&mut self, fd: &impl AsRawFd, kind: Kind, of: impl Display) -> Number {
        let number = fd.as_raw_fd();
        self.descriptors.push(Descriptor { number, kind, of: of.to_string() });
        Number(number)
    }

    /// Adds a process by its pidfd. The snapshot has the number of the pidfd.
    pub(super) fn process(&mut self, pidfd: &PidFd, pid: u32) -> Number {
        self.descriptor(pidfd, Kind::Pidfd, pid)
    }

    /// Adds bytes beside the JSON of the snapshot. Returns what the state refers to them by.
    pub(super) fn bytes(&mut self, bytes: impl Into<Cow<'a, [u8]>>) -> Blob {
        self.draft.blob(bytes)
    }

    /// The numbers of all descriptors that were added.
    pub(super) fn numbers(&self) -> Vec<RawFd> {
        self.descriptors.iter().map(|descriptor| descriptor.number).collect()
    }

    /// The snapshot in pieces, with the descriptors that were added.
    ///
    /// # Errors
    /// JSON cannot represent the state.
    pub(super) fn finish<N: Serialize, C: Serialize>(
        self,
        facts: impl FnOnce(Vec<Descriptor>) -> Facts<N, C>,
    ) -> serde_json::Result<Vec<Cow<'a, [u8]>>> {
        self.draft.finish(facts(self.descriptors))
    }
}

/// What the former image has handed over. The parts of the node take their descriptors and bytes out of it.
pub(super) struct Unpacking<'a> {
    blobs: Blobs<'a>,
    left: BTreeSet<RawFd>,
}

impl<'a> Unpacking<'a> {
    /// Checks all descriptors before any is taken: each must be what the snapshot describes.
    pub(super) fn begin(descriptors: &[Descriptor], blobs: Blobs<'a>) -> Unpacking<'a> {
        for descriptor in descriptors {
            if let Err(why) = fits(descriptor) {
                fail(&why);
            }
        }
        Unpacking { blobs, left: descriptors.iter().map(|descriptor| descriptor.number).collect() }
    }

    /// Takes a descriptor over. Each can be taken once.
    pub(super) fn take(&mut self, Number(number): Number) -> OwnedFd {
        if !self.left.remove(&number) {
            fail(&format!("descriptor {number} is not listed, or is taken twice"));
        }
        kept::take(number).or_roll_back(&format!("taking descriptor {number} over"))
    }

    /// Takes a process over by its pidfd.
    pub(super) fn process(&mut self, number: Number) -> PidFd {
        PidFd::from_owned(self.take(number))
    }

    /// The bytes that a blob refers to, in place in the snapshot.
    pub(super) fn bytes(&self, blob: Blob) -> &'a [u8] {
        self.blobs.get(blob).or_roll_back("reading the snapshot")
    }
}

/// Checks that a descriptor is what the snapshot describes.
fn fits(descriptor: &Descriptor) -> Result<(), String> {
    let Descriptor { number, kind, of } = descriptor;
    let found = kept::look(*number).map_err(|error| format!("descriptor {number}, {kind:?} of {of}: {error}"))?;
    let fits = match (kind, found) {
        // A pidfd whose process was already reaped shows no process id any more.
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

/// Goes back to the former image. Where that is not possible, this process exits with status 1.
#[expect(clippy::disallowed_methods, reason = "a destructor would close or remove what the program before needs")]
pub(super) fn fail(why: &str) -> ! {
    exec::go_back(why);
    fd::complain(format_args!("treevisor: a supervisor could not go on in a new image of the program: {why}"));
    std::process::exit(1)
}

/// For operations that must succeed before the commit of a hot upgrade.
pub(super) trait OrRollBack<T> {
    /// Returns the value; an error leads back to the former image. `doing`: what was tried, as words that can follow
    /// "while ".
    fn or_roll_back(self, doing: &str) -> T;
}

impl<T, E: std::error::Error + 'static> OrRollBack<T> for Result<T, E> {
    fn or_roll_back(self, doing: &str) -> T {
        self.unwrap_or_else(|error| fail(&format!("while {doing}: {}", Chain(&error))))
    }
}
