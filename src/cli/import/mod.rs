//! `treevisor import`: a tree's file made of another supervisor's.
//!
//! Each format is a function from text to a [`Draft`](draft::Draft), which is TOML and notes; files are read here alone.
//! What a setting becomes is decided by what it *does* there, not by its name: where that does not exist here, it is said.

mod draft;
mod procfile;
mod supervisord;
mod systemd;

use super::args::{Format, Import, When};
use super::file::{count, write_new};
use super::out::{self, Out};
use super::{ExitCode, Failure};
use crate::spec::read_text;
use draft::{Draft, Note};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Nobody's configuration is larger.
const FILE_MAX: u64 = 16 << 20;

/// A file that was read: its name as it is shown, and what is in it.
struct Text {
    name: Rc<str>,
    text: String,
}

pub(super) fn run(args: Import, when: When) -> Result<ExitCode, Failure> {
    let first = &args.files[0];
    let format = args.format.or_else(|| format_of(first)).ok_or_else(|| {
        Failure::new(ExitCode::Usage, format!("cannot import {}: its name does not tell what it is", first.display()))
            .hint("say so, with --format supervisord, procfile or systemd")
    })?;
    if format != Format::Systemd && args.files.len() > 1 {
        return Err(Failure::new(ExitCode::Usage, "cannot import several files at once but units of systemd"));
    }
    if format != Format::Procfile && !args.formation.is_empty() {
        return Err(Failure::new(ExitCode::Usage, "--formation is for a Procfile alone"));
    }
    let texts = args.files.iter().map(|file| load(file)).collect::<Result<Vec<_>, _>>()?;
    let mut tree = match format {
        Format::Procfile => {
            let mut tree = procfile::read(&texts[0].name, &texts[0].text, &args.formation);
            let env = first.with_file_name(".env");
            if env.exists() {
                let why = "is not read here; before the start: `set -a; . ./.env; set +a`, workers \
                     inherit its variables";
                tree.note(Note::at(&env.display().to_string().into(), 1, ".env", why));
            }
            tree
        }
        Format::Supervisord => {
            let here = first.parent().filter(|here| !here.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let here = std::path::absolute(here).unwrap_or_else(|_| here.to_owned());
            supervisord::read(&texts[0], &here, &included)
        }
        Format::Systemd => systemd::read(&texts),
    };
    let names: Vec<_> = args.files.iter().map(|file| file.display().to_string()).collect();
    tree.about
        .insert(0, format!("Made of {} by `treevisor import`. Look it over before it is started.", names.join(", ")));
    tree.make_names_unique();
    tree.sort_notes();
    if !tree.starts_something() {
        tell(&tree, when);
        return Err(Failure::new(
            ExitCode::Failed,
            format!("cannot import {}: nothing in it is to be started", names.join(", ")),
        ));
    }
    let text = tree.to_toml();
    match &args.output {
        Some(output) => {
            write_new(output, &text, args.force)?;
            out::say(when, &format!("wrote {0}; look it over, then `treevisor check {0}`", output.display()));
        }
        None => Out::open().write(&text)?,
    }
    tell(&tree, when);
    // Each key was read when it was set; what they are together is seen only here.
    let read = read_text("import", &text, &|_| None);
    for error in read.errors() {
        out::say(when, &format!("what came of it is not right yet: {error}"));
    }
    Ok(ExitCode::Done)
}

/// Names on stderr what could not be carried over.
fn tell(tree: &Draft, when: When) {
    let notes = tree.all_notes();
    for note in &notes {
        out::raw_error(&format!("{note}\n"));
    }
    if !notes.is_empty() && tree.starts_something() {
        let what = count(notes.len(), "difference");
        out::say(
            when,
            &format!(
                "{what} to what it was, named above and in the file's comments (`# \
             differs:`)"
            ),
        );
    }
}

/// What a file is by its name.
fn format_of(file: &Path) -> Option<Format> {
    let name = file.file_name()?.to_str()?;
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension {
        "service" | "target" | "socket" | "timer" => Some(Format::Systemd),
        "conf" | "ini" => Some(Format::Supervisord),
        "procfile" => Some(Format::Procfile),
        _ if name.to_ascii_lowercase().starts_with("procfile") => Some(Format::Procfile),
        _ => None,
    }
}

fn load(file: &Path) -> Result<Text, Failure> {
    let failed = |why: String| Failure::new(ExitCode::Failed, format!("cannot read {}: {why}", file.display()));
    let size = fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if size > FILE_MAX {
        return Err(failed(format!("it is larger than {} MiB", FILE_MAX >> 20)));
    }
    let bytes = fs::read(file).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("it is no UTF-8".into()))?;
    // Windows' mark at the beginning is no part of it.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    Ok(Text { name: file.display().to_string().into(), text })
}

