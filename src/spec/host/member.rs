//! The addresses of the store's member that a host runs.

use super::HostFile;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The ports of etcd: for clients, for other members, and for health checks.
const PORTS: [u16; 3] = [2379, 2380, 2381];

/// Where a member listens, and where others reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAt {
    /// The host name or address by which others reach it: that of `address`, without brackets around IPv6.
    pub host: String,
    /// The address of this machine that it listens at.
    pub listen: IpAddr,
}

impl MemberAt {
    /// The member of a host that others reach at `address` (`HOST:PORT`) and whose agent listens at `listen`.
    fn of(address: &str, listen: IpAddr) -> MemberAt {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        // A specific address is preferred to the wildcard, as another etcd may use the same ports at other addresses:
        // Debian's own service listens at loopback.
        let specific = Some(listen).filter(|listen| !listen.is_unspecified()).or(host.parse().ok());
        MemberAt { listen: specific.unwrap_or(listen), host }
    }

    /// The URL for clients.
    pub fn client(&self) -> String {
        self.url(PORTS[0])
    }

    /// The URL for other members.
    pub fn peer(&self) -> String {
        self.url(PORTS[1])
    }

    /// The addresses to listen at, for clients and for other members.
    pub fn listens(&self) -> [SocketAddr; 2] {
        [PORTS[0], PORTS[1]].map(|port| SocketAddr::new(self.listen, port))
    }

    /// The address for health checks, on loopback and without a certificate.
    pub fn health(&self) -> SocketAddr {
        let loopback = Some(self.listen).filter(IpAddr::is_loopback);
        SocketAddr::new(loopback.unwrap_or(Ipv4Addr::LOCALHOST.into()), PORTS[2])
    }

    fn url(&self, port: u16) -> String {
        match self.host.contains(':') {
            true => format!("https://[{}]:{port}", self.host),
            false => format!("https://{}:{port}", self.host),
        }
    }
}

impl HostFile {
    /// The addresses of its member of the store; `None` if it runs none.
    pub fn member(&self) -> Option<MemberAt> {
        let mesh = self.mesh.as_ref().filter(|_| self.store.run == Some(true))?;
        let listen: SocketAddr = mesh.listen.strip_prefix("tcp://")?.parse().ok()?;
        Some(MemberAt::of(&mesh.address, listen.ip()))
    }
}

/// The client URL of the member on the host at this `HOST` or `HOST:PORT`.
pub fn client_url(address: &str) -> String {
    found_at(address).client()
}

/// The peer URL of the member on the host at this `HOST` or `HOST:PORT`.
pub fn peer_url(address: &str) -> String {
    found_at(address).peer()
}

fn found_at(address: &str) -> MemberAt {
    let has_port = !address.ends_with(']') && address.contains(':');
    let address = if has_port { address.to_owned() } else { format!("{address}:0") };
    MemberAt::of(&address, Ipv4Addr::UNSPECIFIED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_the_host_is() {
        let any: IpAddr = "0.0.0.0".parse().unwrap();
        for (address, listen, client, at, health) in [
            ("10.0.0.1:7411", any, "https://10.0.0.1:2379", "10.0.0.1:2379", "127.0.0.1:2381"),
            ("a.example:81", any, "https://a.example:2379", "0.0.0.0:2379", "127.0.0.1:2381"),
            ("a.example:81", "10.0.0.2".parse().unwrap(), "https://a.example:2379", "10.0.0.2:2379", "127.0.0.1:2381"),
            ("[fd00::1]:81", "::".parse().unwrap(), "https://[fd00::1]:2379", "[fd00::1]:2379", "127.0.0.1:2381"),
            ("127.1.2.3:81", any, "https://127.1.2.3:2379", "127.1.2.3:2379", "127.1.2.3:2381"),
        ] {
            let found = MemberAt::of(address, listen);
            assert_eq!(found.client(), client);
            assert_eq!((found.listens()[0].to_string(), found.health().to_string()), (at.into(), health.into()));
        }
        for (address, url) in [("10.0.0.1", "10.0.0.1"), ("a.example:7", "a.example"), ("[fd00::1]", "[fd00::1]")] {
            assert_eq!(client_url(address), format!("https://{url}:2379"));
        }
    }
}
