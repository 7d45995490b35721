//! Access to files: the disk, or a replacement in tests.

use crate::files;
use std::io;
use std::path::{Path, PathBuf};

/// The largest file that is read. A tree of [`CHILDREN_MAX`](super::CHILDREN_MAX) children written out one by one is
/// smaller.
const FILE_MAX: u64 = 32 << 20;

/// The path that identifies a file, and its bytes.
pub(super) type Files<'a> = &'a dyn Fn(&Path) -> io::Result<(PathBuf, Vec<u8>)>;

/// Returns the files that match a pattern relative to a directory, in the order of their names.
pub(super) type Matching<'a> = &'a dyn Fn(&Path, &str) -> io::Result<Vec<PathBuf>>;

#[derive(Clone, Copy)]
pub(super) struct Disk<'a> {
    /// Reads the files of the tree.
    pub(super) files: Files<'a>,
    /// Finds the files that a pattern matches.
    pub(super) matching: Matching<'a>,
    /// Reads files of variables. Pipes are not read here, as waiting for many of them could take long.
    pub(super) env_files: Files<'a>,
    /// The tree is for another machine, so files may be missing here.
    pub(super) elsewhere: bool,
}

impl Disk<'static> {
    /// Regular files of this machine.
    pub(super) const REGULAR: Disk<'static> = Disk {
        files: &|path| from_disk(path, files::read_regular),
        matching: &matching,
        env_files: &|path| from_disk(path, files::read_regular),
        elsewhere: false,
    };

    /// As [`Disk::REGULAR`], but the tree's own files may also be pipes, which are read to their end.
    pub(super) const ANY: Disk<'static> = Disk { files: &|path| from_disk(path, files::read_or_wait), ..Disk::REGULAR };
}

fn from_disk(path: &Path, read: fn(&Path, u64) -> io::Result<Vec<u8>>) -> io::Result<(PathBuf, Vec<u8>)> {
    let bytes = read(path, FILE_MAX)?;
    // A pipe has no canonical path, and cannot include itself either.
    Ok((path.canonicalize().unwrap_or_else(|_| path.to_owned()), bytes))
}

/// As in a shell, a wildcard matches neither `/` nor a leading dot.
fn matching(beside: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let here = beside.to_str().ok_or_else(|| wrong("the path of the directory is no UTF-8".into()))?;
    let pattern = match Path::new(pattern).is_absolute() || here.is_empty() {
        true => pattern.to_owned(),
        false => format!("{}/{pattern}", glob::Pattern::escape(here)),
    };
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let found = glob::glob_with(&pattern, options).map_err(|error| wrong(error.to_string()))?;
    let mut files = found.collect::<Result<Vec<_>, _>>().map_err(io::Error::from)?;
    files.sort();
    Ok(files)
}
