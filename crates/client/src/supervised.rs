//! The environment variables that a node sets for a worker.

use super::frames::Token;
use super::stream::SOCKET_PATH_MAX;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// The node's socket: `ipc://` and a path.
pub const ENDPOINT: &str = "TREEVISOR_ENDPOINT";
/// The worker's path in the tree.
pub const PATH: &str = "TREEVISOR_PATH";
/// The number of this start of the worker.
pub const INCARNATION: &str = "TREEVISOR_INCARNATION";
/// The token that proves that a message comes from this incarnation.
pub const TOKEN: &str = "TREEVISOR_TOKEN";
/// The interval of beats in milliseconds; absent if none are expected.
pub const HEARTBEAT_MS: &str = "TREEVISOR_HEARTBEAT_MS";

/// The parsed environment of a supervised process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Supervised {
    pub(super) socket: PathBuf,
    pub(super) token: Token,
    pub(super) path: Option<String>,
    pub(super) incarnation: Option<u64>,
    pub(super) interval: Option<Duration>,
}

/// Why the environment of a supervised process cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvError {
    /// `TREEVISOR_ENDPOINT` is set, and this variable, which belongs to it, is not.
    Missing(&'static str),
    /// The endpoint is not `ipc://` and a path that a socket can have.
    Endpoint(OsString),
    /// The value of this variable is malformed. It is not shown, as it may be a secret.
    Malformed(&'static str),
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnvError::Missing(name) => write!(f, "{ENDPOINT} is set but {name} is not"),
            EnvError::Endpoint(got) => {
                let got = got.display();
                write!(
                    f,
                    "cannot use {ENDPOINT}: expected ipc:// and a path of at most {SOCKET_PATH_MAX} bytes, got \"{got}\""
                )
            }
            EnvError::Malformed(name) => write!(f, "cannot read {name}"),
        }
    }
}

impl std::error::Error for EnvError {}

impl Supervised {
    /// Reads the variables; `None` when there is no endpoint, so there is no supervisor.
    pub(super) fn read(var: impl Fn(&'static str) -> Option<OsString>) -> Result<Option<Supervised>, EnvError> {
        let Some(endpoint) = var(ENDPOINT) else { return Ok(None) };
        let socket = socket_path(&endpoint).ok_or_else(|| EnvError::Endpoint(endpoint.clone()))?;
        let token = var(TOKEN).ok_or(EnvError::Missing(TOKEN))?;
        let token = Token::parse(token.as_bytes()).ok_or(EnvError::Malformed(TOKEN))?;
        // The other variables are optional: a worker can beat without them.
        let text = |name| var(name).and_then(|value| value.into_string().ok());
        let number = |name| text(name).and_then(|value| value.parse::<u64>().ok());
        Ok(Some(Supervised {
            socket,
            token,
            path: text(PATH),
            incarnation: number(INCARNATION),
            interval: number(HEARTBEAT_MS).filter(|ms| *ms > 0).map(Duration::from_millis),
        }))
    }
}

/// The path in `ipc://PATH`. A name in the abstract namespace (`@`) is refused: any process could bind it.
fn socket_path(endpoint: &OsStr) -> Option<PathBuf> {
    let path = endpoint.as_bytes().strip_prefix(b"ipc://")?;
    let usable = !path.is_empty() && path.len() <= SOCKET_PATH_MAX && path[0] != b'@' && !path.contains(&0);
    usable.then(|| OsString::from_vec(path.to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[(&str, &str)] = &[
        (ENDPOINT, "ipc:///run/treevisor/shop/1.sock"),
        (PATH, "/web/api"),
        (INCARNATION, "3"),
        (TOKEN, "000102030405060708090a0b0c0d0e0f"),
        (HEARTBEAT_MS, "1000"),
    ];

    /// Reads the good environment with some variables changed, `None` for one that is not there.
    fn read(changes: &[(&str, Option<&str>)]) -> Result<Option<Supervised>, EnvError> {
        Supervised::read(|name| {
            let good = GOOD.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            changes.iter().find(|(key, _)| *key == name).map_or(good, |(_, value)| *value).map(OsString::from)
        })
    }

    #[test]
    fn all_of_it_is_read() {
        let supervised = read(&[]).unwrap().unwrap();
        assert_eq!(supervised.socket, PathBuf::from("/run/treevisor/shop/1.sock"));
        assert_eq!(supervised.path, Some("/web/api".to_owned()));
        assert_eq!(supervised.incarnation, Some(3));
        assert_eq!(supervised.interval, Some(Duration::from_secs(1)));
    }

    #[test]
    fn without_an_endpoint_nobody_supervises() {
        assert_eq!(read(&[(ENDPOINT, None)]), Ok(None));
    }

    #[test]
    fn what_is_needed_must_be_right_and_the_rest_may_be_missing() {
        assert_eq!(read(&[(TOKEN, None)]), Err(EnvError::Missing(TOKEN)));
        assert_eq!(read(&[(TOKEN, Some("secret"))]), Err(EnvError::Malformed(TOKEN)));
        for endpoint in ["", "ipc://", "ipc://@name", "tcp://127.0.0.1:1", &format!("ipc:///{}", "x".repeat(107))] {
            let error = read(&[(ENDPOINT, Some(endpoint))]).unwrap_err();
            assert_eq!(error, EnvError::Endpoint(endpoint.into()));
        }
        for (name, value) in [(INCARNATION, Some("x")), (HEARTBEAT_MS, Some("0")), (PATH, None)] {
            assert!(read(&[(name, value)]).unwrap().is_some(), "{name}");
        }
    }
}
