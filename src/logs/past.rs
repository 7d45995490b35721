//! Reads the lines that a worker's log file and its rotated predecessors still hold. For tools: reading may block on a
//! disk.

use super::lines::Lines;
use super::lost::is_notice;
use crate::files::{self, FileId};
use crate::text;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of one read.
const CHUNK: usize = 64 * 1024;

/// The rotated predecessor of `path` with this number; 1 is the newest.
pub(crate) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The last `count` lines of the file at `path` and its `keep` predecessors, the oldest first, made printable; all
/// lines without a count. Missing files count as empty.
///
/// A file that is rotated meanwhile is read once, under the name under which it was opened first.
///
/// # Errors
/// The system's, with the path of the file that could not be read.
pub(crate) fn last_lines(path: &Path, keep: u32, count: Option<usize>) -> Result<Vec<String>, (PathBuf, io::Error)> {
    // All files are opened before any is read, so that a later rotation does not matter.
    let mut open: Vec<(PathBuf, File, FileId)> = Vec::new();
    // If the path is a link, the predecessors are next to its target.
    let real = if path.is_symlink() { path.canonicalize().ok() } else { None };
    let beside = real.as_deref().unwrap_or(path);
    for name in std::iter::once(path.to_owned()).chain((1..=keep).map(|number| numbered(beside, number))) {
        let file = match files::open_regular(&name) {
            Ok(file) => file,
            // A fifo has another program as its reader.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => continue,
            Err(error) => return Err((name, error)),
        };
        let metadata = file.metadata().map_err(|error| (name.clone(), error))?;
        let id = FileId::of(&metadata);
        if open.iter().all(|(_, _, other)| *other != id) {
            open.push((name, file, id));
        }
    }
    let mut lines = VecDeque::new();
    for (name, mut file, _) in open {
        let wanted = count.map(|count| count.saturating_sub(lines.len()));
        if wanted == Some(0) {
            break;
        }
        for line in last_of_file(&mut file, wanted).map_err(|error| (name, error))?.into_iter().rev() {
            lines.push_front(line);
        }
    }
    Ok(lines.into())
}

/// The last lines of one file.
fn last_of_file(file: &mut File, count: Option<usize>) -> io::Result<Vec<String>> {
    let from = match count {
        Some(count) => begin_of_last(file, count)?,
        None => 0,
    };
    file.seek(SeekFrom::Start(from))?;
    let mut cutter = Lines::new();
    let mut found: Vec<String> = Vec::new();
    let mut take = |line: super::lines::Line<'_>| {
        // A long line of the file is one line here as well: only pipes need pieces.
        match found.last_mut().filter(|_| line.continued) {
            Some(begun) => text::write_printable(line.bytes(), begun),
            None => found.push(text::printable(line.bytes())),
        }
    };
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => cutter.feed(&buffer[..length], &mut take),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    cutter.finish(&mut take);
    // The file has grown since the position was determined.
    if let Some(count) = count {
        found.drain(..found.len().saturating_sub(count));
    }
    Ok(found)
}

/// The position where the last `count` lines of a file begin, searched from its end.
fn begin_of_last(file: &mut File, count: usize) -> io::Result<u64> {
    let mut at = file.seek(SeekFrom::End(0))?;
    let length = at;
    let mut left = count;
    let mut buffer = vec![0; CHUNK];
    while at > 0 {
        let size = at.min(CHUNK as u64);
        at -= size;
        file.seek(SeekFrom::Start(at))?;
        let part = &mut buffer[..size as usize];
        file.read_exact(part)?;
        for (place, byte) in part.iter().enumerate().rev() {
            let place = at + place as u64;
            // The newline at the very end does not begin a line.
            if *byte == b'\n' && place + 1 < length {
                if left <= 1 {
                    return Ok(place + 1);
                }
                left -= 1;
            }
        }
    }
    Ok(0)
}

/// The lines that are in memory, as texts that can be compared with those of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recent {
    /// The texts, the oldest first. The pieces of a long line are one text.
    pub lines: Vec<String>,
    /// The first one is the end of a line whose beginning is no longer in memory.
    pub headless: bool,
    /// The last one had no end when memory was read.
    pub unfinished: bool,
}

impl Recent {
    /// Whether these lines of a file are the ones in memory from number `at` on.
    fn are(&self, at: usize, lines: &[String]) -> bool {
        lines.iter().zip(at..).all(|(line, at)| {
            let text = self.lines[at].as_str();
            match (self.headless && at == 0, self.unfinished && at + 1 == self.lines.len()) {
                (false, false) => line == text,
                (true, false) => line.ends_with(text),
                (false, true) => line.starts_with(text),
                (true, true) => line.contains(text),
            }
        })
    }

    /// Where the lines of a file stand in memory; the last place if there are several.
    fn place_of(&self, lines: &[String]) -> Option<usize> {
        let last = self.lines.len().checked_sub(lines.len())?;
        (0..=last).rev().find(|at| self.are(*at, lines))
    }

    fn before(&self, end: usize) -> Recent {
        Recent { lines: self.lines[..end].to_vec(), headless: self.headless, unfinished: false }
    }
}

