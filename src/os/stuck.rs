//! Describes why SIGKILL has not ended a process, from what the kernel shows.

use super::process::{self, Stat};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

#[cfg(test)]
mod tests;

/// Why a process still exists, as a text that can follow "cannot be killed:". `refused` is the errno if the kernel has
/// refused the signal.
pub fn why_alive(pid: u32, refused: Option<i32>) -> String {
    if let Some(errno) = refused {
        let error = io::Error::from_raw_os_error(errno);
        let owner = fs::metadata(format!("/proc/{pid}")).map(|process| process.uid());
        return match owner {
            Ok(uid) if uid != process::own_uid() => format!(
                "the kernel refuses the signal: {error}; it runs as uid {uid}, this supervisor as {}",
                process::own_uid()
            ),
            _ => format!("the kernel refuses the signal: {error}"),
        };
    }
    let stat = match process::look(pid) {
        Ok(Some(stat)) => stat,
        Ok(None) => return "it has just gone".into(),
        Err(error) => return format!("it cannot be looked at: {error}"),
    };
    if let Some(tracer) = process::tracer(pid) {
        let name = process::command_name(tracer).map(|name| format!(" ({name})")).unwrap_or_default();
        return format!("process {tracer}{name} traces it and holds it");
    }
    match held_thread(pid, &stat) {
        Some(thread) => format!("it is stuck in the kernel (state D{})", place(pid, thread)),
        None if stat.is_dying() => "SIGKILL was sent; its first thread has ended, others have not".into(),
        None => format!("SIGKILL was sent, and it is still there (state {})", stat.state),
    }
}

/// A thread of a process in uninterruptible sleep (state D), if there is one.
fn held_thread(pid: u32, stat: &Stat) -> Option<u32> {
    if stat.state == 'D' {
        return Some(pid);
    }
    let threads = process::threads(pid).into_iter().flatten().flatten();
    // At most this many threads are checked; a hanging thread is seldom alone.
    threads.take(256).find(|thread| {
        fs::read(format!("/proc/{pid}/task/{thread}/stat"))
            .is_ok_and(|text| process::parse_stat(&text).is_some_and(|stat| stat.state == 'D'))
    })
}

/// Where in the kernel a thread waits, as far as this process may read that: the function and the system call number.
fn place(pid: u32, thread: u32) -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{thread}/{file}")).unwrap_or_default();
    let mut text = String::new();
    let function = read("wchan");
    if !matches!(function.trim(), "" | "0") {
        text.push_str(&format!(", in {}", function.trim()));
    }
    if let Some(number) = read("syscall").split_ascii_whitespace().next().and_then(|word| word.parse::<i64>().ok()) {
        text.push_str(&format!(", system call {number}"));
    }
    text
}
