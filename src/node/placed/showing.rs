//! Collects the parts of an agent's report for a status.

use crate::hosts::shown::Shown;

/// The parts of a report that have arrived so far. The parts of one report come one after the other; an incomplete
/// report is dropped when the next one begins.
#[derive(Debug, Default)]
pub(super) struct Showing(Option<Box<Shown>>);

impl Showing {
    /// Adds the next part. Returns the report once it is complete.
    pub(super) fn take(&mut self, part: Shown) -> Option<Box<Shown>> {
        let before = self.0.take().filter(|before| before.question == part.question);
        let whole = match before {
            Some(mut before) => {
                before.children.extend(part.children);
                before.more = part.more;
                before
            }
            None => Box::new(part),
        };
        if whole.more {
            self.0 = Some(whole);
            return None;
        }
        Some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::shown::ChildShown;

    fn part(question: u64, path: &str, more: bool) -> Shown {
        let children = vec![ChildShown { path: path.into(), ..ChildShown::default() }];
        Shown { question, children, more, ..Shown::default() }
    }

    #[test]
    fn an_answer_is_given_once_its_last_part_has_come() {
        let mut showing = Showing::default();
        let paths = |shown: Option<Box<Shown>>| {
            shown.map(|shown| shown.children.into_iter().map(|child| child.path).collect::<Vec<_>>())
        };
        assert_eq!(paths(showing.take(part(1, "/a", false))).unwrap(), ["/a"]);
        assert_eq!(showing.take(part(2, "/a", true)), None);
        assert_eq!(paths(showing.take(part(2, "/b", false))).unwrap(), ["/a", "/b"]);
        // The rest of this report is lost.
        assert_eq!(showing.take(part(3, "/a", true)), None);
        assert_eq!(paths(showing.take(part(4, "/b", false))).unwrap(), ["/b"]);
    }
}
