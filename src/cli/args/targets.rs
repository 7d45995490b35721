//! Which children are meant: paths, patterns, or all.

use super::path;
use crate::ids::Path;
use clap::Args;

/// One or several children.
#[derive(Debug, Clone, Args)]
pub struct Targets {
    /// What is meant; * stands for any name or part of one, ** for any way down (quote them)
    #[arg(value_name = "PATH", value_parser = pattern)]
    pub paths: Vec<Pattern>,
    /// All children of the root, each with what is below it
    #[arg(long, conflicts_with = "paths")]
    pub all: bool,
}

impl Targets {
    /// What a failure is about that comes before anything is known of the tree.
    pub fn first(&self) -> Path {
        match self.paths.first() {
            Some(Pattern::Path(path)) => path.clone(),
            Some(Pattern::Glob(_)) | None => Path::root(),
        }
    }
}

/// A path, or a pattern that paths are compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Pattern {
    /// This one path.
    Path(Path),
    /// All paths like this.
    Glob(glob::Pattern),
}

impl Pattern {
    /// Whether this path is meant. The root is never meant by a pattern.
    pub fn matches(&self, path: &Path) -> bool {
        // A star stands for a part of one name: what spans several is written with two.
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        match self {
            Pattern::Path(own) => own == path,
            Pattern::Glob(glob) => !path.is_root() && glob.matches_with(path.as_str(), options),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Pattern::Path(path) => path.as_str(),
            Pattern::Glob(glob) => glob.as_str(),
        }
    }
}

/// Names have none of the letters that make a pattern.
fn pattern(text: &str) -> Result<Pattern, String> {
    if !text.contains(['*', '?', '[']) {
        return path(text).map(Pattern::Path);
    }
    let rooted = format!("/{}", text.trim_matches('/'));
    glob::Pattern::new(&rooted)
        .map(Pattern::Glob)
        .map_err(|error| format!("the pattern is not understood: {}", error.msg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_compared_name_by_name() {
        for (text, path, meant) in [
            ("web/*", "/web/api", true),
            ("/web/*", "/web/jobs/a", false),
            ("/web/*", "/web", false),
            ("/web/jobs-*", "/web/jobs-12", true),
            ("/web/jobs-[12]", "/web/jobs-2", true),
            ("/web/jobs-?", "/web/jobs-12", false),
            ("**", "/web/jobs/a", true),
            ("**", "/", false),
            ("/*", "/", false),
            ("/**/api", "/web/in/api", true),
            ("/**/api", "/api", true),
            ("/web", "/web", true),
            ("/web", "/web/api", false),
        ] {
            let pattern = pattern(text).unwrap();
            assert_eq!(pattern.matches(&Path::parse(path).unwrap()), meant, "{text} {path}");
        }
        assert!(pattern("/web/***").is_err() && pattern("/web/[a").is_err() && pattern("/w b").is_err());
    }
}
