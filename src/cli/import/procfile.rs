//! Procfiles, as of foreman and its kin: `name: command`, a line for a shell each.

use super::draft::{Draft, Note, array, dollars};
use crate::spec::print::basic;
use std::rc::Rc;

/// foreman's first port, and how far apart those of two processes stand.
const PORT: u32 = 5000;
const PORT_STEP: u32 = 100;

/// More of one process than this nobody asks for on purpose.
const MANY: u32 = 10_000;

/// Makes a tree of the Procfile called `file`. `formation` says how many of each.
pub(super) fn read(file: &Rc<str>, text: &str, formation: &[(String, u32)]) -> Draft {
    let mut tree = Draft::default();
    tree.about.push(
        "Each line is run by a shell, as foreman does. When one process ends, foreman ends \
         all of them; here it"
            .into(),
    );
    tree.about.push("is started again.".into());
    let mut asked: Vec<_> = formation.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "all").collect();
    for (index, (line, name, command)) in entries(file, text, &mut tree).into_iter().enumerate() {
        asked.retain(|asked| *asked != name);
        let wanted = |wanted: &str| formation.iter().rev().find(|(name, _)| name == wanted).map(|(_, count)| *count);
        let count = wanted(&name).or_else(|| wanted("all")).unwrap_or(1).min(MANY);
        let mut about = Vec::new();
        // With `exec`, the signal that asks it to stop goes to the program and not to a shell around it.
        let simple =
            !command.contains(['|', '&', ';', '<', '>', '(', ')', '`', '\n', '=']) && !command.starts_with("exec ");
        let shell = if simple { format!("exec {command}") } else { command.clone() };
        if !simple && !command.starts_with("exec ") {
            about.push(
                "A shell stands around it: what asks it to stop goes to the shell alone, the rest \
                 is killed. `exec` helps."
                    .to_owned(),
            );
        }
        let words = ["sh".to_owned(), "-c".to_owned(), dollars(&shell)];
        let base = PORT + PORT_STEP * u32::try_from(index).unwrap_or(0);
        let ports = command.contains("PORT");
        let once = name == "release";
        // A port is one process's own, so such processes stand one by one.
        let each = if ports && count > 1 { count } else { 1 };
        for number in 0..each {
            let mut child = Draft::new(&if each > 1 { format!("{name}-{}", number + 1) } else { name.clone() });
            child.about = about.clone();
            child.set("command", array(&words), None);
            if each == 1 && count > 1 {
                child.set("count", count.to_string(), None);
            }
            if ports {
                child.set("env", format!("{{ PORT = {} }}", basic(&(base + number).to_string())), None);
            }
            child.off = count == 0 || once;
            if once {
                child.note(Note::at(
                    file,
                    line,
                    "release",
                    "is run once at each release, before the \
                     others; do so yourself",
                ));
            } else if count == 0 {
                child.note(Note::at(file, line, &name, "is not to run, by the formation"));
            }
            tree.children.push(child);
        }
    }
    for name in asked {
        tree.note(Note::at(file, 0, name, "stands in the formation and not in the file"));
    }
    tree
}

/// The lines, with their numbers.
fn entries(file: &Rc<str>, text: &str, tree: &mut Draft) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let fine =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        match trimmed.split_once(':') {
            Some((name, command)) if fine(name) && !command.trim().is_empty() => {
                found.push((index + 1, name.to_owned(), command.trim().to_owned()));
            }
            _ => tree.note(Note::at(file, index + 1, trimmed, "is no line of a Procfile, such as `web: ./server`")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str, formation: &[(&str, u32)]) -> String {
        let formation: Vec<_> = formation.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        read(&"Procfile".into(), text, &formation).to_toml()
    }

    #[test]
    fn ports_are_foremans_and_dollars_the_shells() {
        let text = toml("web: serve -p $PORT\n# no\njob: echo ${HOME} | cat\n", &[("web", 2), ("job", 3)]);
        assert!(
            text.contains(
                "name = \"web-1\"\ncommand = [\"sh\", \"-c\", \"exec serve -p \
             $$PORT\"]\nenv = { PORT = \"5000\" }"
            ),
            "{text}"
        );
        assert!(text.contains("env = { PORT = \"5001\" }"), "{text}");
        assert!(
            text.contains(
                "name = \"job\"\ncommand = [\"sh\", \"-c\", \"echo $${HOME} | \
             cat\"]\ncount = 3"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_line_is_named() {
        let text = toml("web ./x\nrelease: ./migrate\n", &[("wob", 1)]);
        assert!(text.contains("# differs: Procfile:1: web ./x: is no line"), "{text}");
        assert!(text.contains("# [[child]]\n# name = \"release\""), "{text}");
        assert!(text.contains("wob: stands in the formation"), "{text}");
    }
}
