//! `treevisor man`: the help as manual pages.
//!
//! The sections below the options are ours and not clap's, which fills them into paragraphs: examples and tables must
//! keep their lines.

use super::failure::{ExitCode, Failure};
use super::out::Out;
use clap::{Args, Command};
use roff::{Roff, roman};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Prints a manual page
///
/// Prints the page of treevisor, or of one VERB, as man(1) reads it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor man | man -l -
  treevisor man status | man -l -
  treevisor man --dir ~/.local/share/man/man1 && man treevisor-status
")]
pub struct Man {
    /// The verb that the page is about; the program itself without it
    #[arg(value_name = "VERB")]
    pub verb: Option<String>,
    /// Write all pages into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "verb", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

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
        return Ok(ExitCode::Done);
    }
    let command = match &args.verb {
        None => &program,
        Some(wanted) => verbs().find(|verb| verb.get_name() == wanted).ok_or_else(|| {
            let known: Vec<_> = verbs().map(Command::get_name).collect();
            Failure::new(ExitCode::Usage, format!("cannot print the manual of \"{wanted}\": there is no such verb"))
                .hint(format!("the verbs are {}", known.join(", ")))
        })?,
    };
    out.write(&page(command))?;
    Ok(ExitCode::Done)
}

/// The name of a page: `treevisor`, `treevisor-status`.
fn title(command: &Command) -> String {
    match command.get_name() {
        "treevisor" => "treevisor".into(),
        verb => format!("treevisor-{verb}"),
    }
}

/// One page.
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

/// What stands below the options of the help: a line that ends in a colon is a heading, what is indented keeps its lines.
fn sections(text: &str, roff: &mut Roff) {
    let mut literal = false;
    let mut headed = false;
    let mut begin = |roff: &mut Roff, now: bool| {
        if std::mem::replace(&mut literal, now) != now {
            roff.control(if now { "nf" } else { "fi" }, []);
        }
    };
    for line in text.lines() {
        let heading = line.strip_suffix(':').filter(|head| !head.starts_with(' ') && head.len() < 30);
        if line.trim().is_empty() {
            begin(roff, false);
            continue;
        }
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
        sections("Some words\nthat go on.\n\nExit codes:\n  0  done\n  .5 odd\n\nExamples:\n  a -b\n", &mut roff);
        let text = roff.to_roff();
        assert_eq!(
            text.replace(".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n", ""),
            ".SH NOTES\nSome words\nthat go on.\n.SH \"EXIT STATUS\"\n.nf\n  0  done\n  .5 odd\n.fi\n.SH EXAMPLES\n.nf\n  \
             a \\-b\n.fi\n"
        );
    }
}
