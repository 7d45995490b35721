//! Converts `ExecStart=` with prefixes, quotes, variables and specifiers into the words of a command.

use super::super::draft::{Draft, Note, Setting, array};
use super::super::value::{self, Piece, Value};
use super::unit::Unit;
use super::{specifier, words};
use std::collections::BTreeMap;

/// The variables that a unit sets.
pub(super) type Variables = BTreeMap<String, Value>;

/// A word of a command.
#[derive(Debug, PartialEq, Eq)]
enum Argument {
    Word(Value),
    /// A word with a variable that the unit's `Environment=` does not set.
    Open(Value),
    /// A variable whose value is split into words when it is known.
    Split(String),
}

/// One command of a line.
#[derive(Debug, Default)]
pub(super) struct Command {
    prefixes: String,
    words: Vec<String>,
    /// Words with a backslash that is not part of an escape.
    odd: Vec<String>,
}

/// A command, and the setting that contains it.
pub(super) type Written<'u> = (&'u Setting, Command);

/// Sets the worker's command. Returns the commands to be run before it, one after the other.
pub(super) fn command<'u>(
    unit: &'u Unit<'_>,
    kind: &str,
    variables: &Variables,
    worker: &mut Draft,
) -> Vec<Written<'u>> {
    let mut before = written(unit, "ExecStartPre", worker);
    let mut own = written(unit, "ExecStart", worker);
    let first = own.is_empty() && unit.all("Service", "ExecStart").is_empty();
    // The commands of a oneshot are run one after the other; other types have one command.
    let last = if kind == "oneshot" { own.pop() } else { (!own.is_empty()).then(|| own.remove(0)) };
    if kind == "oneshot" {
        before.append(&mut own);
    }
    for (setting, command) in own {
        worker.note(setting.note(format!("only one command is run, and not {}", command.words.join(" "))));
    }
    if let Some((setting, command)) = last
        && let Err(why) = one("command", unit, setting, command, variables, worker)
    {
        worker.note(setting.note(why));
    }
    if first {
        worker.note(Note::at(&unit.file, 1, &unit.named.name, "has no ExecStart"));
    }
    if !worker.has("command") {
        worker.off = true;
    }
    before
}

/// The variable in which systemd passes the main process id to other commands, and its name in treevisor.
const PROCESS: &str = "MAINPID";
const PROCESS_HERE: &str = "TREEVISOR_PID";

/// Sets the command that asks the worker to stop.
pub(super) fn stop(unit: &Unit<'_>, kind: &str, variables: &Variables, worker: &mut Draft) {
    let mut commands = written(unit, "ExecStop", worker).into_iter();
    if kind == "oneshot" {
        let why = "a step has ended when the next child is started, and nothing is undone at the end of the tree";
        return commands.for_each(|(setting, _)| worker.note(setting.note(why)));
    }
    let Some((setting, mut command)) = commands.next() else { return };
    for (setting, command) in commands {
        worker.note(setting.note(format!("one command alone is run, and not {}", command.words.join(" "))));
    }
    for word in &mut command.words {
        if [format!("${PROCESS}"), format!("${{{PROCESS}}}")].contains(word) {
            *word = format!("${PROCESS_HERE}");
        }
    }
    let set = if command.words.iter().any(|word| word.contains(&format!("${{{PROCESS}}}"))) {
        Err(format!("{PROCESS} is part of a word: write the command by hand, with {PROCESS_HERE}"))
    } else {
        one("stop-command", unit, setting, command, variables, worker)
    };
    worker.note(setting.note(match set {
        Ok(()) => "no signal follows it: it has to make the program end; it is not run when that ends by itself".into(),
        Err(why) => why,
    }));
}

/// Makes steps of these commands, with the user, directory and environment of the worker that they come before.
pub(super) fn steps(
    unit: &Unit<'_>,
    commands: Vec<Written<'_>>,
    variables: &Variables,
    worker: &mut Draft,
) -> Vec<Draft> {
    let mut steps = Vec::new();
    for (number, (setting, command)) in commands.into_iter().enumerate() {
        let name = if number == 0 { "pre".to_owned() } else { format!("pre-{}", number + 1) };
        let mut step = worker.step(&name);
        match one("command", unit, setting, command, variables, &mut step) {
            Ok(()) => steps.push(step),
            Err(why) => worker.note(setting.note(why)),
        }
    }
    steps
}

/// All commands of a key.
fn written<'u>(unit: &'u Unit<'_>, key: &str, worker: &mut Draft) -> Vec<Written<'u>> {
    let mut all = Vec::new();
    for setting in unit.all("Service", key) {
        match commands(&setting.value) {
            Ok(commands) => all.extend(commands.into_iter().map(|command| (setting, command))),
            Err(why) => worker.note(setting.note(why)),
        }
    }
    all
}

