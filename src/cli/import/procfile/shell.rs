//! Whether a line for a shell is one plain command, so that `exec` can put its program into the shell's place.
//!
//! A shell that stays around its program gets the signal that asks to stop, and the program does not. Whatever is more
//! than a plain command, or might be something else than a program, is left as it is.

/// What is no program, or another one than the shell's own: words of the language, builtins.
const OWN: &[&str] = &[
    "!", ".", ":", "[", "[[", "{", "}", "((", "alias", "bg", "bind", "break", "builtin", "caller", "case", "cd",
    "command", "compgen", "complete", "continue", "coproc", "declare", "dirs", "disown", "do", "done", "echo", "elif",
    "else", "enable", "esac", "eval", "exec", "exit", "export", "false", "fc", "fg", "fi", "for", "function",
    "getopts", "hash", "help", "history", "if", "in", "jobs", "kill", "let", "local", "logout", "popd", "printf",
    "pushd", "pwd", "read", "readonly", "return", "select", "set", "shift", "shopt", "source", "suspend", "test",
    "then", "time", "times", "trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset", "until", "wait",
    "while",
];

/// The line as it is given to `sh -c`, and whether its program takes the shell's place.
pub(super) fn line(command: &str) -> (String, bool) {
    if plain(command.strip_prefix("exec ").unwrap_or_default()) {
        return (command.to_owned(), true);
    }
    if plain(command) {
        return (format!("exec {command}"), true);
    }
    // Variables in front of a program are what env(1) takes too.
    if let Some(program) = assignments(command)
        && plain(program)
    {
        return (format!("exec env {command}"), true);
    }
    (command.to_owned(), false)
}

/// Whether a line is one command that begins with the name of a program. Redirections are part of one.
fn plain(command: &str) -> bool {
    let first: String = command.chars().take_while(|c| !c.is_whitespace()).collect();
    let named = |c: char| c.is_ascii_alphanumeric() || "_-./+@:%,".contains(c);
    !first.is_empty() && first.chars().all(named) && !OWN.contains(&first.as_str()) && one_command(command)
}

/// Whether a line holds one command alone.
fn one_command(text: &str) -> bool {
    let mut quote = None;
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') => quote = None,
            (Some('\''), _) => {}
            // What is run within is run by the shell before it is gone.
            (_, '`') => return false,
            (_, '$') if chars.peek() == Some(&'(') => return false,
            (_, '\\') => {
                if chars.next().is_none() {
                    return false;
                }
            }
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '|' | ';' | '(' | ')' | '\n') => return false,
            (None, '#') if before.is_whitespace() => return true,
            (None, '&') if !matches!(before, '>' | '<') => return false,
            (None, '<') if chars.peek() == Some(&'<') => return false,
            (None, _) => {}
        }
        before = c;
    }
    quote.is_none()
}

/// What follows the `NAME=value` words at the beginning. `None` where there are none, or where a value means something
/// else as an argument: a shell cuts arguments into words and looks for files, and values of variables it does not.
fn assignments(command: &str) -> Option<&str> {
    let mut rest = command;
    let mut found = false;
    loop {
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|end| rest[*end..].starts_with('='));
        let Some(end) = end.filter(|end| *end > 0 && !rest.starts_with(|c: char| c.is_ascii_digit())) else {
            return found.then_some(rest);
        };
        let length = value(&rest[end + 1..])?;
        rest = rest[end + 1 + length..].trim_start();
        found = true;
    }
}

/// How long a value is that means the same everywhere.
fn value(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some('"'), '\\' | '`') => return None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_whitespace() => return Some(at),
            (None, c) if "$~*?[]\\`|&;<>(){}!#".contains(c) => return None,
            (None, _) => {}
        }
    }
    quote.is_none().then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_take_the_shells_place() {
        for (text, right) in [
            ("bundle exec puma -p $PORT", "exec bundle exec puma -p $PORT"),
            ("./x --a=b 'c;d' \"e|f\"", "exec ./x --a=b 'c;d' \"e|f\""),
            ("node x.js >>log/x 2>&1 # all of it; yes", "exec node x.js >>log/x 2>&1 # all of it; yes"),
            ("A=1 B='x y' rake", "exec env A=1 B='x y' rake"),
            ("A=\"$B\" rake", "exec env A=\"$B\" rake"),
            ("exec ./x", "exec ./x"),
        ] {
            assert_eq!(line(text), (right.to_owned(), true), "{text}");
        }
    }

    #[test]
    fn what_else_a_shell_can_do_is_left_to_it() {
        for text in [
            "eval ./x",
            ". ./x",
            "! ./x",
            "[ -d x ] && y",
            "time ./x",
            "ulimit -n",
            "echo a",
            "a | b",
            "a; b",
            "a & b",
            "a &",
            "a $(b)",
            "a `b`",
            "a \"`b`\"",
            "$X y",
            "A=$B x",
            "A=~/x y",
            "A=1",
            "A=1 eval x",
            "a 'b",
            "cd x",
            "a <<E",
            "(a)",
            "{ a; }",
            "~/x",
            "if x",
            "exec",
            "exec a; b",
            "a\\",
            "a (b)",
            "exec -a x y",
            "\"a\" b",
        ] {
            let (written, alone) = line(text);
            assert_eq!((written.as_str(), alone), (text, text == "exec -a x y"), "{text}");
        }
    }
}