/// How many of a file's last lines the memory has as well (`kept`), or will get later, given that the file was read
/// after the memory. The caller takes those from memory.
///
/// Returns 0 if the two do not meet.
pub(crate) fn overlap(file: &[String], kept: &Recent) -> usize {
    let count = kept.lines.len();
    if count == 0 {
        return 0;
    }
    // All of `kept` is in the file, at its end or a little before: the worker has printed more since.
    if let Some(at) = file.windows(count).rposition(|lines| kept.are(0, lines)) {
        return file.len() - at;
    }
    let most = count.min(file.len());
    // The file ends within `kept`: the rest was not written. If it begins there as well, it was begun anew since.
    let ended = (1..=most).rev().find_map(|n| Some((n, kept.place_of(&file[file.len() - n..])?)));
    if let Some((n, at)) = ended {
        return n + beyond_a_gap(&file[..file.len() - n], &kept.before(at));
    }
    // It was begun anew, and the worker has printed more since. A single line may be in both by chance.
    if (2..=most).any(|n| kept.are(count - n, &file[..n])) { file.len() } else { 0 }
}

/// The overlap before lines that could not be written: a notice stands in the file for these, after the part of a line
/// that was written.
fn beyond_a_gap(file: &[String], kept: &Recent) -> usize {
    let Some((_, file)) = file.split_last().filter(|(last, _)| is_notice(last)) else { return 0 };
    let torn = file.split_last().map_or(file, |(_, before)| before);
    [(1, file), (2, torn)]
        .into_iter()
        .map(|(n, file)| (n, overlap(file, kept)))
        .find(|(_, more)| *more > 0)
        .map_or(0, |(n, more)| n + more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(path: &Path, from: u32, to: u32) {
        fs::write(path, (from..to).map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
    }

    #[test]
    fn the_forerunners_are_read_as_one_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        assert_eq!(last_lines(&path, 5, None).unwrap(), Vec::<String>::new());
        write(&path, 20, 30);
        write(&numbered(&path, 1), 10, 20);
        write(&numbered(&path, 2), 0, 10);
        let all = last_lines(&path, 5, None).unwrap();
        assert_eq!((all.len(), all[0].as_str(), all[29].as_str()), (30, "line 0", "line 29"));
        for count in [0, 1, 9, 10, 11, 20, 29, 30, 31] {
            let last = last_lines(&path, 5, Some(count)).unwrap();
            assert_eq!(last, all[30 - count.min(30)..], "{count}");
        }
        // Files beyond `keep` are from an earlier time, and no longer managed.
        assert_eq!(last_lines(&path, 1, None).unwrap().len(), 20);
    }

    #[test]
    fn long_files_are_sought_from_their_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let long = "x".repeat(CHUNK + 100);
        let mut bytes = format!("first\n{long}\n\x1b[2J").into_bytes();
        bytes.extend_from_slice(b"\xff\nlast without newline");
        fs::write(&path, bytes).unwrap();
        let last = last_lines(&path, 0, Some(3)).unwrap();
        assert_eq!((last[0].len(), last[1].as_str()), (long.len(), "\\x1b[2J\\xff"));
        assert_eq!(last[2], "last without newline");
        assert_eq!(last_lines(&path, 0, Some(9)).unwrap().len(), 4);
    }

    #[test]
    fn a_file_with_two_names_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        write(&path, 0, 3);
        fs::hard_link(&path, numbered(&path, 1)).unwrap();
        assert_eq!(last_lines(&path, 2, None).unwrap().len(), 3);
    }

    #[test]
    fn what_is_in_memory_is_found_in_the_file() {
        let lines = |text: &str| -> Vec<String> {
            let notice = "treevisor: … 2 lines (9 B) could not be written here";
            text.split_whitespace().map(|line| if line == "LOST" { notice } else { line }.to_owned()).collect()
        };
        for (file, kept, same) in [
            ("a b c d", "c d", 2),
            // The worker has printed more between the two reads.
            ("a b c d e", "c d", 3),
            // The end was never written to the file.
            ("a b c", "b c d e", 2),
            ("a a a a", "a a", 2),
            ("a b", "c d", 0),
            ("a b", "", 0),
            ("", "a", 0),
            ("c d", "c d", 2),
            // The file was begun anew: it was moved away, or nothing is kept.
            ("d", "c d", 1),
            ("c d", "b c d e", 2),
            ("d", "d c d", 1),
            ("d e f", "c d e", 3),
            ("tick r1 r2 r3", "m1 m2 tick", 0),
            ("tick r1 r2 r3", "tick", 4),
            // The memory begins in the middle of a long line.
            ("a long c d", "+ng c d", 3),
            ("a long", "+ng", 1),
            ("a long c", "+ng c d", 2),
            // The memory ends in the middle of a line.
            ("a b prompt>yes c", "b prompt>+", 3),
            ("a prompt>", "prompt>+", 1),
            ("a long", "+on+", 1),
            ("b prompt>yes", "a b prompt>+", 2),
            // Lines could not be written.
            ("a b c LOST f g", "b c d e f g", 5),
            ("a b c d1 LOST f g", "b c d123 e f g", 6),
            ("c LOST f", "b c d e f", 3),
            ("a LOST f", "d e f", 1),
        ] {
            let recent = Recent {
                lines: lines(&kept.replace('+', "")),
                headless: kept.starts_with('+'),
                unfinished: kept.len() > 1 && kept.ends_with('+'),
            };
            assert_eq!(overlap(&lines(file), &recent), same, "{file} / {kept}");
        }
    }
}
