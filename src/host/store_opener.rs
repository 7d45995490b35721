//! Connecting to the store of a host's cluster.

use super::identity::{Authority, Issued, Signers};
use super::known;
use crate::os::clock;
use crate::spec::host::HostFile;
use crate::store::Store;
use crate::store::etcd::{Etcd, Tls};
use std::error::Error;
use std::fs;
use std::path::PathBuf;

/// Opens the store of a host that has these signing keys. Replaced in tests.
pub(super) type StoreOpener<'a> = &'a dyn Fn(&HostFile, &Signers) -> Result<Box<dyn Store>, Box<dyn Error>>;

/// Opens the store by the endpoints of the host.
pub(super) fn open_store(file: &HostFile, signers: &Signers) -> Result<Box<dyn Store>, Box<dyn Error>> {
    Ok(Box::new(etcd_of(file, Some(signers))?))
}

/// Makes an etcd client for the store, for more than records. A store that hosts run needs the signing keys.
pub(super) fn etcd_of(file: &HostFile, signers: Option<&Signers>) -> Result<Etcd, Box<dyn Error>> {
    etcd_at(&known::endpoints(file), file, signers)
}

/// Makes an etcd client with these endpoints.
pub(super) fn etcd_at(
    endpoints: &[String],
    file: &HostFile,
    signers: Option<&Signers>,
) -> Result<Etcd, Box<dyn Error>> {
    Ok(Etcd::new(endpoints, tls(file, signers)?.as_ref(), || clock::both().boottime)?)
}

/// The certificates for the store, and those of this host for it; `None`: it is used without TLS.
pub(super) fn tls(file: &HostFile, signers: Option<&Signers>) -> Result<Option<Tls>, Box<dyn Error>> {
    let store = &file.store;
    let read = |path: &PathBuf| fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    Ok(match (store.run, &store.ca) {
        (Some(_), _) => {
            let signers =
                signers.ok_or("a store that hosts run needs the keys of this host, and there is no host.key")?;
            let authority = Authority::of(signers)?;
            let Issued { cert, key } = authority.client(clock::wall())?;
            Some(Tls { ca: authority.ca().into(), client: Some((cert.into_bytes(), key.into_bytes())) })
        }
        (None, None) => None,
        (None, Some(ca)) => {
            let client = match (&store.cert, &store.key) {
                (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
                _ => None,
            };
            Some(Tls { ca: read(ca)?, client })
        }
    })
}
