//! Procfiles of foreman and similar programs: `name: command`, each a command line for a shell.

use super::draft::{Draft, Note, array};
use super::value::Value;
use crate::spec::print::basic;
use std::rc::Rc;

mod shell;

/// foreman's first port, and the distance between those of two lines.
const PORT: u32 = 5000;
const PORT_STEP: u32 = 100;

/// The name of the process that is run once at each release, before the others.
const RELEASE: &str = "release";

/// Most copies of one process.
const MANY: u32 = 10_000;

/// A line: its number, the name before the colon, and the command for the shell.
struct Entry {
    line: usize,
    name: String,
    command: String,
}

/// The first port by foreman's rule, and its source: `PORT` in `.env`, else in the environment of the import.
pub(super) fn first_port(env_file: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> Option<(u32, &'static str)> {
    let entry = |text: &str| -> Option<String> {
        let value = text.lines().filter_map(|line| line.strip_prefix("PORT=")).next_back()?;
        Some(value.trim_matches(['\'', '"']).to_owned())
    };
    let written = env_file.and_then(entry).map(|port| (port, "`.env`"));
    let (port, from) = written.or_else(|| env("PORT").map(|port| (port, "the environment")))?;
    Some((port.trim().parse::<u16>().ok()?.into(), from))
}

/// Converts the Procfile called `file`; `formation` has the number of copies of each process.
/// `first` is the first port with its source.
pub(super) fn read(
    file: &Rc<str>,
    text: &str,
    formation: &[(String, u32)],
    first: Option<(u32, &'static str)>,
) -> Draft {
    let mut tree = Draft::default();
    if let Some((port, from)) = first {
        tree.note(Note::at(file, 0, &format!("PORT={port}"), format!("the ports begin with it, as {from} has it now")));
    }
    tree.about.push(
        "Each line is run by a shell, as foreman does. When one process ends, foreman ends \
         all of them; here it"
            .into(),
    );
    tree.about.push("is started again.".into());
    let mut asked: Vec<_> = formation.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "all").collect();
    for (index, entry) in entries(file, text, &mut tree).iter().enumerate() {
        asked.retain(|asked| *asked != entry.name);
        let wanted = |wanted: &str| formation.iter().rev().find(|(name, _)| name == wanted).map(|(_, count)| *count);
        let count = wanted(&entry.name).or_else(|| wanted("all")).unwrap_or(1).min(MANY);
        let base = first.map_or(PORT, |(port, _)| port) + PORT_STEP * u32::try_from(index).unwrap_or(0);
        let once = entry.name == RELEASE;
        // It is done before the others start, wherever its line is.
        let place = if once { 0 } else { tree.children.len() };
        tree.children.splice(place..place, workers(file, entry, if once { count.min(1) } else { count }, base));
    }
    for name in asked {
        tree.note(Note::at(file, 0, name, "stands in the formation and not in the file"));
    }
    tree
}

/// The workers of a line. They are written one by one, as each has a port of its own.
fn workers(file: &Rc<str>, entry: &Entry, count: u32, base: u32) -> Vec<Draft> {
    let Entry { line, name, command } = entry;
    let at = |why: &str| Note::at(file, *line, &format!("{name}: {command}"), why);
    let (written, alone) = shell::line(command);
    let words = ["sh".to_owned(), "-c".to_owned(), Value::plain(&written).in_toml()];
    let once = name == RELEASE;
    let mut notes = Vec::new();
    if !Draft::is_name(name) {
        notes.push(at("the name is longer than one may be here"));
    }
    if once && count > 0 {
        notes.push(at("is run at each start of the tree, before the others; a failure keeps the tree from starting"));
    } else if count == 0 {
        notes.push(at("is not to run, by the formation"));
    }
    if !alone {
        notes.push(at("a shell stays around it, so the signal to stop goes to all of its processes"));
    }
    (0..count.max(1))
        .map(|number| {
            let mut child = Draft::new(&if count > 1 { format!("{name}-{}", number + 1) } else { name.clone() });
            child.set("command", array(&words), None);
            if !alone {
                // The command runs below a shell, and foreman sends the stop signal to the whole process group.
                child.set("kill-mode", "\"control-group\"", None);
            }
            if once {
                child.be_a_step("temporary");
            }
            let mut pairs = vec![format!("PORT = {}", basic(&(base + number).to_string()))];
            if command.contains("$PS") || command.contains("${PS") {
                pairs.push(format!("PS = {}", basic(&format!("{name}.{}", number + 1))));
            }
            child.set("env", format!("{{ {} }}", pairs.join(", ")), None);
            child.off = count == 0;
            // The notes apply to all copies, so only the first one gets them.
            child.notes.append(&mut notes);
            child
        })
        .collect()
}

/// The lines that define processes. foreman silently ignores all others.
fn entries(file: &Rc<str>, text: &str, tree: &mut Draft) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let fine =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        match line.split_once(':') {
            Some((name, command)) if fine(name) && !command.trim().is_empty() => {
                if found.iter().any(|entry| entry.name == name) {
                    tree.note(Note::at(file, number, name, "stands there twice; the second is called otherwise"));
                }
                found.push(Entry { line: number, name: name.to_owned(), command: command.trim().to_owned() });
            }
            Some((name, _)) if line.starts_with(char::is_whitespace) && fine(name.trim()) => {
                tree.note(Note::at(file, number, line, "begins with a blank, and foreman passes over it"));
            }
            _ => tree.note(Note::at(file, number, line, "is no line of a Procfile, such as `web: ./server`")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str, formation: &[(&str, u32)]) -> String {
        let formation: Vec<_> = formation.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        read(&"Procfile".into(), text, &formation, None).to_toml()
    }

    #[test]
    fn the_first_port_is_that_of_the_file_then_that_of_the_environment() {
        let set = |name: &str| (name == "PORT").then(|| "4000".to_owned());
        for (file, right) in [
            (Some("A=1\nPORT=3000\n"), Some((3000, "`.env`"))),
            (Some("PORT=3000\nPORT=\"3100\"\n"), Some((3100, "`.env`"))),
            (Some("#PORT=1\n"), Some((4000, "the environment"))),
            (None, Some((4000, "the environment"))),
        ] {
            assert_eq!(first_port(file, &set), right, "{file:?}");
        }
        assert_eq!(first_port(None, &|_| None), None);
        let text = read(&"Procfile".into(), "a: x\nb: y\n", &[], Some((3000, "`.env`"))).to_toml();
        assert!(
            text.contains("# differs: Procfile: PORT=3000: the ports begin with it, as `.env` has it now"),
            "{text}"
        );
        assert!(text.contains("env = { PORT = \"3000\" }") && text.contains("env = { PORT = \"3100\" }"), "{text}");
    }

    #[test]
    fn a_line_that_is_left_to_the_shell_is_named() {
        let text = toml("a: x | y\nb: z\n", &[("a", 2)]);
        assert_eq!(text.matches(": a shell stays around it").count(), 1, "{text}");
    }

    #[test]
    fn ports_are_foremans_and_dollars_the_shells() {
        let text = toml("web: serve -p $PORT\n# no\njob: echo ${HOME} $PS | cat\n", &[("web", 2), ("job", 3)]);
        for part in [
            "name = \"web-1\"\ncommand = [\"sh\", \"-c\", \"exec serve -p $$PORT\"]\nenv = { PORT = \"5000\" }",
            "env = { PORT = \"5001\" }",
            "name = \"job-3\"\ncommand = [\"sh\", \"-c\", \"echo $${HOME} $$PS | cat\"]\nkill-mode = \"control-group\"\nenv = { PORT = \"5102\", PS = \"job.3\" }",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("kill-mode = \"control-group\"").count(), 3, "{text}");
    }

    #[test]
    fn what_is_no_line_is_named() {
        let text = toml("web ./x\n  job: ./y\nrelease: ./migrate\na: x\na: y\n", &[("wob", 1)]);
        assert!(text.contains("# differs: Procfile:1: web ./x: is no line"), "{text}");
        assert!(text.contains("# differs: Procfile:2: job: ./y: begins with a blank"), "{text}");
        assert!(text.contains("[[child]]\nname = \"release\"") && text.contains("ready = \"exit\""), "{text}");
        assert!(text.find("\"release\"") < text.find("\"a\""), "it comes first\n{text}");
        assert!(text.contains("wob: stands in the formation"), "{text}");
        assert!(text.contains("# differs: Procfile:5: a: stands there twice"), "{text}");
    }
}