/// The commands of a line, separated by a semicolon as a word of its own.
fn commands(text: &str) -> Result<Vec<Command>, String> {
    let mut done = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let mut command = Command::default();
        while let Some(word) = words::first(rest)? {
            // Only the unquoted, unescaped semicolon is a separator.
            let written = rest[..rest.len() - word.rest.len()].trim();
            rest = word.rest;
            match written {
                ";" => break,
                "\\;" => command.words.push(";".into()),
                _ => {
                    if word.odd {
                        command.odd.push(written.to_owned());
                    }
                    command.words.push(word.word);
                }
            }
        }
        if let Some(program) = command.words.first_mut() {
            let bare = program.trim_start_matches(['-', '@', ':', '+', '!', '|']).to_owned();
            command.prefixes = program[..program.len() - bare.len()].to_owned();
            *program = bare;
            done.push(command);
        }
        if rest.is_empty() {
            return Ok(done);
        }
    }
}

/// Sets a key to a command.
fn one(
    key: &'static str,
    unit: &Unit<'_>,
    setting: &Setting,
    mut command: Command,
    variables: &Variables,
    worker: &mut Draft,
) -> Result<(), String> {
    for prefix in command.prefixes.chars().collect::<std::collections::BTreeSet<_>>() {
        match prefix {
            '-' => worker.note(setting.note("`-`: a failure counts as one here")),
            '@' if command.words.len() > 1 => {
                let called = command.words.remove(1);
                worker.note(setting.note(format!("`@`: the program is not called {called} in its own arguments")));
            }
            '@' | ':' => {}
            '|' => worker.note(setting.note("`|`: no login shell stands around it")),
            _ => worker.note(setting.note(format!("`{prefix}`: it runs with the rights of `user`"))),
        }
    }
    for word in command.odd {
        worker.note(setting.note(format!("{word} holds a backslash that begins no escape; it stays as it is")));
    }
    let bare = command.prefixes.contains(':');
    let mut arguments = Vec::new();
    for (index, word) in command.words.iter().enumerate() {
        let word = unit.named.specified(word)?;
        if index == 0 || bare {
            // systemd does not expand a variable as the name of the program.
            arguments.push(Argument::Word(word));
        } else {
            if let Some(lost) = substitute(&word, variables, &mut arguments) {
                worker.note(setting.note(format!("{lost} names no variable, and systemd leaves the word out")));
            }
        }
    }
    if specifier::names_host(&setting.value) {
        worker.note(setting.note("the name is that of the host on which this was made"));
    }
    let mut split: Vec<&str> = Vec::new();
    for argument in &arguments {
        if let Argument::Split(name) = argument
            && name != PROCESS_HERE
            && !split.contains(&name.as_str())
        {
            split.push(name);
        }
    }
    if !split.is_empty() {
        worker.note(setting.note(format!(
            "a shell cuts what {} holds into words, and then becomes the program; quotes in it are not heeded",
            split.join(", ")
        )));
    }
    // The TOML's variables are those of the tree. One that may be set by a file is expanded by a shell, which has it.
    let has_files = !unit.all("Service", "EnvironmentFile").is_empty();
    let is_plain = arguments.iter().all(|argument| match argument {
        Argument::Word(_) => true,
        Argument::Open(_) => !has_files,
        Argument::Split(_) => false,
    });
    let written = if is_plain { plain(&arguments) } else { by_shell(&arguments) };
    worker.set(key, array(&written), Some(setting));
    Ok(())
}

fn plain(arguments: &[Argument]) -> Vec<String> {
    let word = |argument: &Argument| match argument {
        Argument::Word(word) | Argument::Open(word) => word.in_toml(),
        Argument::Split(name) => Value::variable(name).in_toml(),
    };
    arguments.iter().map(word).collect()
}

/// The command by a shell that expands variables, and splits them into words, but does not expand patterns.
fn by_shell(arguments: &[Argument]) -> Vec<String> {
    let mut script = "exec".to_owned();
    for argument in arguments {
        script.push(' ');
        match argument {
            Argument::Split(name) => script.push_str(&format!("${name}")),
            Argument::Word(word) | Argument::Open(word) => script.push_str(&quoted(word)),
        }
    }
    vec!["/bin/sh".into(), "-fc".into(), Value::plain(&script).in_toml()]
}

