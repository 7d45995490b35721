//! The files of `assets/`, built into the program and served under names that change with their content.
//!
//! A browser may cache an asset for ever, since its name contains a hash over all assets as they are served. One hash
//! serves all of them, because a module imports others by name and so changes whenever they do.

use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::OnceLock;

macro_rules! embedded {
    ($($name:literal $kind:expr,)*) => {
        /// Name, type and content.
        const FILES: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("assets/", $name)))),*];
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const SHEET: &str = "text/css; charset=utf-8";

embedded! {
    "act.js" SCRIPT,
    "app.js" SCRIPT,
    "cluster.js" SCRIPT,
    "console.js" SCRIPT,
    "dom.js" SCRIPT,
    "incident.js" SCRIPT,
    "lines.js" SCRIPT,
    "logs.js" SCRIPT,
    "rows.js" SCRIPT,
    "search.js" SCRIPT,
    "server.js" SCRIPT,
    "stream.js" SCRIPT,
    "style.css" SHEET,
    "tree.js" SCRIPT,
    "view-child.js" SCRIPT,
    "view-hosts.js" SCRIPT,
    "view-incident.js" SCRIPT,
    "view-timeline.js" SCRIPT,
    "view-tree.js" SCRIPT,
    "view-wall.js" SCRIPT,
    "words.js" SCRIPT,
}

const PAGE: &str = include_str!("assets/index.html");

pub(super) struct Asset {
    pub(super) kind: &'static str,
    pub(super) content: Vec<u8>,
    name: String,
}

/// The page and its assets, in which the names of other assets are replaced by those with the hash.
pub(super) struct Assets {
    page: String,
    files: Vec<Asset>,
}

impl Assets {
    /// The assets in this program.
    pub(super) fn own() -> &'static Assets {
        static OWN: OnceLock<Assets> = OnceLock::new();
        OWN.get_or_init(|| Assets::of(PAGE, FILES))
    }

    fn of(page: &str, files: &[(&'static str, &'static str, &str)]) -> Assets {
        let bare: Vec<String> = files.iter().map(|(_, kind, source)| bare(kind, source)).collect();
        let mut hash = Sha256::new();
        for ((name, ..), bare) in files.iter().zip(&bare) {
            hash.update(name.as_bytes());
            hash.update(bare.as_bytes());
        }
        let mut text = String::new();
        for byte in &hash.finalize()[..8] {
            let _ = write!(text, "{byte:02x}");
        }
        let names: Vec<(&str, String)> = files.iter().map(|(name, ..)| (*name, hashed(name, &text))).collect();
        let files = files.iter().zip(&bare).zip(&names).map(|((&(_, kind, _), bare), (_, name))| {
            let content = renamed(bare, "./", &names).into_bytes();
            Asset { kind, content, name: name.clone() }
        });
        Assets { page: renamed(page, "assets/", &names), files: files.collect() }
    }

    /// The HTML page. It contains no data of a tree.
    pub(super) fn page(&self) -> &str {
        &self.page
    }

    /// The asset with this name, which contains the hash.
    pub(super) fn find(&self, name: &str) -> Option<&Asset> {
        self.files.iter().find(|asset| asset.name == name)
    }
}

fn hashed(name: &str, hash: &str) -> String {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("{stem}-{hash}.{ending}")
}

/// Removes comment lines, type annotations, indentation, needless spaces and new lines from a script or style sheet. It
/// relies on that no string in them spans lines or looks like a type annotation.
fn bare(kind: &str, source: &str) -> String {
    let between = if kind == SCRIPT { "{}()[]=<>!&|?:;,*" } else { "{};," };
    let (mut bare, mut within) = (String::with_capacity(source.len()), false);
    for line in source.lines().map(str::trim) {
        within = within || line.starts_with("/*") && (line.ends_with("*/") || !line.contains("*/"));
        let comment = within || line.starts_with("//") || line.is_empty();
        if within && line.ends_with("*/") {
            within = false;
        }
        if !comment {
            let line = close(&untyped(line), between);
            bare.push_str(&line);
            // What these end or begin needs no new line, which a comment behind it does.
            if !line.ends_with(['{', '(', '[', ',', ';']) || line.contains("//") {
                bare.push('\n');
            }
        }
    }
    bare
}

