//! The other hosts, by their records and as far as their certificates prove them. No socket.

use super::Peer;
use crate::hosts::record::Host;
use crate::link::curve::Key;
use std::collections::BTreeMap;

/// The result for each certificate, so that each is verified only once.
#[derive(Debug, Default)]
pub(in super::super) struct Roster {
    judged: BTreeMap<String, Judged>,
}

/// The result for one certificate, with these serials revoked.
#[derive(Debug)]
struct Judged {
    cert: String,
    revoked: Vec<u64>,
    key: Result<Key, String>,
}

impl Roster {
    /// The peers according to these records, which do not include that of this host. `verify(name, certificate)` checks
    /// that a certificate is valid for the host of that name.
    pub(in super::super) fn read<'a>(
        &mut self,
        hosts: impl Iterator<Item = (&'a str, &'a Host)>,
        revoked: &[u64],
        verify: impl Fn(&str, &str) -> Result<Key, String>,
    ) -> BTreeMap<String, Result<Peer, String>> {
        let mut judged = BTreeMap::new();
        let mut peers = BTreeMap::new();
        for (name, record) in hosts {
            let known = self.judged.remove(name).filter(|known| known.cert == record.cert && known.revoked == revoked);
            let known = known.unwrap_or_else(|| {
                let key = verify(name, &record.cert);
                Judged { cert: record.cert.clone(), revoked: revoked.to_vec(), key }
            });
            let peer = known.key.clone().map(|key| Peer { address: record.address.clone(), key });
            peers.insert(name.to_owned(), peer);
            judged.insert(name.to_owned(), known);
        }
        self.judged = judged;
        peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_certificate_is_judged_once_and_again_when_it_or_what_is_revoked_changes() {
        let (mut roster, asked) = (Roster::default(), Cell::new(0));
        let verify = |name: &str, cert: &str| {
            asked.set(asked.get() + 1);
            if cert == "good" { Ok([name.len() as u8; 32]) } else { Err("it has no certificate".to_owned()) }
        };
        let host = |cert: &str, address: &str| Host { cert: cert.into(), address: address.into(), ..Host::default() };
        let mut read = |host: &Host, revoked: &[u64]| roster.read([("b", host)].into_iter(), revoked, verify);
        let good = Peer { address: "x:1".into(), key: [1; 32] };
        assert_eq!(read(&host("good", "x:1"), &[])["b"], Ok(good.clone()));
        assert_eq!(read(&host("good", "y:1"), &[])["b"], Ok(Peer { address: "y:1".into(), ..good }));
        assert_eq!(asked.get(), 1);
        read(&host("good", "y:1"), &[7]);
        assert_eq!(asked.get(), 2);
        assert!(read(&host("", "y:1"), &[7])["b"].is_err());
        assert_eq!(asked.get(), 3);
    }
}
