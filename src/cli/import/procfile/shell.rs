//! Decides whether a command line for a shell is one simple command, so that `exec` can replace the shell by its
//! program.
//!
//! A shell that remains the parent of its program gets the stop signal, and the program does not. A line that is more
//! than a simple command, or may not be a program, is left unchanged.

/// Words that are not names of programs, or that the shell implements itself: keywords and builtins.
const OWN: &[&str] = &[
    "!", ".", ":", "[", "[[", "{", "}", "((", "alias", "bg", "bind", "break", "builtin", "caller", "case", "cd",
    "command", "compgen", "complete", "continue", "coproc", "declare", "dirs", "disown", "do", "done", "echo", "elif",
    "else", "enable", "esac", "eval", "exec", "exit", "export", "false", "fc", "fg", "fi", "for", "function",
    "getopts", "hash", "help", "history", "if", "in", "jobs", "kill", "let", "local", "logout", "popd", "printf",
    "pushd", "pwd", "read", "readonly", "return", "select", "set", "shift", "shopt", "source", "suspend", "test",
    "then", "time", "times", "trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset", "until", "wait",
    "while",
];

/// The line for `sh -c`, and whether its program replaces the shell.
pub(super) fn line(command: &str) -> (String, bool) {
    if plain(command.strip_prefix("exec ").unwrap_or_default()) {
        return (command.to_owned(), true);
    }
    if plain(command) {
        return (format!("exec {command}"), true);
    }
    // Assignments before a program can be passed to env(1).
    if let Some(program) = assignments(command)
        && plain(program)
    {
        return (format!("exec env {command}"), true);
    }
    (command.to_owned(), false)
}

/// Whether a line is one simple command that begins with the name of a program. Redirections are allowed.
fn plain(command: &str) -> bool {
    let first: String = command.chars().take_while(|c| !c.is_whitespace()).collect();
    let named = |c: char| c.is_ascii_alphanumeric() || "_-./+@:%,".contains(c);
    !first.is_empty() && first.chars().all(named) && !OWN.contains(&first.as_str()) && one_command(command)
}

/// Whether a line is a single command.
fn one_command(text: &str) -> bool {
    let mut quote = None;
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') => quote = None,
            (Some('\''), _) => {}
            // The shell runs a command substitution before it is replaced.
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

/// The text after the assignments `NAME=value` at the beginning. `None` if there are none, or if a value would mean
/// something else as an argument: a shell splits arguments into words and expands patterns, but not values of
/// assignments.
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

/// The length of a value that means the same as an assignment and as an argument.
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
