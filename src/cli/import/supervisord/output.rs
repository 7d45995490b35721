//! The log of a program. Here stdout and stderr go to the same place, so `stdout_logfile` decides.

use super::super::draft::{Note, Setting};
use super::super::value::Value;
use super::process::{Process, truth};

const MAXBYTES: u64 = 50 << 20;
const BACKUPS: u64 = 10;

enum Target {
    /// Shown by the supervisor, or passed through to its own output.
    Shown,
    Nowhere,
    Syslog,
    File,
}

/// Sets the log of a process, and notes which of its outputs are lost.
pub(super) fn log(process: &mut Process<'_>) {
    let redirected = get(process, "redirect_stderr").is_some_and(|setting| truth(&setting.value) == Some(true));
    let target = |process: &Process<'_>, key: &str| target(get(process, key).map(|setting| setting.value.as_str()));
    let (stdout, stderr) = (target(process, "stdout_logfile"), target(process, "stderr_logfile"));
    let stderr = if redirected { Target::Shown } else { stderr };
    if let Some(setting) = get(process, "stderr_logfile") {
        match (&stderr, &stdout) {
            (Target::File, _) => process.child.note(setting.note("both outputs go the same way, in order")),
            (Target::Syslog, _) => process.child.note(setting.note("goes to treevisor's own output")),
            (Target::Nowhere, Target::Nowhere) => {}
            (Target::Nowhere, _) => process.child.note(setting.note("is kept, for both outputs go the same way")),
            (Target::Shown, _) => {}
        }
    }
    if matches!(stderr, Target::File) {
        for key in ["stderr_logfile_maxbytes", "stderr_logfile_backups"] {
            if let Some(setting) = get(process, key) {
                process.child.note(setting.note("standard error has no file of its own"));
            }
        }
    }
    let Some(file) = get(process, "stdout_logfile") else { return };
    match (&stdout, &stderr) {
        (Target::Nowhere, Target::Nowhere) => process.child.set("log", "false", Some(file)),
        (Target::Nowhere, _) if redirected => process.child.set("log", "false", Some(file)),
        (Target::Nowhere, _) => {
            process.child.note(file.note("standard error shall be kept, and the two outputs go the same way"));
        }
        (Target::Syslog, _) => process.child.note(file.note("goes to treevisor's own output")),
        (Target::Shown, _) => {}
        (Target::File, _) => in_file(process, file),
    }
}

fn get<'a>(process: &Process<'a>, key: &str) -> Option<&'a Setting> {
    process.settings.get(key)
}

fn target(value: Option<&str>) -> Target {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("auto" | "") => Target::Shown,
        Some("none" | "off" | "/dev/null") => Target::Nowhere,
        Some("syslog") => Target::Syslog,
        Some(path) if path.starts_with("/dev/") || path.starts_with("/proc/") => Target::Shown,
        Some(_) => Target::File,
    }
}

fn in_file(process: &mut Process<'_>, file: &Setting) {
    let mut path = match process.names.expand(&file.value) {
        // `~` is the home directory of supervisord's own user.
        Ok(path) if file.value.starts_with("~/") => {
            let mut at_home = Value::variable_or("HOME", "/root");
            path.pieces().iter().skip(1).for_each(|piece| at_home.push(piece.clone()));
            at_home
        }
        Ok(path) => path,
        Err(why) => return process.child.note(file.note(why)),
    };
    if file.value.contains("%(host_node_name)") {
        process.child.note(file.note("the name is that of the host on which this was made"));
    }
    let mut notes: Vec<Note> = Vec::new();
    let mut size = MAXBYTES;
    if let Some(setting) = get(process, "stdout_logfile_maxbytes") {
        match process.names.fixed(setting, &mut notes).map(|text| bytes(&text)) {
            Some(Some(0)) => {
                notes.push(setting.note("a file cannot grow without bound; it is rotated at 1 TiB"));
                size = 1 << 40;
            }
            Some(Some(bytes)) => size = bytes,
            Some(None) => notes.push(setting.note("is no size")),
            None => {}
        }
    }
    let mut keep = BACKUPS;
    if let Some(setting) = get(process, "stdout_logfile_backups") {
        match process.names.fixed(setting, &mut notes).map(|text| text.parse()) {
            Some(Ok(backups)) => keep = backups,
            Some(Err(_)) => notes.push(setting.note("is no whole number")),
            None => {}
        }
    }
    // supervisord has all processes write to one file; here each file is rotated by one worker.
    let number = process.number.filter(|_| !file.value.contains("%(process_num)"));
    if let Some(number) = number {
        path = path.numbered(number);
    }
    if process.alike > 1 || number.is_some() {
        notes.push(file.note("each of them has a file of its own, with its number in the name"));
    }
    process.child.notes.append(&mut notes);
    process.child.set_log(&path, &format!(", max-size = {size}, keep = {keep}"), file);
}

/// A size in supervisord's form, whose units are powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, factor) = match text.len().checked_sub(2).and_then(|at| text.split_at_checked(at)) {
        Some((number, "kb")) => (number, 1 << 10),
        Some((number, "mb")) => (number, 1 << 20),
        Some((number, "gb")) => (number, 1 << 30),
        _ => (text.as_str(), 1),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_by_1024() {
        for (text, right) in
            [("10", Some(10)), ("1KB", Some(1024)), (" 2 mb ", Some(2 << 20)), ("1G", None), ("", None)]
        {
            assert_eq!(bytes(text), right, "{text}");
        }
    }
}
