//! Which part of a page is wanted: the parameters of a scrape, which are the options of `treevisor metrics`.

use crate::pattern::Pattern;
use crate::wire::view::ChildView;

/// Which series are wanted; all by default.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Those of workers.
    pub workers: bool,
    /// What processes use.
    pub usage: bool,
    /// Only what is about paths like one of these; about all where there are none.
    pub paths: Vec<Pattern>,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted { workers: true, usage: true, paths: Vec::new() }
    }
}

impl Wanted {
    /// Takes in one parameter of a scrape; `path` may come again.
    ///
    /// # Errors
    /// Which parameter it is, and what it may be.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match (name, value) {
            ("workers", "all") => self.workers = true,
            ("workers", "none") => self.workers = false,
            ("usage", "true") => self.usage = true,
            ("usage", "false") => self.usage = false,
            ("path", _) => {
                let pattern = Pattern::parse(value).map_err(|error| format!("path=\"{value}\": {error}"))?;
                self.paths.push(pattern);
            }
            ("workers", _) => return Err(format!("workers=\"{value}\": it is all or none")),
            ("usage", _) => return Err(format!("usage=\"{value}\": it is true or false")),
            _ => return Err(format!("there is no parameter \"{name}\"; there are workers, path and usage")),
        }
        Ok(())
    }

    /// Whether paths are wanted, and nothing at or below this is called like one of them.
    pub fn finds_nothing(&self, view: &ChildView) -> bool {
        !self.paths.is_empty() && !self.names(view)
    }

    fn names(&self, view: &ChildView) -> bool {
        let here = self.paths.iter().any(|pattern| pattern.matches(view.path()));
        here || view.children().iter().any(|child| self.names(child))
    }

    /// Whether what is about this child is wanted.
    pub(super) fn has(&self, view: &ChildView) -> bool {
        (self.workers || view.is_supervisor())
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(view.path())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_or_refused() {
        let mut wanted = Wanted::default();
        for (name, value) in [("workers", "none"), ("usage", "false"), ("path", "/web/**"), ("path", "db")] {
            wanted.set(name, value).unwrap();
        }
        assert!(!wanted.workers && !wanted.usage && wanted.paths.len() == 2);
        for (name, value, says) in [
            ("workers", "some", "all or none"),
            ("usage", "", "true or false"),
            ("x", "1", "no parameter"),
            ("path", "/[", "pattern"),
        ] {
            let error = wanted.set(name, value).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
