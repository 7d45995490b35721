//! What a TAB offers while a tree runs, asked by the shells themselves.

use crate::harness::*;
use std::fs;
use std::process::{Command, Stdio};

const TREE: &str = "
name = \"shop\"

[[child]]
name = \"db\"
command = \"sleep 1000\"

[[child]]
name = \"web\"

  [[child.child]]
  name = \"api\"
  command = \"sleep 1000\"

  [[child.child]]
  name = \"jobs\"
  command = \"sleep 1000\"
  count = 2
";

/// Reads the script, and then asks for the completions of a line with two words behind the program's name.
const BASH: &str = "
source \"$1\"
COMP_WORDS=(treevisor \"${@:2}\") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
_clap_complete_treevisor treevisor \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
printf '%s\\n' \"${COMPREPLY[@]}\"
";

/// In the place of the widgets of a zsh that edits a line, what they would be given is printed.
const ZSH: &str = "
compdef() { : }
_describe() { print -rl -- ${(P)3} }
source \"$1\"
words=(treevisor \"${@:2}\") CURRENT=$#
_clap_dynamic_completer_treevisor
";

const FISH: &str = "
source $argv[1]
complete -C \"treevisor $argv[2..]\"
";

/// What the shell offers, without the explanations that it has beside it; `None` where there is no such shell.
fn offered(tree: &Tree, shell: &str, words: &[&str]) -> Option<Vec<String>> {
    let registration = tree.dir().join(format!("completions.{shell}"));
    fs::write(&registration, tree.run(&["completions", shell]).expect(0).stdout).unwrap();
    let text = match shell {
        "bash" => BASH,
        "zsh" => ZSH,
        _ => FISH,
    };
    let script = tree.dir().join(format!("ask.{shell}"));
    fs::write(&script, text).unwrap();
    let mut command = Command::new(shell);
    match shell {
        "bash" => command.args(["--norc", "--noprofile"]),
        "zsh" => command.arg("-f"),
        _ => command.arg("--no-config"),
    };
    let output = command
        .arg(&script)
        .arg(&registration)
        .args(words)
        .current_dir(tree.dir())
        .env("TREEVISOR_RUNTIME_DIR", tree.dir().join("run"))
        .env("HOME", tree.dir())
        .env_remove("TREEVISOR_INSTANCE")
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(_) => {
            eprintln!("notice: there is no {shell} here; its completions are not tried");
            return None;
        }
    };
    assert!(output.stderr.is_empty(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let value = |line: &str| line.split(['\t', ':']).next().unwrap_or_default().to_owned();
    let mut found: Vec<_> = text.lines().map(value).filter(|value| !value.is_empty()).collect();
    found.sort();
    Some(found)
}

#[test]
fn paths_and_instances_are_those_that_run() {
    let tree = Tree::start(TREE);
    for shell in ["bash", "zsh", "fish"] {
        let Some(found) = offered(&tree, shell, &["restart", "/web/"]) else { continue };
        assert_eq!(found, ["/web/api", "/web/jobs-1", "/web/jobs-2"], "{shell}");
        assert_eq!(offered(&tree, shell, &["panic", "web/a"]).unwrap(), ["web/api"], "{shell}");
        // What `start` takes is a file or a path.
        assert_eq!(offered(&tree, shell, &["start", "/web/j"]).unwrap(), ["/web/jobs-1", "/web/jobs-2"], "{shell}");
        assert_eq!(offered(&tree, shell, &["start", "tree.t"]).unwrap(), ["tree.toml"], "{shell}");
        assert_eq!(offered(&tree, shell, &["status", "-i", "s"]).unwrap(), ["shop"], "{shell}");
        assert_eq!(offered(&tree, shell, &["status", "-i", "shop", "/d"]).unwrap(), ["/db"], "{shell}");
        assert_eq!(offered(&tree, shell, &["status", "-i", "farm", "/d"]).unwrap(), [""; 0], "{shell}");
    }
    tree.stop();
}

#[test]
fn a_root_that_stands_still_is_not_waited_for() {
    let tree = Tree::start(TREE);
    signal(tree.root_pid(), 19);
    let begun = std::time::Instant::now();
    if let Some(found) = offered(&tree, "bash", &["restart", "/web/"]) {
        assert_eq!(found, ["/web/api", "/web/jobs-1", "/web/jobs-2"]);
        assert!(begun.elapsed() < LIMIT / 2);
    }
    signal(tree.root_pid(), 18);
    tree.stop();
}
