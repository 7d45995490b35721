//! Probes: health checks by the node for workers that send no beats themselves.
//!
//! A server is given by its address, never by a name that would have to be looked up: a name server that hangs would
//! make the supervisor hang. The server of a worker runs on this machine or at a known address.

use super::words;
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One probe of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked, and which answer is a success.
    pub ask: Ask,
    /// How long an answer may take before the probe fails; `None` for the heartbeat's interval.
    pub timeout: Option<Span>,
}

/// The check that a probe makes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// This command must exit with code 0.
    Exec(Vec<String>),
    /// A TCP connection must be accepted.
    Tcp(Server),
    /// A GET of this path (with its query) must be answered with 2xx.
    Http(Server, String),
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Server {
    /// The address, or `localhost`.
    pub host: Host,
    /// Its port; not zero.
    pub port: u16,
}

/// A machine that can be reached without a look-up of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// `localhost`: 127.0.0.1, or else ::1.
    Local,
    /// This address, of either family.
    Address(IpAddr),
}

/// Why a text is not a valid server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoServer {
    /// It is not of the form `host:port`.
    Form,
    /// It has this name, which would have to be looked up.
    Lookup(String),
}

/// Why a text is not a valid URL for a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoUrl {
    /// It has another scheme, or is malformed.
    Form,
    /// It begins with `https://`.
    Tls,
    /// It has this name, which would have to be looked up.
    Lookup(String),
}

impl Probe {
    /// The timeout of the probe, for a worker with this interval of its heartbeat.
    pub fn patience(&self, interval: Span) -> Span {
        self.timeout.unwrap_or(interval)
    }
}

impl Server {
    /// Parses `host:port`, with an IPv6 address in brackets; the port may be omitted if there is a default.
    pub(super) fn parse(text: &str, default_port: Option<u16>) -> Result<Server, NoServer> {
        // The port's colon comes after the bracket of an IPv6 address.
        let split = match text.rfind(']') {
            Some(end) => text.split_at(end + 1),
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let (host, port) = match (split, default_port) {
            ((host, ""), Some(port)) => (host, port),
            ((host, port), _) => {
                let digits = port.strip_prefix(':').filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
                (host, digits.and_then(|port| port.parse().ok()).ok_or(NoServer::Form)?)
            }
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => Host::Address(inner.parse::<Ipv6Addr>().map_err(|_| NoServer::Form)?.into()),
            None if host.eq_ignore_ascii_case("localhost") => Host::Local,
            None => match host.parse::<Ipv4Addr>() {
                Ok(address) => Host::Address(address.into()),
                Err(_) if is_name(host) => return Err(NoServer::Lookup(host.to_string())),
                Err(_) => return Err(NoServer::Form),
            },
        };
        if port == 0 {
            return Err(NoServer::Form);
        }
        Ok(Server { host, port })
    }

    /// The addresses to try, one after the other.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self.host {
            Host::Local => vec![
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port),
                SocketAddr::new(Ipv6Addr::LOCALHOST.into(), self.port),
            ],
            Host::Address(address) => vec![SocketAddr::new(address, self.port)],
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Local => write!(f, "localhost:{}", self.port),
            Host::Address(address) => SocketAddr::new(address, self.port).fmt(f),
        }
    }
}

/// Why a text is not a valid probe, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAsked(String);

impl fmt::Display for NotAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAsked {}

impl Ask {
    /// A probe by a command, which is split into words as a shell splits them.
    ///
    /// # Errors
    /// It has no words, or a quote is not closed.
    pub fn exec(line: &str) -> Result<Ask, NotAsked> {
        match words::split(line) {
            Some(words) if !words.is_empty() => Ok(Ask::Exec(words)),
            Some(_) => Err(NotAsked("a command is expected, such as \"pg_isready -q\"".into())),
            None => Err(NotAsked("a quote is not closed, or the line ends in a backslash".into())),
        }
    }

    /// A probe by a connection to `host:port`.
    ///
    /// # Errors
    /// It has another form, or names a machine that would have to be looked up.
    pub fn tcp(text: &str) -> Result<Ask, NotAsked> {
        Server::parse(text, None).map(Ask::Tcp).map_err(|error| match error {
            NoServer::Form => NotAsked("\"host:port\" is expected, such as 127.0.0.1:8080 or [::1]:8080".into()),
            NoServer::Lookup(name) => looked_up(&name),
        })
    }

    /// A probe by a GET of a URL.
    ///
    /// # Errors
    /// It has another form, is to be encrypted, or names a machine that would have to be looked up.
    pub fn http(text: &str) -> Result<Ask, NotAsked> {
        parse_url(text).map_err(|error| match error {
            NoUrl::Form => NotAsked("a URL is expected, such as http://127.0.0.1:8080/health".into()),
            NoUrl::Tls => NotAsked("probes speak plain HTTP; for TLS, probe with a command such as curl -fsS".into()),
            NoUrl::Lookup(name) => looked_up(&name),
        })
    }
}

