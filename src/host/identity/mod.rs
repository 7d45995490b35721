//! What a host is known by: its keys, in a file that its user alone may read, and the certificate that proves them to
//! the other hosts.
//!
//! ```text
//! host.key     CURVE pair of this host · signing key of the cluster       on each of its hosts
//! host/NAME    `cert`: {cluster, name, public, serial} and a signature    in the store
//! cluster      serials that are revoked                                   in the store
//! ```
//!
//! Every host can sign, so every host can invite another. What a certificate is judged by is the signing key of the
//! host that judges, and never one out of the store: write access to it does not make a host.
//!
//! | file | what |
//! | --- | --- |
//! | [`authority`] | certificates for a store that the hosts run themselves |
//! | [`certificate`] | what is signed, and why a certificate is not taken |
//! | [`keys`] | the file of the keys |

pub mod authority;
pub mod certificate;
pub mod keys;

pub use authority::{Authority, Issued};
pub use certificate::{Certificate, Refused, Trust, verify};
pub use keys::{Keys, KeysError, Signers, SigningKey, key_file};
