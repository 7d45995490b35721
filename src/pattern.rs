//! Paths as operators write them to mean several: `*` within a name, `**` across levels.

use crate::ids::Path;

/// A path, or a pattern that paths are compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Pattern {
    Path(Path),
    /// All paths like this.
    Glob(glob::Pattern),
}

impl Pattern {
    /// Reads one; the slash in front may be left out.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        // Names have none of the letters that make a pattern.
        if !text.contains(['*', '?', '[']) {
            return Path::parse(text).map(Pattern::Path).map_err(|error| error.to_string());
        }
        let rooted = format!("/{}", text.trim_matches('/'));
        glob::Pattern::new(&rooted)
            .map(Pattern::Glob)
            .map_err(|error| format!("the pattern is not understood: {}", error.msg))
    }

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
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(pattern.matches(&Path::parse(path).unwrap()), meant, "{text} {path}");
        }
        let bad = |text| Pattern::parse(text).is_err();
        assert!(bad("/web/***") && bad("/web/[a") && bad("/w b"));
    }
}