/// A word quoted for the shell.
fn quoted(word: &Value) -> String {
    let bare =
        |piece: &Piece| matches!(piece, Piece::Char(c) if c.is_ascii_alphanumeric() || "_/.-+:,@%=".contains(*c));
    if word.is_empty() {
        return "''".into();
    }
    if word.pieces().iter().all(bare) {
        return word.in_toml();
    }
    let mut out = String::new();
    let mut open = false;
    for piece in word.pieces() {
        let within = !matches!(piece, Piece::Char('\'') | Piece::Variable { .. });
        if within != open {
            out.push('\'');
            open = within;
        }
        match piece {
            Piece::Char('\'') => out.push_str("\\'"),
            Piece::Char(c) => out.push(*c),
            Piece::Variable { name, default } => {
                out.push_str(&format!("\"{}\"", value::variable(name, default.as_deref())));
            }
        }
    }
    if open {
        out.push('\'');
    }
    out
}

/// Expands variables in a word: those of the unit by their value, all others from the environment of the tree. `$NAME`
/// as a word of its own becomes as many words as its value has. Returns a word that systemd drops.
fn substitute(word: &Value, variables: &Variables, arguments: &mut Vec<Argument>) -> Option<String> {
    let pieces = word.pieces();
    let dollar = Piece::Char('$');
    if pieces.first() == Some(&dollar) && !matches!(pieces.get(1), Some(Piece::Char('$' | '{'))) {
        let name: Option<String> =
            pieces[1..].iter().map(|piece| if let Piece::Char(c) = piece { Some(*c) } else { None }).collect();
        let Some(name) = name.filter(|name| is_variable(name)) else { return Some(word.in_toml().replace("$$", "$")) };
        match variables.get(&name).map(|value| (value.text(), value)) {
            Some((Some(text), _)) => {
                arguments.extend(words::of_value(&text).iter().map(|word| Argument::Word(Value::plain(word))));
            }
            // The value of a specifier contains no blanks.
            Some((None, value)) => arguments.push(Argument::Word(value.clone())),
            None => arguments.push(Argument::Split(name)),
        }
        return None;
    }
    let mut out = Value::default();
    let mut open = false;
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        at += 1;
        if *piece != dollar {
            out.push(piece.clone());
            continue;
        }
        match pieces.get(at) {
            Some(Piece::Char('$')) => at += 1,
            Some(Piece::Char('{')) => {
                let inner = &pieces[at + 1..];
                let end = inner.iter().position(|piece| *piece == Piece::Char('}'));
                let name: Option<String> = end.and_then(|end| {
                    inner[..end].iter().map(|piece| if let Piece::Char(c) = piece { Some(*c) } else { None }).collect()
                });
                if let (Some(end), Some(name)) = (end, name.filter(|name| is_variable(name))) {
                    open |= !variables.contains_key(&name);
                    out.append(variables.get(&name).unwrap_or(&Value::variable(&name)));
                    at += end + 2;
                    continue;
                }
            }
            _ => {}
        }
        out.push(dollar.clone());
    }
    arguments.push(if open { Argument::Open(out) } else { Argument::Word(out) });
    None
}

pub(super) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|c| c == b'_' || c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn substituted(text: &str) -> Vec<String> {
        let variables: Variables =
            [("A", "x"), ("B", "-y 'z w'"), ("E", "")].map(|(name, value)| (name.into(), Value::plain(value))).into();
        let mut arguments = Vec::new();
        words::words(text)
            .unwrap()
            .iter()
            .for_each(|word| drop(substitute(&Value::plain(word), &variables, &mut arguments)));
        if arguments.iter().any(|argument| matches!(argument, Argument::Split(_))) {
            by_shell(&arguments)
        } else {
            plain(&arguments)
        }
    }

    #[test]
    fn variables_in_words_and_as_words() {
        for (text, right) in [
            ("${A} a${A}b $A", vec!["x", "axb", "x"]),
            ("$B ${B} $E ${E}", vec!["-y", "z w", "-y 'z w'", ""]),
            ("$$A $$5 a$b ${A:-q} ${", vec!["$$A", "$$5", "a$$b", "$${A:-q}", "$${"]),
            ("${N}/x", vec!["${N:-}/x"]),
            ("$5 $ $a-b", vec![]),
        ] {
            assert_eq!(substituted(text), right, "{text}");
        }
        assert_eq!(
            substituted("/bin/a [%s] \"it's\" $N ${M}x '' ${M} -y=1"),
            ["/bin/sh", "-fc", r#"exec /bin/a '[%s]' 'it'\''s' $$N "$${M:-}"'x' '' "$${M:-}" -y=1"#]
        );
    }

    #[test]
    fn several_commands_in_a_line() {
        let found = commands(r"-@/bin/a b ; +/bin/c \; ';' \d").unwrap();
        let shown: Vec<_> =
            found.iter().map(|command| format!("{}|{}", command.prefixes, command.words.join(","))).collect();
        assert_eq!(shown, ["-@|/bin/a,b", r"+|/bin/c,;,;,\d"]);
        assert_eq!(found[1].odd, [r"\d"]);
        assert!(commands("").unwrap().is_empty() && commands("/bin/a 'b").is_err());
    }
}
