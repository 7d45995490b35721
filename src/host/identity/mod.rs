//! The identity of a host: its keys, in a file that only its user may read, and the certificate that proves them to the
//! other hosts.
//!
//! ```text
//! host.key     CURVE pair of this host · signing key of the cluster       on each of its hosts
//! host/NAME    `cert`: {cluster, name, public, serial} and a signature    in the store
//! cluster      serials that are revoked                                   in the store
//! ```
//!
//! Every host can sign, so every host can invite another. A host verifies certificates by the signing key in its own
//! file, and never by one from the store: write access to the store does not suffice to make a host.
//!
//! | file | what |
//! | --- | --- |
//! | [`authority`] | certificates for a store that the hosts run themselves |
//! | [`certificate`] | what is signed, and why a certificate is refused |
//! | [`keys`] | the file of the keys |

pub mod authority;
pub mod certificate;
pub mod keys;

pub use authority::{Authority, Issued};
pub use certificate::{Certificate, Refused, Trust, verify};
pub use keys::{Keys, KeysError, Signers, SigningKey, key_file};
