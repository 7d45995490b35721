//! `treevisor man`: the help as manual pages.
//!
//! The sections below the options are rendered here, not by clap, which would fill them into paragraphs: examples and
//! tables must keep their lines.

use super::failure::{ExitCode, Failure};
use super::out::Out;
use crate::spec;
use clap::{Args, Command};
use roff::{Roff, roman};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::{fs, io, process};

/// Print a manual page
///
/// Prints the page of treevisor, of one VERB, or of the tree's file (treevisor.toml): on a terminal by man(1), where
/// that is installed, and else as man(1) reads it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor man
  treevisor man status
  treevisor man treevisor.toml                  every key of the file
  treevisor man --dir ~/.local/share/man/man1 && man treevisor-status
")]
pub struct Man {
    /// The verb that the page is about, or treevisor.toml; the program itself without it
    #[arg(value_name = "VERB")]
    pub verb: Option<String>,
    /// Write all pages into this directory; where it is called man1, that of the file into man5 beside it
    #[arg(long, value_name = "DIR", conflicts_with = "verb", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// The name of the page about the tree's file.
const FILE: &str = "treevisor.toml";

pub(super) fn run(args: Man, mut program: Command) -> Result<ExitCode, Failure> {
    program.build();
    let verbs = || program.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut out = Out::open();
    if let Some(dir) = &args.dir {
        let written = |error: io::Error, at: &Path| {
            Failure::new(ExitCode::Failed, format!("cannot write {}: {error}", at.display()))
        };
        fs::create_dir_all(dir).map_err(|error| written(error, dir))?;
        for command in std::iter::once(&program).chain(verbs()) {
            let file = dir.join(format!("{}.1", title(command)));
            fs::write(&file, page(command)).map_err(|error| written(error, &file))?;
            out.write(&format!("{}\n", file.display()))?;
        }
        let beside = if dir.ends_with("man1") { dir.with_file_name("man5") } else { dir.clone() };
        fs::create_dir_all(&beside).map_err(|error| written(error, &beside))?;
        let file = beside.join(format!("{FILE}.5"));
        fs::write(&file, file_page()).map_err(|error| written(error, &file))?;
        out.write(&format!("{}\n", file.display()))?;
        return Ok(ExitCode::Done);
    }
    let command = match &args.verb {
        Some(wanted) if wanted == FILE => {
            return show(&file_page(), &mut out);
        }
        None => &program,
        Some(wanted) => verbs().find(|verb| verb.get_name() == wanted).ok_or_else(|| {
            let known: Vec<_> = verbs().map(Command::get_name).collect();
            Failure::new(ExitCode::Usage, format!("cannot print the manual of \"{wanted}\": there is no such verb"))
                .hint(format!("the verbs are {}; the file has a page too, {FILE}", known.join(", ")))
        })?,
    };
    show(&page(command), &mut out)
}

/// Shows a page by man(1) on a terminal, and prints it elsewhere.
fn show(page: &str, out: &mut Out) -> Result<ExitCode, Failure> {
    if !(io::stdout().is_terminal() && is_shown_by_man(page)) {
        out.write(page)?;
    }
    Ok(ExitCode::Done)
}

/// Passes a page to man(1), and waits for its end; `false` if there is none, or it does not accept pages on stdin.
fn is_shown_by_man(page: &str) -> bool {
    let man = process::Command::new("man").args(["-l", "-"]).stdin(process::Stdio::piped()).spawn();
    let Ok(mut man) = man else { return false };
    // A write error is ignored: the reader may quit before the end.
    drop(man.stdin.take().map(|mut input| input.write_all(page.as_bytes())));
    man.wait().is_ok_and(|status| status.success())
}

/// The name of a page: `treevisor`, `treevisor-status`.
fn title(command: &Command) -> String {
    match command.get_name() {
        "treevisor" => "treevisor".into(),
        verb => format!("treevisor-{verb}"),
    }
}

fn page(command: &Command) -> String {
    let is_program = command.get_name() == "treevisor";
    let name = title(command);
    let man = clap_mangen::Man::new(command.clone().disable_help_flag(true).display_name(name.clone()))
        .title(name.to_uppercase())
        .source(concat!("treevisor ", env!("CARGO_PKG_VERSION")))
        .manual("treevisor");
    let mut text = Vec::new();
    // Writing to a vector cannot fail.
    let _ = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| man.render_synopsis_section(&mut text))
        .and_then(|()| man.render_description_section(&mut text))
        .and_then(|()| man.render_options_section(&mut text));
    let mut roff = Roff::new();
    if is_program {
        roff.control("SH", ["VERBS"]);
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            roff.control("TP", []);
            roff.text([roff::bold(format!("treevisor-{}(1)", verb.get_name()))]);
            roff.text([roman(verb.get_about().map(ToString::to_string).unwrap_or_default())]);
        }
    }
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    sections(&after, &mut roff);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(if is_program { "systemd(1), cgroups(7), signal(7)" } else { "treevisor(1)" })]);
    text.extend(roff.to_roff().into_bytes());
    String::from_utf8_lossy(&text).into_owned()
}

