//! The state of a node as a file: what one version of the program hands to the next, in the same process.
//!
//! `TVSNAP` and a newline; the number of the format and a newline; the length of the state in bytes and a newline; the
//! state, JSON; then the blobs, one directly after the other. Blobs are what would be long in JSON, such as last lines
//! of output: the reader gives them as slices of the file, which is mapped, so that only what is used is read.
//!
//! A reader refuses a snapshot with a member that it does not know, as the state in it would be lost. It also refuses
//! bytes that no writer writes. No content of the file can make it panic.

use super::{exact, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::io;

#[cfg(test)]
mod tests;

/// The format that is written. It changes when a reader of the previous format could misunderstand the new one.
pub const FORMAT: u32 = 1;

/// What every snapshot begins with.
const BEGIN: &[u8] = b"TVSNAP\n";

/// Digits of the longest number in the head.
const DIGITS_MAX: usize = 20;

/// The content of a snapshot except the bytes of the blobs. `N` is the state of the node's shell and `C` that of its
/// core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State<N, C> {
    format: u32,
    /// Version of the writer.
    pub version: String,
    /// The kernel's id of the machine's present boot.
    pub boot: String,
    /// CLOCK_MONOTONIC at the origin of the node's clock, in nanoseconds.
    pub clock: u64,
    /// When the snapshot was taken, in nanoseconds on the node's clock.
    pub taken: u64,
    /// The state of the node's shell.
    pub node: N,
    /// The state of the node's core.
    pub core: C,
    /// Every file descriptor that is carried over, each once.
    pub descriptors: Vec<Descriptor>,
    blobs: Vec<Extent>,
}

/// A file descriptor that is carried over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// As before the upgrade.
    pub number: i32,
    /// What kind of file it refers to.
    pub kind: Kind,
    /// What it belongs to: the process id for a pidfd, else a text for people.
    pub of: String,
}

/// What a file descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A process, pidfd_open(2).
    Pidfd,
    /// Either end of a pipe, or a fifo.
    Pipe,
    /// A listening socket.
    Listener,
    /// A socket of datagrams.
    Datagram,
    /// A connected stream socket.
    Connection,
    /// A regular file.
    File,
    /// A directory that is open.
    Directory,
    /// A terminal or another character device.
    Device,
}

/// Where the bytes of a blob are; the offset counts from the end of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extent {
    offset: u64,
    length: u64,
}

/// A blob, as the state refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Blob(usize);

/// Blobs that are to be written. None is copied.
#[derive(Debug, Default)]
pub struct Draft<'a> {
    parts: Vec<Cow<'a, [u8]>>,
    extents: Vec<Extent>,
    end: u64,
}

/// The content of a snapshot beside the blobs, for [`Draft::finish`].
#[derive(Debug, Clone, PartialEq)]
pub struct Facts<N, C> {
    /// As [`State::version`].
    pub version: String,
    /// As [`State::boot`].
    pub boot: String,
    /// As [`State::clock`].
    pub clock: u64,
    /// As [`State::taken`].
    pub taken: u64,
    /// As [`State::node`].
    pub node: N,
    /// As [`State::core`].
    pub core: C,
    /// As [`State::descriptors`].
    pub descriptors: Vec<Descriptor>,
}

impl<'a> Draft<'a> {
    /// A draft without blobs.
    pub fn new() -> Draft<'a> {
        Draft::default()
    }

    /// Adds a blob. The state must hold the returned reference for the blob to be found again.
    pub fn blob(&mut self, bytes: impl Into<Cow<'a, [u8]>>) -> Blob {
        let bytes = bytes.into();
        let extent = Extent { offset: self.end, length: bytes.len() as u64 };
        self.end += extent.length;
        self.parts.push(bytes);
        self.extents.push(extent);
        Blob(self.extents.len() - 1)
    }

    /// The snapshot in pieces, to be written one after the other.
    ///
    /// # Errors
    /// When JSON cannot represent the state.
    pub fn finish<N: Serialize, C: Serialize>(self, facts: Facts<N, C>) -> serde_json::Result<Vec<Cow<'a, [u8]>>> {
        let Facts { version, boot, clock, taken, node, core, descriptors } = facts;
        let state = State { format: FORMAT, version, boot, clock, taken, node, core, descriptors, blobs: self.extents };
        let mut written = Written(Vec::new());
        serde_json::to_writer(&mut written, &state)?;
        let Written(state) = written;
        let mut head = BEGIN.to_vec();
        head.extend(format!("{FORMAT}\n{}\n", state.len()).into_bytes());
        Ok([Cow::Owned(head), Cow::Owned(state)].into_iter().chain(self.parts).collect())
    }
}

/// A writer for the JSON of the state that is fast for single bytes. Half of the pieces that serde_json writes are one
/// byte long, half a million for a thousand children, and a node does not act while they are written.
struct Written(Vec<u8>);

