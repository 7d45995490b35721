//! The file of a host's keys.

use crate::files;
use crate::link::{KeyPair, LinkError};
use crate::os::{process, random};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest size of the file in bytes.
const LENGTH_MAX: u64 = 16 << 10;

/// The keys of a host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Keys {
    /// The key pair that encrypts its connections.
    pub curve: KeyPair,
    /// The signing key of the cluster, which each of its hosts has. It has signed this host's certificate.
    pub signing: SigningKey,
    /// The other signing key, accepted as well, while the cluster changes its signing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<SigningKey>,
    /// This host's certificate, as in its record.
    pub cert: String,
}

/// The signing keys by which certificates of other hosts are verified.
#[derive(Debug, Clone)]
pub struct Signers {
    /// The key with which this host signs.
    pub by: SigningKey,
    /// The other signing key, accepted as well, while the cluster changes its signing key.
    pub also: Option<SigningKey>,
}

impl Signers {
    /// The keys, first the one with which this host signs.
    pub fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.by).chain(&self.also)
    }

    /// The public halves, in the order of [`Signers::all`].
    pub fn publics(&self) -> Vec<[u8; 32]> {
        self.all().map(|key| *key.public()).collect()
    }

    /// Their public halves as text, for records.
    pub fn issuers(&self) -> Vec<String> {
        self.all().map(SigningKey::issuer).collect()
    }
}

/// A single signing key, without a second one.
impl From<SigningKey> for Signers {
    fn from(by: SigningKey) -> Signers {
        Signers { by, also: None }
    }
}

/// The key with which a cluster signs certificates (Ed25519), by its seed of 32 bytes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SigningKey {
    seed: [u8; 32],
    public: [u8; 32],
}

/// Why keys cannot be read or drawn.
#[derive(Debug)]
pub enum KeysError {
    /// The file cannot be read, has another owner, or is accessible to other users.
    File {
        /// Where the keys of this host are.
        path: PathBuf,
        /// The error of the system call, or what is wrong with the file.
        cause: io::Error,
    },
    /// There are no random numbers.
    Random(io::Error),
    /// libzmq cannot make a CURVE key pair.
    Curve(LinkError),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeysError::File { path, .. } => write!(f, "cannot read the keys of this host, {}", path.display()),
            KeysError::Random(_) => f.write_str("cannot draw a key"),
            KeysError::Curve(_) => f.write_str("cannot draw a key pair of CURVE"),
        }
    }
}

impl std::error::Error for KeysError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KeysError::File { cause, .. } | KeysError::Random(cause) => Some(cause),
            KeysError::Curve(cause) => Some(cause),
        }
    }
}

/// The path of the key file of the host that this file describes: beside that.
pub fn key_file(host: &Path) -> PathBuf {
    host.with_file_name("host.key")
}

impl Keys {
    /// Reads the keys. `None`: there is no file, so the host is not connected to others.
    ///
    /// # Errors
    /// The file cannot be read, is owned by another user, is accessible to other users, or has other content.
    pub fn read(path: &Path) -> Result<Option<Keys>, KeysError> {
        let failed = |cause| KeysError::File { path: path.to_owned(), cause };
        // The metadata are those of the opened file: the path may be replaced at any time.
        let (file, metadata) = match files::open_itself(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let denied = |why: String| failed(io::Error::new(io::ErrorKind::PermissionDenied, why));
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(denied(format!("others may read it (its mode is {mode:04o}): chmod 600 {}", path.display())));
        }
        let (owner, own) = (metadata.uid(), process::own_uid());
        if owner != own && owner != 0 {
            return Err(denied(format!("it belongs to user {owner}, neither root nor this one, {own}")));
        }
        let text = files::read_open(file, LENGTH_MAX).map_err(failed)?;
        let unreadable = |error| failed(io::Error::new(io::ErrorKind::InvalidData, error));
        serde_json::from_slice(&text).map(Some).map_err(unreadable)
    }

    /// The signing keys by which certificates are verified.
    pub fn signers(&self) -> Signers {
        Signers { by: self.signing.clone(), also: self.also.clone() }
    }

    /// The content of the key file.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("it is text throughout") + "\n"
    }
}

/// Draws a CURVE key pair.
///
/// # Errors
/// There are no random numbers.
pub fn draw_curve() -> Result<KeyPair, KeysError> {
    KeyPair::draw().map_err(KeysError::Curve)
}

impl SigningKey {
    /// Draws a signing key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn draw() -> Result<SigningKey, KeysError> {
        let mut seed = [0; 32];
        random::fill(&mut seed).map_err(KeysError::Random)?;
        Ok(SigningKey::of(seed))
    }

    fn of(seed: [u8; 32]) -> SigningKey {
        let public = pair(&seed).public_key().as_ref().try_into().expect("a public key of Ed25519 has 32 bytes");
        SigningKey { seed, public }
    }

    /// The public half, which verifies certificates.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The public half as text, for the record of the cluster.
    pub fn issuer(&self) -> String {
        BASE64.encode(self.public)
    }

    /// Derives a seed for another purpose (HKDF). From it neither this key nor the seed of a third purpose can be
    /// computed.
    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut seed = [0; 32];
        let secret = Salt::new(HKDF_SHA256, b"treevisor").extract(&self.seed);
        let filled = secret.expand(&[purpose.as_bytes()], HKDF_SHA256).and_then(|key| key.fill(&mut seed));
        filled.expect("SHA-256 gives 32 bytes");
        seed
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        pair(&self.seed).sign(message).as_ref().to_vec()
    }
}

fn pair(seed: &[u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of Ed25519 has 32 bytes, whichever")
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl TryFrom<String> for SigningKey {
    type Error = String;

    fn try_from(text: String) -> Result<SigningKey, String> {
        let seed = BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        seed.map(SigningKey::of).ok_or_else(|| "a signing key has 32 bytes, in Base64".to_owned())
    }
}

impl From<SigningKey> for String {
    fn from(key: SigningKey) -> String {
        BASE64.encode(key.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn written() -> (tempfile::TempDir, PathBuf, Keys) {
        let directory = tempfile::tempdir().unwrap();
        let path = key_file(&directory.path().join("host.toml"));
        let keys = Keys {
            curve: draw_curve().unwrap(),
            signing: SigningKey::draw().unwrap(),
            also: None,
            cert: "{}".to_owned(),
        };
        fs::write(&path, keys.text()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        (directory, path, keys)
    }

    #[test]
    fn keys_are_read_as_they_were_written_and_shown_nowhere() {
        let (_directory, path, keys) = written();
        let read = Keys::read(&path).unwrap().unwrap();
        assert_eq!((&read.curve, read.signing.public()), (&keys.curve, keys.signing.public()));
        let secret = String::from(keys.signing.clone());
        assert!(keys.text().contains(&secret) && !format!("{keys:?}").contains(&secret));
        assert!(Keys::read(&path.with_file_name("other.key")).unwrap().is_none());
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_a_link_is_refused() {
        let (_directory, path, _) = written();
        let told = || crate::error::Chain(&Keys::read(&path).unwrap_err()).to_string();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(told().contains("chmod 600"), "{}", told());
        let elsewhere = path.with_file_name("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(told().contains("symbolic link"), "{}", told());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(told().contains("missing field"), "{}", told());
    }
}
