//! The text format of Prometheus, version 0.0.4: families, each with its help and type before its rows.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// The type of a family's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A value that rises and falls.
    Gauge,
    /// A value that only rises, or begins anew at 0.
    Counter,
    /// Counts by upper bound, the sum of the values, and their number.
    Histogram,
}

/// A page of metrics that is being written. A family without rows is not printed.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
    name: &'static str,
    /// Type and help of the present family, until its first row is written.
    head: Option<(Kind, &'static str)>,
}

impl Page {
    /// Begins a family; all rows until the next call belong to it.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) {
        (self.name, self.head) = (name, Some((kind, help)));
    }

    /// Adds a row to the family. `labels` and `more` are labels as [`label`] writes them, separated by commas.
    pub(crate) fn row(&mut self, labels: &str, more: &str, value: impl Display) {
        self.row_of("", labels, more, value);
    }

    /// Adds a row whose name ends in `suffix`, for a histogram.
    pub(crate) fn row_of(&mut self, suffix: &str, labels: &str, more: &str, value: impl Display) {
        let Page { text, name, head } = self;
        if let Some((kind, help)) = head.take() {
            let kind = match kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
                Kind::Histogram => "histogram",
            };
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        let comma = if labels.is_empty() || more.is_empty() { "" } else { "," };
        let _ = match labels.is_empty() && more.is_empty() {
            true => writeln!(text, "{name}{suffix} {value}"),
            false => writeln!(text, "{name}{suffix}{{{labels}{comma}{more}}} {value}"),
        };
    }

    /// The text of the page.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// One label with its value.
pub(crate) fn label(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", escaped(value))
}

/// Escapes a value to be put between quotation marks.
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Milliseconds, written as seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Millis(pub u64);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1_000, self.0 % 1_000);
        match millis {
            0 => write!(f, "{seconds}"),
            _ => f.write_str(format!("{seconds}.{millis:03}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_seconds() {
        for (millis, text) in
            [(0, "0"), (5, "0.005"), (250, "0.25"), (61_000, "61"), (1_500, "1.5"), (60_001, "60.001")]
        {
            assert_eq!(Millis(millis).to_string(), text);
        }
    }

    #[test]
    fn a_family_is_announced_once_and_only_where_it_has_rows() {
        let mut page = Page::default();
        page.family("a", Kind::Gauge, "What a is.");
        page.row("", "", 1);
        page.row(&label("x", "1"), &label("y", "2"), 2);
        page.family("b", Kind::Gauge, "What b is.");
        page.family("c", Kind::Histogram, "What c is.");
        page.row_of("_sum", "", &label("y", "2"), Millis(1));
        let expected = "# HELP a What a is.\n# TYPE a gauge\na 1\na{x=\"1\",y=\"2\"} 2\n\
                        # HELP c What c is.\n# TYPE c histogram\nc_sum{y=\"2\"} 0.001\n";
        assert_eq!(page.into_text(), expected);
    }

    /// Reads a label's value back, as a scraper does.
    fn read(text: &str) -> Option<String> {
        let mut letters = text.strip_prefix('"')?.strip_suffix('"')?.chars();
        let mut value = String::new();
        while let Some(letter) = letters.next() {
            value.push(match letter {
                '\\' => match letters.next()? {
                    'n' => '\n',
                    same @ ('\\' | '"') => same,
                    _ => return None,
                },
                '"' | '\n' => return None,
                plain => plain,
            });
        }
        Some(value)
    }

    proptest::proptest! {
        #[test]
        fn any_value_comes_back_from_its_line(value in "[\\\\\"\n a-z\u{0}-\u{20}äλ\u{202e}]{0,12}|.*") {
            let text = label("x", &value);
            assert!(!text.contains('\n'), "{text:?}");
            assert_eq!(read(text.strip_prefix("x=").unwrap()), Some(value));
        }
    }
}