/// The files that a pattern means, read.
fn included(pattern: &Path) -> Result<Vec<Text>, String> {
    let pattern = pattern.to_str().ok_or("it is no UTF-8")?;
    let mut files: Vec<PathBuf> = glob::glob(pattern)
        .map_err(|error| error.to_string())?
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    files.sort();
    files.iter().map(|file| load(file).map_err(|failure| failure.message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What came of it is right, or there is nothing to start.
    fn is_right(mut tree: Draft) -> Result<(), TestCaseError> {
        tree.make_names_unique();
        if tree.starts_something() {
            let text = tree.to_toml();
            let read = read_text("import", &text, &|_| None);
            let errors: Vec<_> = read.errors().map(ToString::to_string).collect();
            prop_assert!(errors.is_empty(), "{errors:#?}\n{text}");
        }
        Ok(())
    }

    fn lines(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        let line = proptest::collection::vec(
            prop_oneof![4 => proptest::sample::select(words).prop_map(str::to_owned), 1 => "\\PC{0,8}"],
            0..5,
        );
        proptest::collection::vec(line.prop_map(|words| words.concat()), 0..30).prop_map(|lines| lines.join("\n"))
    }

    const INI: &[&str] = &[
        "[program:a]",
        "[program:b c]",
        "[group:g]",
        "[supervisord]",
        "[include]",
        "programs=a,b c",
        "command=",
        "./x ",
        "\"",
        "'",
        "%(program_name)s",
        "%(process_num)02d",
        "%(ENV_HOME)s",
        "%",
        "numprocs=",
        "3",
        "process_name=",
        "stdout_logfile=",
        "/x.log",
        "AUTO",
        "NONE",
        "stdout_logfile_maxbytes=",
        "10MB",
        "0",
        "exitcodes=",
        "1,2",
        "environment=",
        "A=\"b\",",
        "umask=",
        "022",
        "stopsignal=",
        "KILL",
        "INT",
        "user=",
        "autorestart=",
        "true",
        "false",
        "autostart=false",
        "priority=",
        "-1",
        "stopwaitsecs=",
        " ",
        ";",
        "#",
        "=",
        "$",
        "${X}",
        "directory=",
    ];

    const UNIT: &[&str] = &[
        "[Unit]",
        "[Service]",
        "[Install]",
        "ExecStart=",
        "/bin/x ",
        "$A ",
        "${A}",
        "$$",
        "%i",
        "%n",
        "%%",
        "-",
        "@",
        "\"",
        "'",
        "\\",
        "Environment=",
        "A=b ",
        "Restart=",
        "always",
        "on-failure",
        "RestartSec=",
        "1min 2s",
        "0",
        "infinity",
        "TimeoutStopSec=",
        "Type=",
        "notify",
        "oneshot",
        "WatchdogSec=",
        "5",
        "LimitNOFILE=",
        "1:2",
        "2:1",
        "1G",
        "UMask=",
        "0022",
        "9",
        "KillSignal=",
        "SIGKILL",
        "SIGINT",
        "User=",
        "WorkingDirectory=",
        "~",
        "/x",
        "SuccessExitStatus=",
        "1 2 TERM",
        "Nice=",
        "-5",
        "StandardOutput=",
        "file:/x",
        "null",
        "StartLimitBurst=",
        "StartLimitIntervalSec=",
        "After=b.service",
        "Before=a.service",
        "#",
        "=",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_supervisords_file_holds(text in lines(INI)) {
            let text = Text { name: "x.conf".into(), text: format!("[program:first]\ncommand=./first\n{text}") };
            is_right(supervisord::read(&text, Path::new("/etc"), &|_| Err("no files here".into())))?;
        }

        #[test]
        fn whatever_units_hold(a in lines(UNIT), b in lines(UNIT)) {
            let unit = |name: &str, text: &str| Text {
                name: name.into(),
                text: format!("[Service]\nExecStart=/bin/first\n{text}"),
            };
            is_right(systemd::read(&[unit("a.service", &a)]))?;
            is_right(systemd::read(&[unit("a.service", &a), unit("b.service", &b)]))?;
        }

        #[test]
        fn whatever_a_procfile_holds(text in "(web: |job: |PORT|release: |[a-z]{1,3}: \
             |\\PC|\n|\\$|\\{|\"){0,40}", count in 0u32..4) {
            is_right(procfile::read(&"Procfile".into(), &text, &[("web".into(), count), ("all".into(), 2)]))?;
        }
    }

    #[test]
    fn names_tell_what_a_file_is() {
        for (name, format) in [
            ("/etc/supervisor/supervisord.conf", Some(Format::Supervisord)),
            ("supervisord.ini", Some(Format::Supervisord)),
            ("Procfile", Some(Format::Procfile)),
            ("Procfile.dev", Some(Format::Procfile)),
            ("web@.service", Some(Format::Systemd)),
            ("web.txt", None),
        ] {
            assert_eq!(format_of(Path::new(name)), format, "{name}");
        }
    }
}
