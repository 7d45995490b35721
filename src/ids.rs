//! The names by which everything in a tree is known: paths, names, incarnations, tokens, marks, report ids.

use std::fmt;
use std::sync::Arc;

/// The name of a child among its siblings: 1 to 64 characters out of `A-Z a-z 0-9 _ . -`, but neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Where a child stands in the tree: `/` is the root, `/web/api` a grandchild.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Arc<str>);

/// One run of a child: 1 for its first start, one more at each start after. Counted by the child's node, so it
/// begins again when the node itself is a new process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u64);

/// What a child proves itself with: random for each incarnation, 32 hexadecimal digits when written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 16]);

/// Names one report of the tree: the number that its node drew when it began, and a count within that node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportId {
    /// Drawn at random by the node process that wrote the report.
    pub node: u32,
    /// 1 for the first report of that process.
    pub seq: u32,
}

/// What distinguishes one running tree's processes from all others: random, 32 hexadecimal digits, in `TREEVISOR_MARK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

/// Why a text is no name, path or mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdError(String);

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IdError {}

impl Name {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// Which rule the text breaks.
    pub fn parse(text: &str) -> Result<Name, IdError> {
        if text.is_empty() {
            return Err(IdError("a name has at least one character".into()));
        }
        if text.len() > Name::MAX_LEN {
            return Err(IdError(format!(
                "a name has at most {} characters, this one has {}",
                Name::MAX_LEN,
                text.len()
            )));
        }
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))) {
            return Err(IdError(format!("a name is made of A-Z a-z 0-9 _ . -, not of {bad:?}")));
        }
        if text == "." || text == ".." {
            return Err(IdError("a name is neither \".\" nor \"..\"".into()));
        }
        Ok(Name(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Path {
    fn default() -> Path {
        Path::root()
    }
}

impl Path {
    /// The path of the root, `/`.
    pub fn root() -> Path {
        Path("/".into())
    }

    /// Reads a path as operators write it: with or without the leading slash; `/`, or nothing, is the root.
    ///
    /// # Errors
    /// Which part is no name.
    pub fn parse(text: &str) -> Result<Path, IdError> {
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.is_empty() {
            return Ok(Path::root());
        }
        for part in inner.split('/') {
            Name::parse(part).map_err(|e| IdError(format!("\"{part}\" in the path \"{text}\": {e}")))?;
        }
        Ok(Path(format!("/{inner}").into()))
    }

    /// The path of the child `name` of this one.
    pub fn child(&self, name: &Name) -> Path {
        if self.is_root() { Path(format!("/{name}").into()) } else { Path(format!("{}/{name}", self.0).into()) }
    }

    /// The path one level up; `None` for the root.
    pub fn parent(&self) -> Option<Path> {
        if self.is_root() {
            return None;
        }
        match self.0.rfind('/') {
            Some(0) | None => Some(Path::root()),
            Some(at) => Some(Path(self.0[..at].into())),
        }
    }

    /// The last part; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        if self.is_root() { None } else { self.0.rsplit('/').next() }
    }

    /// The parts from the root down; none for the root itself.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Whether this path is `top` or lies below it.
    pub fn is_within(&self, top: &Path) -> bool {
        top.is_root() || self == top || self.0.strip_prefix(&*top.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// For a path strictly below `top`: the name of `top`'s child on the way to it.
    pub fn step_below<'a>(&'a self, top: &Path) -> Option<&'a str> {
        if self == top || !self.is_within(top) {
            return None;
        }
        self.parts().nth(top.parts().count())
    }

    /// The path as text, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Incarnation {
    /// That of a child's first process.
    pub const FIRST: Incarnation = Incarnation(1);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Incarnation {
        Incarnation(self.0 + 1)
    }
}

impl Token {
    /// Reads 32 hexadecimal digits; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Token> {
        let digits: &[u8; 32] = text.try_into().ok()?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = (pair[0] as char).to_digit(16)?;
            let low = (pair[1] as char).to_digit(16)?;
            *byte = (high * 16 + low) as u8;
        }
        Some(Token(bytes))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Says nothing of the secret: a token that lands in a log line would let every reader of the log beat for the child.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.node, self.seq)
    }
}

impl fmt::Debug for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ReportId {
    /// Reads what [`Display`](fmt::Display) prints.
    pub fn parse(text: &str) -> Option<ReportId> {
        let (node, seq) = text.split_once('-')?;
        Some(ReportId { node: u32::from_str_radix(node, 16).ok()?, seq: seq.parse().ok()? })
    }
}

macro_rules! prints_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}
prints_as_text!(Name, Path);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl Mark {
    /// Reads a mark.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Mark, IdError> {
        if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Mark(text.to_string()))
        } else {
            Err(IdError("a mark is 32 hexadecimal digits".into()))
        }
    }

    /// The mark as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Random as a token is, and written as one.
impl From<Token> for Mark {
    fn from(token: Token) -> Mark {
        Mark(token.to_string())
    }
}

/// How the ids cross a process border: as the text that people see.
mod as_text {
    use super::{Incarnation, Name, Path, ReportId, Token};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    macro_rules! as_text {
        ($name:ident, $parse:expr) => {
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                    to.collect_str(self)
                }
            }
            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                    let text = String::deserialize(from)?;
                    let parse: fn(&str) -> Option<$name> = $parse;
                    parse(&text).ok_or_else(|| D::Error::custom(concat!("this is no ", stringify!($name))))
                }
            }
        };
    }
    as_text!(Name, |text| Name::parse(text).ok());
    as_text!(Path, |text| Path::parse(text).ok());
    as_text!(Token, |text| Token::parse(text.as_bytes()));
    as_text!(ReportId, ReportId::parse);

    impl Serialize for Incarnation {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_u64(self.0)
        }
    }
    impl<'de> Deserialize<'de> for Incarnation {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            u64::deserialize(from).map(Incarnation)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_with_and_without_the_slash() {
        assert_eq!(Path::parse("web/api"), Path::parse("/web/api/"));
        assert!(Path::parse("").unwrap().is_root());
        assert!(Path::parse("/").unwrap().is_root());
        assert!(Path::parse("/a//b").is_err());
        assert!(Path::parse("/a/../b").is_err());
        assert!(Path::parse("/a b").is_err());
    }

    #[test]
    fn a_path_knows_its_place() {
        let api = Path::parse("/web/api").unwrap();
        let web = Path::parse("/web").unwrap();
        assert_eq!(api.parent(), Some(web.clone()));
        assert_eq!(web.parent(), Some(Path::root()));
        assert_eq!(api.name(), Some("api"));
        assert_eq!(web.child(&Name::parse("api").unwrap()), api);
        assert!(api.is_within(&web) && api.is_within(&Path::root()) && web.is_within(&web));
        assert!(!Path::parse("/website").unwrap().is_within(&web));
        assert_eq!(api.step_below(&Path::root()), Some("web"));
        assert_eq!(api.step_below(&web), Some("api"));
        assert_eq!(web.step_below(&web), None);
    }

    #[test]
    fn tokens_and_report_ids_read_what_they_print() {
        let token = Token([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(Token::parse(token.to_string().as_bytes()), Some(token));
        assert_eq!(Token::parse(b"00"), None);
        assert_eq!(Token::parse(&[b'g'; 32]), None);
        let id = ReportId { node: 0xbeef, seq: 17 };
        assert_eq!(ReportId::parse(&id.to_string()), Some(id));
    }
}