/// The page of the tree's file, made of the table of keys.
fn file_page() -> String {
    let mut roff = Roff::new();
    let version = concat!("treevisor ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["TREEVISOR.TOML", "5", "", version, "treevisor"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{FILE} - the file of a supervision tree"))]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(
        "A tree is written in TOML. The top level is the root supervisor. Each [[child]] table below it is a worker, which has a \
         command, or a supervisor, which has children of its own: [[child.child]]. A [defaults] table has keys for all workers \
         below it; a worker's own key wins. Children start in the order of the file, and stop in reverse order. Text may use \
         ${VAR} and ${VAR:-default} out of the environment of treevisor; $$ is a dollar. No shell is run.",
    )]);
    for table in spec::manual() {
        roff.control("SH", [format!("KEYS OF {}", table.of.to_uppercase().replace('`', "")).as_str()]);
        for key in table.keys {
            roff.control("TP", []);
            roff.text([roff::bold(key.name)]);
            let default = key.default.map(|default| format!(" Default: {default}.")).unwrap_or_default();
            roff.text([roman(format!("{}{default}", key.about))]);
        }
    }
    sections(FILE_AFTER, &mut roff);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("treevisor(1), treevisor-check(1), treevisor-init(1), treevisor-schema(1)")]);
    // Non-ASCII characters are written as troff escapes, which do not depend on the locale.
    let escaped = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    roff.to_roff().chars().map(escaped).collect()
}

/// The text after the keys.
const FILE_AFTER: &str = "\
Values:
  A duration is a number with a unit: 300ms, 5s, 1m30s, 2h. A size has k, M, G (of 1000) or
  Ki, Mi, Gi (of 1024) before its B. A command is a list of words, or one string that is cut
  into words as a shell cuts them.
Examples:
  strategy = \"rest-for-one\"

  [[child]]
  name = \"db\"
  command = \"postgres -D data\"

  [[child]]
  name = \"api\"
  command = [\"./api\", \"--port\", \"8080\"]
  heartbeat = { interval = \"1s\", misses = 3 }
";

/// Renders the sections below the options of the help: a line that ends in a colon is a heading, and indented lines are
/// kept as they are.
fn sections(text: &str, roff: &mut Roff) {
    let mut literal = false;
    let mut headed = false;
    let mut gap = false;
    let mut begin = |roff: &mut Roff, now: bool| {
        if std::mem::replace(&mut literal, now) != now {
            roff.control(if now { "nf" } else { "fi" }, []);
        }
    };
    for line in text.lines() {
        let heading = line.strip_suffix(':').filter(|head| !head.starts_with(' ') && head.len() < 30);
        if line.trim().is_empty() {
            begin(roff, false);
            gap = true;
            continue;
        }
        let apart = std::mem::take(&mut gap);
        if let Some(heading) = heading {
            begin(roff, false);
            let words = heading.to_uppercase();
            let words = if words == "EXIT CODES" { "EXIT STATUS" } else { &words };
            roff.control("SH", [words]);
            headed = true;
        } else if line.starts_with(' ') {
            begin(roff, true);
            roff.text([roman(line)]);
        } else {
            begin(roff, false);
            if !std::mem::replace(&mut headed, true) {
                roff.control("SH", ["NOTES"]);
            } else if apart {
                roff.control("PP", []);
            }
            roff.text([roman(line)]);
        }
    }
    begin(roff, false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_lines_and_headings_are_sections() {
        let mut roff = Roff::new();
        sections(
            "Some words\nthat go on.\n\nMore.\n\nExit codes:\n  0  done\n  .5 odd\n\nExamples:\n  a -b\n",
            &mut roff,
        );
        let text = roff.to_roff();
        assert_eq!(
            text.replace(".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n", ""),
            ".SH NOTES\nSome words\nthat go on.\n.PP\nMore.\n.SH \"EXIT STATUS\"\n.nf\n  0  done\n  .5 odd\n.fi\n.SH EXAMPLES\n.nf\n  \
             a \\-b\n.fi\n"
        );
    }
}
