//! CURVE key pairs of encrypted sockets, each half as 40 characters of Z85, as in libzmq's manual.

use super::context::LinkError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// The public half of a key pair; it identifies a peer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    text: String,
    bytes: [u8; 32],
}

/// The secret half. Never displayed, and written only to the file of a host's keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretKey(PublicKey);

/// A public key and the secret one that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Not secret: it may be sent and stored anywhere.
    pub public: PublicKey,
    /// Only its own host has it.
    pub secret: SecretKey,
}

impl KeyPair {
    /// Draws a new one.
    ///
    /// # Errors
    /// The system has no random numbers, or this libzmq has no CURVE.
    pub fn draw() -> Result<KeyPair, LinkError> {
        let pair = zmq::CurveKeyPair::new().map_err(|error| LinkError::Context { cause: io::Error::from(error) })?;
        let public = PublicKey::of(pair.public_key);
        Ok(KeyPair { public, secret: SecretKey(PublicKey::of(pair.secret_key)) })
    }
}

impl PublicKey {
    /// The key with these 32 bytes.
    pub fn of(bytes: [u8; 32]) -> PublicKey {
        let text = zmq::z85_encode(&bytes).expect("32 is a multiple of 4");
        PublicKey { text, bytes }
    }

    /// The key with these 40 characters of Z85; `None` if the text is not a key.
    pub fn parse(text: &str) -> Option<PublicKey> {
        // The crate accepts texts that encode no key, and drops what does not fit into the last bytes.
        let bytes = zmq::z85_decode(text).ok()?.try_into().ok()?;
        Some(PublicKey::of(bytes)).filter(|key| key.text == text)
    }

    /// Raw, not as Z85.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl SecretKey {
    /// Raw, not as Z85.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0.bytes
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(text: String) -> Result<PublicKey, String> {
        PublicKey::parse(&text).ok_or_else(|| "a key has 40 characters of Z85".to_owned())
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_read_as_it_is_written_and_its_secret_is_shown_nowhere() {
        let pair = KeyPair::draw().unwrap();
        assert_ne!(pair, KeyPair::draw().unwrap());
        let text = serde_json::to_string(&pair).unwrap();
        assert_eq!(serde_json::from_str::<KeyPair>(&text).unwrap(), pair);
        let secret = pair.secret.0.to_string();
        assert!(text.contains(&secret) && !format!("{pair:?}").contains(&secret));
    }

    #[test]
    fn what_is_no_key_is_none() {
        let good = PublicKey::of([7; 32]).to_string();
        assert_eq!(PublicKey::parse(&good), Some(PublicKey::of([7; 32])));
        let long = format!("{good}00000");
        let other = format!("#{}", &good[1..39]);
        for text in ["", &good[..35], &good[1..], &long, &other, &"\u{e4}".repeat(20), &"#".repeat(40)] {
            assert_eq!(PublicKey::parse(text), None, "{text}");
        }
    }
}
