//! Finds the most telling line in a worker's last output.

/// The line that shows what went wrong: the last one that is neither part of a stack trace, nor a bracket, nor a
/// closing remark of a runtime. Returns its index, and the line without surrounding blanks.
pub(super) fn telling(output: &[String]) -> Option<(usize, &str)> {
    let lines = || output.iter().map(|line| line.trim_end()).enumerate();
    // Go prints this line first, followed by the traces of all goroutines.
    let headed = lines().find(|(_, line)| ["panic: ", "fatal error: "].iter().any(|head| line.starts_with(head)));
    let said = lines().rfind(|(_, line)| !is_noise(line));
    headed.or(said).or_else(|| lines().rfind(|(_, line)| !line.is_empty())).map(|(at, line)| (at, line.trim()))
}

fn is_noise(line: &str) -> bool {
    let bare = line.trim();
    let is_bracket = bare.chars().all(|c| "{}[]()^~,;".contains(c) || c.is_whitespace());
    // The lines of a stack trace are indented; Node.js, Rust and other runtimes print a remark after it.
    is_bracket
        || line.starts_with([' ', '\t'])
        || ["Node.js v", "note: run with `RUST_BACKTRACE", "exit status "].iter().any(|head| bare.starts_with(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_found_above_traces_and_farewells() {
        for (output, line) in [
            ("loading\nI/O error", Some((1, "I/O error"))),
            (
                "/app/x.js:3\n    throw new Error(\"boom\");\n    ^\n\nError: boom\n    at f (x.js:3:11) {\n  code: 'E'\n}\n\nNode.js v20.20.2",
                Some((4, "Error: boom")),
            ),
            ("Traceback (most recent call last):\n  File \"x.py\", line 1\nValueError: x", Some((2, "ValueError: x"))),
            (
                "thread 'main' panicked at src/main.rs:2:5:\nboom\nnote: run with `RUST_BACKTRACE=1` environment variable",
                Some((1, "boom")),
            ),
            (
                "up\npanic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:4 +0x1\nexit status 2",
                Some((1, "panic: boom")),
            ),
            (
                "Exception in thread \"main\" Boom: x\n\tat Main.main(Main.java:3)",
                Some((0, "Exception in thread \"main\" Boom: x")),
            ),
            ("  indented alone", Some((0, "indented alone"))),
            ("", None),
        ] {
            let output: Vec<String> = output.split('\n').map(str::to_owned).collect();
            assert_eq!(telling(&output), line, "{output:?}");
        }
    }
}
