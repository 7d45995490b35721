//! The parameters of a scrape, which select a part of the page. The options of `treevisor metrics` are the same.

use crate::pattern::Pattern;
use crate::wire::view::ChildView;

/// Which series are wanted; all by default.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Include the series of workers.
    pub workers: bool,
    /// Include the series about the resources that processes use.
    pub usage: bool,
    /// Only series about paths that match one of these patterns; about all paths if there are none.
    pub paths: Vec<Pattern>,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted { workers: true, usage: true, paths: Vec::new() }
    }
}

/// For a scrape of the console; a tool has options.
#[cfg(any(test, feature = "web"))]
impl Wanted {
    /// Sets one parameter of a scrape; `path` may be given several times.
    ///
    /// # Errors
    /// The parameter's name, and the values that it may have.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
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

    /// Whether patterns are given, and no path at or below this child matches one of them.
    pub(crate) fn finds_nothing(&self, view: &ChildView) -> bool {
        !self.paths.is_empty() && !self.names(view)
    }

    fn names(&self, view: &ChildView) -> bool {
        let here = self.paths.iter().any(|pattern| pattern.matches(view.path()));
        here || view.children().iter().any(|child| self.names(child))
    }
}

impl Wanted {
    /// Whether the series about this child are wanted.
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