/// A line without its type annotations, `/** @type {…} */`.
fn untyped(line: &str) -> String {
    let mut parts = line.split("/** @type ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once("*/").map_or(part, |(_, rest)| rest.trim_start()))
}

/// A line without the spaces at the characters of `between`. Lines with strings in other than double quotes, with
/// escapes, and with what may be a regular expression stay as they are.
fn close(line: &str, between: &str) -> String {
    if line.contains(['\'', '`', '/', '\\']) {
        return line.to_owned();
    }
    let mut close = String::with_capacity(line.len());
    let mut quoted = false;
    for c in line.chars() {
        if !quoted && between.contains(c) {
            close.truncate(close.trim_end_matches(' ').len());
        }
        if quoted || c != ' ' || !close.ends_with(|last| between.contains(last)) {
            close.push(c);
        }
        quoted ^= c == '"';
    }
    close
}

/// A source in which the quoted names that follow `before` are replaced by those that are served.
fn renamed(source: &str, before: &str, names: &[(&str, String)]) -> String {
    let mut text = source.to_owned();
    for (name, new) in names {
        for quote in ['"', '\''] {
            text = text.replace(&format!("{quote}{before}{name}{quote}"), &format!("{quote}{before}{new}{quote}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    #[test]
    fn spaces_go_where_they_mean_nothing() {
        for (line, close) in [
            ("const a = b ? c : [d, e];", "const a=b?c:[d,e];"),
            ("if (a === \" = , \" && !b) { return x - -1; }", "if(a===\" = , \"&&!b){return x - -1;}"),
            ("const r = /a , b/.test(c);", "const r = /a , b/.test(c);"),
            ("const t = `a , ${b}`;", "const t = `a , ${b}`;"),
        ] {
            assert_eq!(bare(SCRIPT, line).trim_end(), close);
        }
        let lines = "f(\n  a,\n  b,\n);\nx = y // {\nreturn {\n  z\n}\nw; // of v;\nv";
        assert_eq!(bare(SCRIPT, lines), "f(a,b,);x = y // {\nreturn{z\n}\nw; // of v;\nv\n");
        let sheet = "td :is(a, b) > c, d { margin: 0 auto; }";
        assert_eq!(bare(SHEET, sheet).trim_end(), "td :is(a,b) > c,d{margin: 0 auto;}");
    }

    #[test]
    fn names_follow_the_content_of_all() {
        let of = |b: &'static str| {
            Assets::of(
                "<script type=\"module\" src=\"assets/a.js\"></script>",
                &[
                    ("a.js", SCRIPT, "// ./b.js\n\n/** x\n * y */\n  import { x } from './b.js'; // b.js"),
                    ("b.js", SCRIPT, b),
                ],
            )
        };
        let (one, other) = (of("1"), of("2"));
        let name = |assets: &Assets| assets.files[0].name.clone();
        assert_ne!(name(&one), name(&other));
        assert_eq!(name(&one), name(&of("// It is not served.\n1")));
        assert!(one.page().contains(&format!("\"assets/{}\"", name(&one))), "{}", one.page());
        let source = String::from_utf8(one.find(&name(&one)).unwrap().content.clone()).unwrap();
        assert_eq!(source, format!("import {{ x }} from './{}'; // b.js\n", one.files[1].name));
        assert!(one.find("a.js").is_none() && one.find(&name(&other)).is_none() && one.find("../a.js").is_none());
    }

    fn on_disk() -> Vec<(String, String)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/assets");
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let sent = files.filter(|path| path.is_file() && path.extension().is_some_and(|ending| ending != "md"));
        sent.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
            .collect()
    }

    #[test]
    fn what_lies_there_is_what_is_sent() {
        let sent: BTreeSet<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let mut there: BTreeSet<String> = on_disk().into_iter().map(|(name, _)| name).collect();
        assert!(there.remove("index.html"));
        assert_eq!(sent, there);
    }

    #[test]
    fn all_together_are_small_and_hold_nothing_that_makes_markup_of_text() {
        let files = on_disk();
        let sent: usize = Assets::own().files.iter().map(|asset| asset.content.len()).sum();
        assert!(sent + PAGE.len() < 120 * 1024, "{sent} bytes");
        for (name, text) in &files {
            for wrong in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "javascript:",
            ] {
                assert!(!text.contains(wrong), "{name}: {wrong}");
            }
        }
        let page = &files.iter().find(|(name, _)| name == "index.html").unwrap().1;
        assert!(
            !page.contains(" on")
                || !page.split(" on").skip(1).any(|rest| {
                    rest.split_once('=').is_some_and(|(word, _)| word.bytes().all(|letter| letter.is_ascii_lowercase()))
                })
        );
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("<base"));
    }
}
