//! The text of `treevisor --version`: version, commit, target and libzmq.

use crate::link;
use std::sync::LazyLock;

/// The commit, found by `build.rs`.
const COMMIT: Option<&str> = option_env!("TREEVISOR_COMMIT");

/// The long form, with lines of `name: value` below the version.
pub(super) fn long() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| text(COMMIT, env!("TREEVISOR_TARGET"), link::libzmq_version(), link::has_doors()));
    &TEXT
}

fn text(commit: Option<&str>, target: &str, (major, minor, patch): (i32, i32, i32), is_ours: bool) -> String {
    let whose = if is_ours {
        "treevisor's edited build, compiled in"
    } else {
        "WARNING: the system's, not treevisor's edited build: it may abort when descriptors run out"
    };
    format!(
        "{}\ncommit: {}\ntarget: {target}\nlibzmq: {major}.{minor}.{patch}, {whose}",
        env!("CARGO_PKG_VERSION"),
        commit.unwrap_or("unknown"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_commit_and_target_and_whose_libzmq_it_is() {
        let ours = text(Some("0123456789ab"), "x86_64-unknown-linux-musl", (4, 3, 5), true);
        let lines: Vec<_> = ours.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "commit: 0123456789ab",
                "target: x86_64-unknown-linux-musl",
                "libzmq: 4.3.5, treevisor's edited build, compiled in"
            ]
        );
        let other = text(None, "x", (4, 3, 4), false);
        assert!(
            other.contains("commit: unknown\n") && other.contains("\nlibzmq: 4.3.4, WARNING: the system's"),
            "{other}"
        );
    }
}
