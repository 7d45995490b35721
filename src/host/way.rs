//! The way to the store of a host's cluster.

use crate::os::clock;
use crate::spec::host::HostFile;
use crate::store::Store;
use crate::store::etcd::{Etcd, Tls};
use std::error::Error;
use std::fs;
use std::path::PathBuf;

/// Opens the way to a host's store.
pub(super) type Way<'a> = &'a dyn Fn(&HostFile) -> Result<Box<dyn Store>, Box<dyn Error>>;

/// That by the file of the host.
pub(super) fn way_to(file: &HostFile) -> Result<Box<dyn Store>, Box<dyn Error>> {
    let store = &file.store;
    let read = |path: &PathBuf| fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let tls = match &store.ca {
        None => None,
        Some(ca) => {
            let client = match (&store.cert, &store.key) {
                (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
                _ => None,
            };
            Some(Tls { ca: read(ca)?, client })
        }
    };
    Ok(Box::new(Etcd::new(&store.endpoints, tls.as_ref(), || clock::both().boottime)?))
}
