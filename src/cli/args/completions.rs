//! Options of `treevisor completions`.

use clap::{Args, ValueEnum};

/// Prints what a shell needs in order to complete
///
/// Verbs, options and files are completed, and the paths and instances of what runs just then: the shell asks this
/// program at each TAB. What is printed belongs to this version, so have your shell ask for it anew.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Where to:
  bash  in ~/.bashrc:                  source <(treevisor completions bash)
  zsh   in ~/.zshrc, after compinit:   source <(treevisor completions zsh)
  fish  in ~/.config/fish/config.fish: treevisor completions fish | source

Examples:
  source <(treevisor completions bash)
")]
pub struct Completions {
    /// Which shell: bash, zsh or fish
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub shell: Shell,
}

/// A shell that can complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Shell {
    /// bash(1)
    Bash,
    /// zsh(1)
    Zsh,
    /// fish(1)
    Fish,
}
