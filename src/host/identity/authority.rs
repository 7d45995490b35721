//! The X.509 authority of a store that the hosts of a cluster run themselves. The hosts' own certificates cannot be
//! used for TLS.
//!
//! The authority's key is derived from the signing key of the cluster, which each host has. So there is no further
//! secret, every host has the same authority without asking another one, and certifies its own member and its own
//! agent, anew at each start. A store of another cluster has another authority, and neither accepts the other's
//! certificates. While a cluster changes its signing key it has two authorities, and accepts the certificates of both.

use super::keys::{Signers, SigningKey};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, SerialNumber, date_time_ymd,
};
use std::time::{Duration, SystemTime};

/// The purpose for which the key is derived.
const PURPOSE: &str = "authority of the store, 1";

/// The prefix of the seed of an Ed25519 key in PKCS#8 (RFC 8410, 7).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far the clock of another host may be behind.
const BEFORE: Duration = DAY;

/// The validity of a certificate. A process that runs that long is assumed to be restarted before.
const AFTER: Duration = DAY.saturating_mul(3653);

/// The authority of one cluster's store.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: String,
}

/// A certificate and the key to it, as PEM.
#[derive(Clone)]
pub struct Issued {
    /// As PEM.
    pub cert: String,
    /// As PEM; secret.
    pub key: String,
}

impl Authority {
    /// The authority of the cluster's own signing key. `ca` has that of the second key too, if there is one.
    ///
    /// # Errors
    /// The certificate of the authority cannot be made.
    pub fn of(signers: &Signers) -> Result<Authority, rcgen::Error> {
        let mut own = Authority::by(&signers.by)?;
        if let Some(also) = &signers.also {
            own.ca.push_str(&Authority::by(also)?.ca);
        }
        Ok(own)
    }

    fn by(signing: &SigningKey) -> Result<Authority, rcgen::Error> {
        let der = [&PKCS8[..], &signing.derive(PURPOSE)].concat();
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "treevisor store");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Fixed values, so that the certificate is the same on all hosts.
        params.serial_number = Some(SerialNumber::from(1));
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2200, 1, 1));
        let ca = params.self_signed(&key)?.pem();
        Ok(Authority { issuer: Issuer::new(params, key), ca })
    }

    /// The certificates of the accepted authorities, one or two, as PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// A certificate for a member at this address, a name or an IP address. It serves for clients and for other
    /// members.
    ///
    /// # Errors
    /// The address is invalid, or there are no random numbers.
    pub fn member(&self, address: &str, now: SystemTime) -> Result<Issued, rcgen::Error> {
        // A member connects to itself over loopback.
        let names = vec![address.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let usage = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(CertificateParams::new(names)?, &usage, now)
    }

    /// A certificate for a client. It has no address, as etcd would compare it with that of the connection.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn client(&self, now: SystemTime) -> Result<Issued, rcgen::Error> {
        self.issue(CertificateParams::default(), &[ExtendedKeyUsagePurpose::ClientAuth], now)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: &[ExtendedKeyUsagePurpose],
        now: SystemTime,
    ) -> Result<Issued, rcgen::Error> {
        params.distinguished_name.push(DnType::CommonName, "treevisor host");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usage.to_vec();
        (params.not_before, params.not_after) = ((now - BEFORE).into(), (now + AFTER).into());
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let cert = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { cert, key: key.serialize_pem() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_have_the_signing_key_have_the_same_authority_and_nobody_else() {
        let signing = SigningKey::draw().unwrap();
        let of = |by: &SigningKey, also: Option<&SigningKey>| {
            Authority::of(&Signers { by: by.clone(), also: also.cloned() }).unwrap().ca().to_owned()
        };
        assert_eq!(of(&signing, None), of(&signing.clone(), None));
        let another = SigningKey::draw().unwrap();
        assert_ne!(of(&signing, None), of(&another, None));
        assert_eq!(of(&signing, Some(&another)), of(&signing, None) + &of(&another, None));
        assert_ne!(signing.derive("a"), signing.derive("b"));
    }

    #[test]
    fn members_have_names_or_numbers_and_keys_of_their_own() {
        let authority = Authority::of(&SigningKey::draw().unwrap().into()).unwrap();
        let now = crate::os::clock::wall();
        let [one, other] = ["10.0.0.1", "a.example"].map(|address| authority.member(address, now).unwrap());
        assert_ne!(one.key, other.key);
        assert!(authority.member("fd00::1", now).is_ok() && authority.client(now).is_ok());
    }
}
