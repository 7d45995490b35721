//! The host names that requests may use, and the origins of the console's own pages.
//!
//! Protects against DNS rebinding: another site can resolve its own name to 127.0.0.1 and then read the answers, as the
//! browser takes both for one site. But the browser still sends that site's name in `Host`. So a request is accepted
//! only under a name that no other site can have: an IP address, `localhost`, or the name that the operator has given.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The socket by which a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// TCP, to this local address.
    Tcp(SocketAddr),
    /// A UNIX socket. It has no port of its own; a forwarder in front, such as ssh, has one that is not known here.
    Unix,
}

/// The URL by which browsers reach the console, if that is not the address that it listens at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    https: bool,
    host: String,
    port: Option<u16>,
    path: String,
}

impl PublicUrl {
    /// Reads `http://HOST[:PORT][/PATH]`, or the same with `https`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<PublicUrl, String> {
        let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("it begins with neither https:// nor http://".into()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if text.contains(['?', '#', '@', '\\', ' ']) || !text.is_ascii() {
            return Err("a host, a port and a path are expected, and nothing else".into());
        }
        let Some((host, port)) = split(authority).filter(|(host, _)| !host.is_empty()) else {
            return Err(format!("\"{authority}\" is no host and port"));
        };
        let port = port.filter(|port| *port != default_port(https));
        let path = path.trim_end_matches('/');
        if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
            return Err(format!("\"{path}\" is no path that can be kept in links"));
        }
        Ok(PublicUrl { https, host: host.to_ascii_lowercase(), port, path: path.to_owned() })
    }

    /// Whether the scheme is `https`.
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// The prefix of all paths, without a slash at its end; empty without a prefix.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn is_host(&self, host: &str, port: Option<u16>) -> bool {
        host.eq_ignore_ascii_case(&self.host) && port.filter(|port| *port != default_port(self.https)) == self.port
    }
}

impl fmt::Display for PublicUrl {
    /// Writes the URL with a slash at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}/", self.path)
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Splits an authority into host and port; `None` if it is malformed.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            rest[..end].parse::<Ipv6Addr>().ok()?;
            (&authority[..end + 2], rest[end + 1..].strip_prefix(':').or((rest.len() == end + 1).then_some(""))?)
        }
        None => match authority.split_once(':') {
            Some((_, "")) => return None,
            Some((host, port)) => (host, port),
            None => (authority, ""),
        },
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    if host.is_empty() || !host.chars().all(is_plain) || !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    match port {
        "" => (!authority.ends_with(':')).then_some((host, None)),
        port => Some((host, Some(port.parse().ok()?))),
    }
}

/// The port in a `Host` header, if it has one.
pub(super) fn port_of(host: &str) -> Option<u16> {
    split(host)?.1
}