fn looked_up(name: &str) -> NotAsked {
    NotAsked(format!("\"{name}\" would have to be looked up, and a probe does not: write its address, or localhost"))
}

/// The check in words, for people.
impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ask::Exec(command) => f.write_str(command.first().map_or("", String::as_str)),
            Ask::Tcp(server) => write!(f, "tcp {server}"),
            Ask::Http(server, path) => write!(f, "http://{server}{path}"),
        }
    }
}

/// Parses a URL such as `http://127.0.0.1:8080/health?full`. The fragment is removed, as it is not sent to a server.
pub(super) fn parse_url(text: &str) -> Result<Ask, NoUrl> {
    if text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        return Err(NoUrl::Tls);
    }
    let scheme = text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let rest = &text[scheme.ok_or(NoUrl::Form)?.len()..];
    let rest = rest.split('#').next().unwrap_or(rest);
    // The path is put into the request unchanged, where a blank or a line break would have a meaning.
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NoUrl::Form);
    }
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let server = Server::parse(host, Some(80)).map_err(|error| match error {
        NoServer::Form => NoUrl::Form,
        NoServer::Lookup(name) => NoUrl::Lookup(name),
    })?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(Ask::Http(server, format!("{slash}{path}")))
}

/// Whether this could be a host name. A text that begins with a digit is more likely a mistyped address.
fn is_name(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let shown = |text: &str, port| Server::parse(text, port).map(|server| server.to_string());
        assert_eq!(shown("localhost:80", None).as_deref(), Ok("localhost:80"));
        assert_eq!(shown("127.0.0.1:8080", None).as_deref(), Ok("127.0.0.1:8080"));
        assert_eq!(shown("[::1]:1", None).as_deref(), Ok("[::1]:1"));
        assert_eq!(shown("[::1]", Some(80)).as_deref(), Ok("[::1]:80"));
        assert_eq!(shown("db.example:5432", None), Err(NoServer::Lookup("db.example".into())));
        for text in
            ["localhost", "localhost:0", "localhost:x", "localhost:+1", "::1:80", "1.2.3:80", "[::1", "a b:1", ":1", ""]
        {
            assert_eq!(shown(text, None), Err(NoServer::Form), "{text}");
        }
    }

    #[test]
    fn what_is_asked_can_be_written_on_a_command_line() {
        assert_eq!(Ask::exec("look 'over there'"), Ok(Ask::Exec(vec!["look".into(), "over there".into()])));
        assert_eq!(Ask::tcp("localhost:80").unwrap().to_string(), "tcp localhost:80");
        assert_eq!(Ask::http("http://localhost/x").unwrap().to_string(), "http://localhost:80/x");
        for (error, says) in [
            (Ask::exec(" ").unwrap_err(), "a command is expected"),
            (Ask::exec("'").unwrap_err(), "not closed"),
            (Ask::tcp("localhost").unwrap_err(), "host:port"),
            (Ask::tcp("db.example:1").unwrap_err(), "\"db.example\" would have to be looked up"),
            (Ask::http("x").unwrap_err(), "a URL is expected"),
            (Ask::http("https://localhost/").unwrap_err(), "plain HTTP"),
            (Ask::http("http://db.example/").unwrap_err(), "looked up"),
        ] {
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn localhost_is_both_addresses_and_no_lookup() {
        let server = Server::parse("localhost:7", None).unwrap();
        assert_eq!(server.addresses(), ["127.0.0.1:7".parse().unwrap(), "[::1]:7".parse().unwrap()]);
    }

    #[test]
    fn urls() {
        let shown = |text: &str| parse_url(text).map(|ask| ask.to_string());
        assert_eq!(shown("http://127.0.0.1").as_deref(), Ok("http://127.0.0.1:80/"));
        assert_eq!(shown("http://localhost:8080/a/b?c=d#e").as_deref(), Ok("http://localhost:8080/a/b?c=d"));
        assert_eq!(shown("HTTP://[::1]?q").as_deref(), Ok("http://[::1]:80/?q"));
        assert_eq!(shown("https://localhost/"), Err(NoUrl::Tls));
        assert_eq!(shown("http://api.example/health"), Err(NoUrl::Lookup("api.example".into())));
        for text in [
            "http://",
            "localhost/",
            "http://u@localhost/",
            "http://localhost/a b",
            "http://localhost/\r\nX: y",
            "httpé://",
        ] {
            assert_eq!(shown(text), Err(NoUrl::Form), "{text}");
        }
        // The displayed form can be parsed again.
        let ask = parse_url("http://localhost/x").unwrap();
        assert_eq!(parse_url(&ask.to_string()), Ok(ask));
    }
}
