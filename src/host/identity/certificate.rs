//! The certificate of a host: binds a name in a cluster to a public key. Pure.

use super::keys::SigningKey;
use crate::ids::Name;
use crate::link::PublicKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest size of a certificate in bytes: half of the largest record in the store.
const LENGTH_MAX: usize = 1024;

/// What a certificate certifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The cluster that the host belongs to.
    pub cluster: String,
    /// The name of the host.
    pub name: String,
    /// The public half of its key pair.
    pub public: PublicKey,
    /// Drawn from the record `cluster`, increasing with each certificate. Revocation is by serial.
    pub serial: u64,
}

/// A certificate as written, with its signature. Unknown members are ignored.
#[derive(Serialize, Deserialize)]
struct Signed {
    #[serde(flatten)]
    certificate: Certificate,
    signature: String,
}

/// What a certificate is verified against.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The cluster that it must be of.
    pub cluster: &'a str,
    /// The host that it must name.
    pub name: &'a str,
    /// The public half of the cluster's signing key, from the verifying host's own file; during a change of keys, of
    /// both.
    pub issuers: &'a [[u8; 32]],
    /// The serials that were revoked.
    pub revoked: &'a [u64],
}

/// Why a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The record or the message has no certificate.
    Missing,
    /// It cannot be read.
    Unreadable(String),
    /// It was not signed by this cluster's key, or was changed since.
    Signature,
    /// It is of this other cluster.
    Cluster(String),
    /// It names this other host.
    Name(String),
    /// Its serial was revoked.
    Revoked(u64),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Missing => f.write_str("it has no certificate"),
            Refused::Unreadable(why) => write!(f, "its certificate cannot be read: {why}"),
            Refused::Signature => f.write_str("its certificate is not signed by the key of this cluster"),
            Refused::Cluster(other) => write!(f, "its certificate is of the cluster {other:?}"),
            Refused::Name(other) => write!(f, "its certificate is that of the host {other:?}"),
            Refused::Revoked(serial) => write!(f, "its certificate, number {serial}, was revoked"),
        }
    }
}

impl std::error::Error for Refused {}

impl Certificate {
    /// The bytes that are signed. No field can contain the newline that ends it, so different certificates have
    /// different bytes.
    fn signed(&self) -> Option<Vec<u8>> {
        let Certificate { cluster, name, public, serial } = self;
        let plain = Name::parse(cluster).is_ok() && Name::parse(name).is_ok();
        plain.then(|| format!("treevisor certificate 1\n{cluster}\n{name}\n{public}\n{serial}\n").into_bytes())
    }

    /// Signs the certificate, and returns it as JSON for the host's record; `None`: cluster or name is not a valid
    /// name.
    pub fn sign(&self, key: &SigningKey) -> Option<String> {
        let signature = BASE64.encode(key.sign(&self.signed()?));
        serde_json::to_string(&Signed { certificate: self.clone(), signature }).ok()
    }
}

/// Reads a certificate from a host's record, and verifies it.
///
/// # Errors
/// Why the certificate is refused.
pub fn verify(text: &str, trust: &Trust<'_>) -> Result<Certificate, Refused> {
    if text.is_empty() {
        return Err(Refused::Missing);
    }
    if text.len() > LENGTH_MAX {
        return Err(Refused::Unreadable(format!("it has {} bytes, more than {LENGTH_MAX}", text.len())));
    }
    let Signed { certificate, signature } =
        serde_json::from_str(text).map_err(|error| Refused::Unreadable(error.to_string()))?;
    let (Some(signed), Ok(signature)) = (certificate.signed(), BASE64.decode(signature)) else {
        return Err(Refused::Signature);
    };
    // Checked first: everything after this, and the errors below, relies on the content.
    let is_signed_by = |issuer: &[u8; 32]| UnparsedPublicKey::new(&ED25519, issuer).verify(&signed, &signature).is_ok();
    if !trust.issuers.iter().any(is_signed_by) {
        return Err(Refused::Signature);
    }
    match certificate {
        Certificate { cluster, .. } if cluster != trust.cluster => Err(Refused::Cluster(cluster)),
        Certificate { name, .. } if name != trust.name => Err(Refused::Name(name)),
        Certificate { serial, .. } if trust.revoked.contains(&serial) => Err(Refused::Revoked(serial)),
        certificate => Ok(certificate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        Certificate { cluster: "shop".into(), name: "a".into(), public: PublicKey::of([7; 32]), serial: 3 }
    }

    fn judged(text: &str, key: &SigningKey, revoked: &[u64]) -> Result<Certificate, Refused> {
        verify(text, &Trust { cluster: "shop", name: "a", issuers: &[*key.public()], revoked })
    }

    #[test]
    fn a_certificate_of_this_cluster_is_taken_until_it_is_revoked() {
        let key = SigningKey::draw().unwrap();
        let text = certificate().sign(&key).unwrap();
        assert_eq!(judged(&text, &key, &[]), Ok(certificate()));
        assert_eq!(judged(&text, &key, &[2, 4]), Ok(certificate()));
        assert_eq!(judged(&text, &key, &[2, 3]), Err(Refused::Revoked(3)));
        let later = text.replacen('{', "{\"later\":[1],", 1);
        assert_eq!(judged(&later, &key, &[]), Ok(certificate()), "members that are not known are passed over");
    }

    #[test]
    fn one_of_another_cluster_host_or_signing_key_is_not() {
        let key = SigningKey::draw().unwrap();
        let signed = |certificate: Certificate| certificate.sign(&key).unwrap();
        let other = signed(Certificate { cluster: "mill".into(), ..certificate() });
        assert_eq!(judged(&other, &key, &[]), Err(Refused::Cluster("mill".into())));
        let other = signed(Certificate { name: "b".into(), ..certificate() });
        assert_eq!(judged(&other, &key, &[]), Err(Refused::Name("b".into())));
        let another = SigningKey::draw().unwrap();
        assert_eq!(judged(&signed(certificate()), &another, &[]), Err(Refused::Signature));
    }

    #[test]
    fn each_changed_byte_is_found() {
        let key = SigningKey::draw().unwrap();
        let text = certificate().sign(&key).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(judged(&changed, &key, &[]).is_err(), "{changed}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_its_reason() {
        let key = SigningKey::draw().unwrap();
        assert_eq!(judged("", &key, &[]), Err(Refused::Missing));
        assert!(matches!(judged("{}", &key, &[]), Err(Refused::Unreadable(_))));
        assert!(matches!(judged(&"[".repeat(LENGTH_MAX + 1), &key, &[]), Err(Refused::Unreadable(_))));
        assert_eq!(Certificate { name: "a\nb".into(), ..certificate() }.sign(&key), None);
    }
}
