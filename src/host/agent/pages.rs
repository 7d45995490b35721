//! Pages of the journals on this host's disk, for tools here and on other hosts. Read by the disk thread, as the disk
//! may block.

use super::tools::Asker;
use crate::files;
use crate::ids::Name;
use crate::instance::state::StateDir;
use crate::wire::look::{Kept, PAGE_MAX, Page, RecordCursor};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Where to send a page of this host's disk.
#[derive(Debug, Clone)]
pub(super) enum Reader {
    Tool(Asker),
    /// Another host, and the number of its request.
    Host(String, u64),
}

/// The journal of the agent itself, below its state directory.
pub(super) fn of_agent(state: &Path) -> PathBuf {
    state.join("agent.jsonl")
}

/// The previous file of a journal, after a rotation.
pub(super) fn before(journal: &Path) -> PathBuf {
    journal.with_extension("jsonl.1")
}

/// Reads the page that begins at `from`. `state` is the state directory of the agent, `base` the directory of the
/// instances' state directories.
///
/// # Errors
/// Why the page cannot be read, as text.
pub(super) fn page(state: &Path, base: &Path, kept: &Kept, from: RecordCursor) -> Result<Page, String> {
    let files = files_of(state, base, kept)?;
    let mut rest = files.iter().filter(|(number, _)| *number >= from.file);
    let Some((number, path)) = rest.next() else { return Ok(Page::default()) };
    // The file that was read last may be gone: reading then goes on at the beginning of the oldest one that is left.
    let offset = if *number == from.file { from.offset } else { 0 };
    let (text, end) = read(path, offset).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let next = match end {
        Some(offset) => Some(RecordCursor { file: *number, offset }),
        None => rest.next().map(|(file, _)| RecordCursor { file: *file, offset: 0 }),
    };
    Ok(Page { text, next })
}

/// The files with their numbers, the oldest first.
fn files_of(state: &Path, base: &Path, kept: &Kept) -> Result<Vec<(u64, PathBuf)>, String> {
    match kept {
        Kept::Agent => {
            let journal = of_agent(state);
            Ok(vec![(0, before(&journal)), (1, journal)])
        }
        Kept::Instance(name) => {
            let name = Name::parse(name).map_err(|error| error.to_string())?;
            let segments = StateDir::of(base, &name).segments().map_err(|error| error.to_string())?;
            Ok(segments.into_iter().map(|segment| (segment.number, segment.path)).collect())
        }
    }
}

/// The text at `offset`, and the offset of the rest, if there is one.
fn read(path: &Path, offset: u64) -> io::Result<(String, Option<u64>)> {
    let mut file = match files::open_regular(path) {
        // The file was rotated away, or never written.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((String::new(), None)),
        file => file?,
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(PAGE_MAX as u64).read_to_end(&mut bytes)?;
    if bytes.len() < PAGE_MAX {
        return Ok((String::from_utf8_lossy(&bytes).into_owned(), None));
    }
    if let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') {
        bytes.truncate(last + 1);
    }
    let end = offset + bytes.len() as u64;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), Some(end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The text of all pages, and their number.
    fn all(base: &Path, kept: &Kept) -> (String, usize) {
        let (mut text, mut spot, mut pages) = (String::new(), Some(RecordCursor::default()), 0);
        while let Some(from) = spot {
            let page = page(&base.join("host"), base, kept, from).unwrap();
            assert!(page.text.len() <= PAGE_MAX && page.next.is_none_or(|next| next > from), "{:?}", page.next);
            text.push_str(&page.text);
            (spot, pages) = (page.next, pages + 1);
        }
        (text, pages)
    }

    #[test]
    fn pages_are_whole_lines_through_all_files() {
        let base = tempfile::tempdir().unwrap();
        let kept = Kept::Instance("shop".into());
        assert_eq!(all(base.path(), &kept), (String::new(), 1), "none was kept");
        let state = StateDir::of(base.path(), &Name::parse("shop").unwrap());
        state.create().unwrap();
        let lines = |from: u32| (from..from + 4_000).map(|at| format!("{{\"line\":{at:08}}}\n")).collect::<String>();
        for number in [3, 4, 7] {
            fs::write(state.segment(number).path, lines(number as u32 * 10_000)).unwrap();
        }
        fs::write(state.segment(8).path, "{\"torn").unwrap();
        let (text, pages) = all(base.path(), &kept);
        assert_eq!(text, [lines(30_000), lines(40_000), lines(70_000), "{\"torn".to_owned()].concat());
        assert_eq!(pages, 7, "each file has one and a bit");
        // A line that is longer than a page is returned in pieces.
        let long = "x".repeat(PAGE_MAX * 2 + 1);
        fs::write(state.segment(9).path, &long).unwrap();
        assert!(all(base.path(), &kept).0.ends_with(&long));
        // The oldest file is removed while it is read.
        let first = page(base.path(), base.path(), &kept, RecordCursor::default()).unwrap();
        fs::remove_file(state.segment(3).path).unwrap();
        let next = page(base.path(), base.path(), &kept, first.next.unwrap()).unwrap();
        assert!(next.text.starts_with("{\"line\":00040000}"));
        for name in ["../shop", "", "a/b"] {
            assert!(
                page(base.path(), base.path(), &Kept::Instance(name.into()), RecordCursor::default()).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn the_agents_own_come_with_the_file_before() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("host");
        fs::create_dir(&state).unwrap();
        fs::write(of_agent(&state), "{\"b\":1}\n").unwrap();
        assert_eq!(all(base.path(), &Kept::Agent).0, "{\"b\":1}\n");
        fs::write(before(&of_agent(&state)), "{\"a\":1}\n").unwrap();
        assert_eq!(all(base.path(), &Kept::Agent).0, "{\"a\":1}\n{\"b\":1}\n");
    }
}
