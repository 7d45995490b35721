//! Options that stand before the verb, and the verbs in their groups.
//!
//! `treevisor -i shop status` is `treevisor status -i shop`: the options are moved behind the verb, so that the verb's
//! own parser accepts or refuses them.

use clap::Command;
use std::ffi::OsString;
use std::fmt::Write;

/// The verbs as the help lists them.
const GROUPS: &[(&str, &[&str])] = &[
    ("Run", &["start", "run", "stop"]),
    ("Look", &["status", "top", "logs", "events", "why", "metrics", "wait", "web"]),
    ("Act", &["restart", "panic", "signal", "reset"]),
    ("Change", &["reload", "add", "remove", "scale", "upgrade"]),
    ("Several machines", &["hosts", "deploy", "host", "move"]),
    ("For workers", &["beat", "notify"]),
    ("Files and shells", &["check", "init", "import", "schema", "completions", "man", "help", "version"]),
];

/// Moves the global options before the verb behind it. If there is no verb, or another option comes before it, the
/// command line is returned unchanged. `arguments` begins with the program's name.
pub(super) fn behind_the_verb(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = arguments.get(at) {
        let word = word.to_string_lossy();
        at += match word.as_ref() {
            "-i" | "--instance" | "--color" => 2,
            "--json" | "--utc" => 1,
            word if word.starts_with("--instance=") || word.starts_with("--color=") => 1,
            word if word.starts_with("-i") => 1,
            word if word.starts_with('-') => return arguments,
            _ => {
                arguments[1..=at].rotate_right(1);
                return arguments;
            }
        };
    }
    arguments
}

/// The help of the whole program, with its verbs in groups, which clap does not support.
pub(super) fn grouped(program: Command) -> Command {
    let heading = *program.get_styles().get_header();
    let name = *program.get_styles().get_literal();
    let width = program.get_subcommands().map(|verb| verb.get_name().len()).max().unwrap_or(0);
    let mut text = String::from("{before-help}{about-with-newline}\n{usage-heading} {usage}\n\n");
    for (group, verbs) in GROUPS {
        let _ = writeln!(text, "{heading}{group}:{heading:#}");
        for verb in verbs.iter().filter_map(|verb| program.find_subcommand(verb)) {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            let _ =
                writeln!(text, "  {name}{}{name:#}{:2$}  {about}", verb.get_name(), "", width - verb.get_name().len());
        }
    }
    let _ = write!(text, "{heading}Options, before or after the verb:{heading:#}\n{{options}}{{after-help}}");
    program.help_template(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn moved(line: &str) -> String {
        let words = behind_the_verb(line.split(' ').map(OsString::from).collect());
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn global_options_are_moved_and_nothing_else() {
        for (line, is) in [
            ("t -i shop status", "t status -i shop"),
            ("t --instance=shop --json status /web", "t status --instance=shop --json /web"),
            ("t -ishop --color never run -- ls -i x", "t run -ishop --color never -- ls -i x"),
            ("t status -i shop", "t status -i shop"),
            ("t -h -i shop status", "t -h -i shop status"),
            ("t -i shop", "t -i shop"),
            ("t -i", "t -i"),
            ("t --json -V", "t --json -V"),
            ("t", "t"),
        ] {
            assert_eq!(moved(line), is);
        }
    }

    #[test]
    fn every_verb_stands_in_one_group() {
        let program = crate::cli::Arguments::command();
        let mut known: Vec<_> = program.get_subcommands().map(Command::get_name).collect();
        let mut listed: Vec<_> = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        known.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, known);
    }
}