impl io::Write for Written {
    #[inline(always)]
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        match piece {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(piece),
        }
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a snapshot cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

fn unreadable<T>(why: impl fmt::Display) -> Result<T, Unreadable> {
    Err(Unreadable(why.to_string()))
}

/// The blobs of a snapshot that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blobs<'a> {
    bytes: &'a [u8],
    extents: Vec<Extent>,
}

impl<'a> Blobs<'a> {
    /// The bytes of a blob, where they lie in the file.
    ///
    /// # Errors
    /// When there is no such blob.
    pub fn get(&self, blob: Blob) -> Result<&'a [u8], Unreadable> {
        match self.extents.get(blob.0) {
            Some(extent) => Ok(self.cut(extent)),
            None => unreadable(format_args!("the state refers to blob {}, of {}", blob.0, self.extents.len())),
        }
    }

    /// All blobs, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.extents.iter().map(|extent| self.cut(extent))
    }

    /// `read_by` has checked that the extent lies within the file.
    fn cut(&self, extent: &Extent) -> &'a [u8] {
        &self.bytes[extent.offset as usize..(extent.offset + extent.length) as usize]
    }
}

/// Reads a snapshot. An unknown member is an error, and so is a missing one.
///
/// # Errors
/// What is wrong with the snapshot, in words.
pub fn read<N, C>(file: &[u8]) -> Result<(State<N, C>, Blobs<'_>), Unreadable>
where
    N: Serialize + DeserializeOwned,
    C: Serialize + DeserializeOwned,
{
    read_by(file, exact::read)
}

/// Reads the snapshot of a node whose state was read by [`read`] in the rehearsal directly before. To find unknown and
/// missing members, [`read`] serialises the whole state again. That time is saved here, because the node does not act
/// meanwhile.
///
/// # Errors
/// As for [`read`].
pub fn read_rehearsed<N, C>(file: &[u8]) -> Result<(State<N, C>, Blobs<'_>), Unreadable>
where
    N: DeserializeOwned,
    C: DeserializeOwned,
{
    read_by(file, |state| json::from_own(state).map_err(|error| error.to_string()))
}

fn read_by<N, C>(
    file: &[u8],
    read_state: impl FnOnce(&[u8]) -> Result<State<N, C>, String>,
) -> Result<(State<N, C>, Blobs<'_>), Unreadable> {
    let Some(rest) = file.strip_prefix(BEGIN) else {
        return unreadable("it is no snapshot: it does not begin with TVSNAP and a newline");
    };
    let (format, rest) = number(rest, "the number of the format")?;
    if format != u64::from(FORMAT) {
        return unreadable(format_args!("it is of format {format}; this treevisor reads format {FORMAT}"));
    }
    let (length, rest) = number(rest, "the length of the state")?;
    let Some((state, bytes)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) else {
        return unreadable(format_args!("it is cut off: {} bytes of a state of {length} are there", rest.len()));
    };
    let mut state: State<N, C> = match read_state(state) {
        Ok(state) => state,
        Err(error) => return unreadable(format_args!("the state: {error}")),
    };
    if state.format != FORMAT {
        return unreadable(format_args!("the state is of format {}, the file of format {FORMAT}", state.format));
    }
    let extents = std::mem::take(&mut state.blobs);
    let mut end = 0u64;
    for (at, extent) in extents.iter().enumerate() {
        match extent.offset.checked_add(extent.length) {
            Some(after) if extent.offset == end && after <= bytes.len() as u64 => end = after,
            _ => {
                let Extent { offset, length } = extent;
                let there = bytes.len();
                return unreadable(format_args!(
                    "blob {at} is at {offset} and {length} bytes long; it should begin at {end}, and {there} bytes are there"
                ));
            }
        }
    }
    if end != bytes.len() as u64 {
        return unreadable(format_args!("{} bytes after the last blob belong to none", bytes.len() as u64 - end));
    }
    let mut numbers = BTreeSet::new();
    for Descriptor { number, of, .. } in &state.descriptors {
        if *number < 0 || !numbers.insert(*number) {
            return unreadable(format_args!("descriptor {number} ({of}) is listed twice, or is none"));
        }
    }
    Ok((state, Blobs { bytes, extents }))
}

/// Reads a line of decimal digits without leading zeros; returns the number and the text after the line.
fn number<'a>(text: &'a [u8], what: &str) -> Result<(u64, &'a [u8]), Unreadable> {
    let end = text.iter().take(DIGITS_MAX + 1).position(|byte| *byte == b'\n');
    let digits = end.map(|end| &text[..end]).unwrap_or_default();
    let plain = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    let value = std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|digits| digits.parse().ok());
    match (value, end) {
        (Some(value), Some(end)) => Ok((value, &text[end + 1..])),
        _ => unreadable(format_args!("{what} is no number with a newline behind it")),
    }
}
