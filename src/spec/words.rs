//! Splits a command line into words as a POSIX shell does: blanks separate words, quotes and backslashes keep them
//! together, `#` begins a comment. No other shell syntax has a meaning, and no shell is run.

/// The words of `line`; `None` if a quote is not closed or the line ends in a backslash.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    shlex::split(line)
}

/// Whether `word`, as a whole word of a command, looks like shell syntax.
pub(super) fn is_meant_for_a_shell(word: &str) -> bool {
    let redirects = |word: &str| {
        let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
        word.starts_with('>') || word.starts_with('<') || word.starts_with("&>")
    };
    matches!(word, "&&" | "||" | "|" | "|&" | ";" | "&") || redirects(word)
}

/// Whether `word` is a variable that a shell would expand and treevisor does not, such as `$HOME`.
pub(super) fn is_bare_variable(word: &str) -> bool {
    word.strip_prefix('$').is_some_and(|name| {
        name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
            && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_in_a_shell() {
        assert_eq!(split("./api --port 8080").unwrap(), ["./api", "--port", "8080"]);
        assert_eq!(
            split(r#"say "two words" 'and $HOME' a\ b ''"#).unwrap(),
            ["say", "two words", "and $HOME", "a b", ""]
        );
        assert_eq!(split("  \n ").unwrap(), [""; 0]);
        assert_eq!(split("say 'oh"), None);
    }

    #[test]
    fn shells_are_recognised() {
        for word in ["&&", "|", ">", "2>&1", ">>log", "&>x", ";", "<in"] {
            assert!(is_meant_for_a_shell(word), "{word}");
        }
        for word in ["a&b", "--x=>", "-", "http://x/?a&b"] {
            assert!(!is_meant_for_a_shell(word), "{word}");
        }
        assert!(
            is_bare_variable("$HOME") && !is_bare_variable("$") && !is_bare_variable("$1") && !is_bare_variable("a$B")
        );
    }
}