/// The IP address that a host is, if it is one in the form in which browsers write it.
fn number(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Whether a `Host` header names the console.
pub(super) fn is_ours(host: &str, door: Door, public: Option<&PublicUrl>) -> bool {
    let Some((name, port)) = split(host) else { return false };
    if public.is_some_and(|public| public.is_host(name, port)) {
        return true;
    }
    let here = match door {
        Door::Unix => None,
        Door::Tcp(address) if port.unwrap_or(default_port(false)) != address.port() => return false,
        Door::Tcp(address) => Some(address.ip().to_canonical()),
    };
    name.eq_ignore_ascii_case("localhost")
        || number(name).is_some_and(|number| number.to_canonical().is_loopback() || Some(number.to_canonical()) == here)
}

/// Whether an `Origin` header is that of the console's own pages.
pub(super) fn is_our_origin(origin: &str, door: Door, public: Option<&PublicUrl>) -> bool {
    let authority = |scheme: &str| origin.strip_prefix(scheme).filter(|rest| split(rest).is_some());
    let of_public = public.is_some_and(|public| {
        authority(if public.https { "https://" } else { "http://" })
            .and_then(split)
            .is_some_and(|(host, port)| public.is_host(host, port))
    });
    // If the public URL has TLS, a page that was loaded under that name without TLS is not the console's.
    of_public || authority("http://").is_some_and(|host| is_ours(host, door, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(address: &str) -> Door {
        Door::Tcp(address.parse().unwrap())
    }

    #[test]
    fn names_that_another_site_can_have_are_refused() {
        let here = door("127.0.0.1:8808");
        for (host, ours) in [
            ("127.0.0.1:8808", true),
            ("localhost:8808", true),
            ("LOCALHOST:8808", true),
            ("[::1]:8808", true),
            ("127.8.9.1:8808", true),
            ("[::ffff:127.0.0.1]:8808", true),
            ("127.0.0.1", false),
            ("127.0.0.1:80", false),
            ("127.0.0.1:8809", false),
            ("127.0.0.1:08808", true),
            ("127.0.0.1:", false),
            ("localhost", false),
            ("localhost.:8808", false),
            ("localhost.evil.example:8808", false),
            ("evil.example:8808", false),
            ("127.0.0.1.nip.io:8808", false),
            ("127.1:8808", false),
            ("0177.0.0.1:8808", false),
            ("2130706433:8808", false),
            ("0.0.0.0:8808", false),
            ("[::]:8808", false),
            ("10.0.0.7:8808", false),
            ("user@127.0.0.1:8808", false),
            ("127.0.0.1:8808@evil.example", false),
            ("127.0.0.1:8808/", false),
            ("127.0.0.1:8808 ", false),
            ("127.0.0.1:8808,evil", false),
            ("127.0.0.1:+8808", false),
            ("127.0.0.1:88080", false),
            ("[::1", false),
            ("[::1]8808", false),
            ("[localhost]:8808", false),
            ("[fe80::1%25lo]:8808", false),
            ("", false),
            (":8808", false),
        ] {
            assert_eq!(is_ours(host, here, None), ours, "{host:?}");
        }
        // Port 80 is the default and is left out.
        assert!(is_ours("localhost", door("127.0.0.1:80"), None));
    }

    #[test]
    fn an_address_that_is_listened_on_openly_is_ours_by_its_number() {
        let here = door("10.0.0.7:8808");
        assert!(is_ours("10.0.0.7:8808", here, None) && is_ours("127.0.0.1:8808", here, None));
        assert!(!is_ours("10.0.0.8:8808", here, None) && !is_ours("host.lan:8808", here, None));
        assert!(is_ours("10.0.0.7:8808", door("[::ffff:10.0.0.7]:8808"), None));
    }

    #[test]
    fn a_socket_in_a_file_has_no_port_but_the_same_names() {
        for host in ["localhost", "localhost:9000", "127.0.0.1:1", "[::1]"] {
            assert!(is_ours(host, Door::Unix, None), "{host}");
        }
        for host in ["evil.example", "10.0.0.7", ""] {
            assert!(!is_ours(host, Door::Unix, None), "{host}");
        }
    }

    #[test]
    fn the_public_name_is_ours_and_has_one_spelling() {
        let public = PublicUrl::parse("https://Ops.example/tree/").unwrap();
        assert_eq!((public.path(), public.to_string().as_str()), ("/tree", "https://ops.example/tree/"));
        let here = door("127.0.0.1:8808");
        for (host, ours) in [
            ("ops.example", true),
            ("OPS.example:443", true),
            ("ops.example:80", false),
            ("ops.example:8808", false),
            ("sub.ops.example", false),
            ("127.0.0.1:8808", true),
        ] {
            assert_eq!(is_ours(host, here, Some(&public)), ours, "{host}");
        }
        let with_port = PublicUrl::parse("http://localhost:9000").unwrap();
        assert!(
            is_ours("localhost:9000", here, Some(&with_port)) && !is_ours("localhost:9001", here, Some(&with_port))
        );
        assert_eq!(with_port.to_string(), "http://localhost:9000/");
        for wrong in [
            "ops.example",
            "ftp://x",
            "https://",
            "https:///x",
            "https://a@b",
            "https://a?b",
            "https://a#b",
            "https://a:x",
            "https://a:99999",
            "https://a/../b",
            "https://a//b",
        ] {
            assert!(PublicUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn origins_are_pages_of_ours() {
        let here = door("127.0.0.1:8808");
        let public = PublicUrl::parse("https://ops.example").unwrap();
        for (origin, ours) in [
            ("http://127.0.0.1:8808", true),
            ("http://localhost:8808", true),
            ("https://localhost:8808", false),
            ("http://localhost", false),
            ("http://localhost:3000", false),
            ("http://evil.example", false),
            ("http://evil.example:8808", false),
            ("http://127.0.0.1:8808.evil.example", false),
            ("null", false),
            ("", false),
            ("file://", false),
            ("https://ops.example", true),
            ("https://ops.example:443", true),
            ("http://ops.example", false),
            ("https://ops.example:8443", false),
            ("https://ops.example/", false),
            ("https://ops.example.evil", false),
        ] {
            assert_eq!(is_our_origin(origin, here, Some(&public)), ours, "{origin:?}");
        }
    }
}
