//! The keys that sign tokens. Each is random and has a unique name.

use std::collections::HashSet;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::service::error::Error;

/// The minimum length of a signing key, in bytes (RFC 7518, 3.2: the length of the hash).
pub const MIN_KEY_BYTES: usize = 32;

/// The minimum number of different bytes in a signing key. 32 random bytes contain about 30, and fewer than 16 in one
/// of 10^16 keys. A repeated word, a run of zeros and most typed text contain fewer than 16.
const MIN_DIFFERENT_BYTES: usize = 16;

/// The maximum length of a key's name. In an entry whose parts are swapped, the name is a key, which is longer.
const MAX_KID: usize = 32;

/// Why a list of signing keys was refused. Contains no part of a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The list is empty.
    #[error("at least one signing key is needed")]
    None,
    /// An entry that is not `kid:base64`.
    #[error("signing key number {0} is not of the form kid:base64")]
    Malformed(usize),
    /// A key of fewer bytes than [`MIN_KEY_BYTES`].
    #[error("signing key {0:?} has fewer than {MIN_KEY_BYTES} bytes")]
    Short(String),
    /// A key that is not random.
    #[error(
        "signing key {0:?} is not random: it has fewer than {MIN_DIFFERENT_BYTES} different bytes; openssl rand -base64 32 makes a good one"
    )]
    Weak(String),
    /// Two keys with the same name.
    #[error("signing key {0:?} is given twice")]
    Duplicate(String),
}

/// A key, and its name in the header of tokens.
#[derive(Debug)]
pub struct SigningKey {
    kid: String,
    pub(super) secret: SecretSlice<u8>,
}

impl SigningKey {
    /// A key from its bytes.
    ///
    /// # Errors
    /// It is too short, or not random.
    pub fn new(kid: impl Into<String>, secret: SecretSlice<u8>) -> Result<Self, KeyFault> {
        let kid = kid.into();
        let bytes = secret.expose_secret();
        if bytes.len() < MIN_KEY_BYTES {
            return Err(KeyFault::Short(kid));
        }
        if bytes.iter().collect::<HashSet<_>>().len() < MIN_DIFFERENT_BYTES {
            return Err(KeyFault::Weak(kid));
        }
        Ok(Self { kid, secret })
    }

    /// Its name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// 32 bytes that depend on this key and the text, and do not reveal the key: HMAC-SHA256.
    ///
    /// # Errors
    /// Fails only because of a bug.
    pub fn derive(&self, text: &str) -> Result<[u8; 32], Error> {
        let key = EncodingKey::from_secret(self.secret.expose_secret());
        let encoded =
            sign(text.as_bytes(), &key, Algorithm::HS256).map_err(|error| Error::internal("deriving from a signing key", error))?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| Error::internal("deriving from a signing key", "not 32 bytes"))
    }

    /// Reads `kid:base64,kid:base64`.
    ///
    /// # Errors
    /// The list is empty, or an entry is malformed, short, weak or repeated.
    pub fn parse_list(list: &SecretString) -> Result<Vec<Self>, KeyFault> {
        let mut keys: Vec<Self> = Vec::new();
        for (index, entry) in list.expose_secret().split(',').map(str::trim).filter(|entry| !entry.is_empty()).enumerate() {
            let malformed = || KeyFault::Malformed(index + 1);
            let (kid, encoded) = entry.split_once(':').ok_or_else(malformed)?;
            let kid = kid.trim();
            let secret = STANDARD.decode(encoded.trim()).map_err(|_| malformed())?;
            if !is_name(kid) {
                return Err(malformed());
            }
            if keys.iter().any(|key| key.kid == kid) {
                return Err(KeyFault::Duplicate(kid.to_owned()));
            }
            keys.push(Self::new(kid, secret.into())?);
        }
        if keys.is_empty() { Err(KeyFault::None) } else { Ok(keys) }
    }
}

fn is_name(kid: &str) -> bool {
    (1..=MAX_KID).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(list: &str) -> Result<Vec<SigningKey>, KeyFault> {
        SigningKey::parse_list(&SecretString::from(list))
    }

    fn entry(kid: &str, secret: &[u8]) -> String {
        format!("{kid}:{}", STANDARD.encode(secret))
    }

    /// `length` bytes, `different` of which are different.
    fn bytes(different: u8, length: usize) -> Vec<u8> {
        (0..different).cycle().take(length).collect()
    }

    #[test]
    fn a_list_is_parsed_in_order() {
        let list = format!(" {} , {}, ", entry("new", &bytes(32, 32)), entry("old", &bytes(40, 64)));
        let keys = keys(&list).expect("keys");
        assert_eq!(keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["new", "old"]);
        assert_eq!(keys[1].secret.expose_secret(), bytes(40, 64));
    }

    #[test]
    fn malformed_lists_are_refused() {
        let good = entry("a", &bytes(32, 32));
        assert_eq!(keys("").err(), Some(KeyFault::None));
        assert_eq!(keys(" , ").err(), Some(KeyFault::None));
        assert_eq!(keys("nocolon").err(), Some(KeyFault::Malformed(1)));
        assert_eq!(keys(":AAAA").err(), Some(KeyFault::Malformed(1)));
        assert_eq!(keys("two words:AAAA").err(), Some(KeyFault::Malformed(1)));
        let (_, secret) = good.split_once(':').expect("an entry");
        assert_eq!(keys(&format!("{secret}:k1AA")).err(), Some(KeyFault::Malformed(1)), "the name would be the key");
        assert_eq!(keys(&format!("{good},b:%%%")).err(), Some(KeyFault::Malformed(2)));
        assert_eq!(keys(&format!("{good},{}", entry("a", &bytes(33, 33)))).err(), Some(KeyFault::Duplicate("a".into())));
        assert_eq!(keys(&format!("{good}, a :AAAA")).err(), Some(KeyFault::Duplicate("a".into())));
    }

    #[test]
    fn short_and_weak_keys_are_refused_at_any_position() {
        let good = entry("a", &bytes(32, 32));
        for (secret, fault) in [
            (bytes(31, 31), KeyFault::Short("b".into())),
            (Vec::new(), KeyFault::Short("b".into())),
            (vec![0; 32], KeyFault::Weak("b".into())),
            (vec![0; 4_096], KeyFault::Weak("b".into())),
            (bytes(15, 4_096), KeyFault::Weak("b".into())),
            (b"secret".repeat(10), KeyFault::Weak("b".into())),
            (b"0123456789".repeat(4), KeyFault::Weak("b".into())),
            (b"change me, change me, change me!".to_vec(), KeyFault::Weak("b".into())),
        ] {
            assert_eq!(keys(&format!("{good},{}", entry("b", &secret))).err(), Some(fault), "{secret:?}");
        }
        assert!(keys(&entry("b", &bytes(16, 32))).is_ok());
    }

    #[test]
    fn errors_and_debug_output_name_the_key_and_show_no_part_of_it() {
        let secret = b"hunter2".repeat(8);
        for list in [entry("k1", &secret), entry("k1", &secret[..9]), format!("{0},{0}", entry("k1", &bytes(32, 32)))] {
            let fault = keys(&list).expect_err("refused").to_string();
            let (_, encoded) = list.split_once(':').expect("an entry");
            assert!(fault.contains("\"k1\"") && !fault.contains("hunter2") && !fault.contains(&encoded[..8]), "{fault}");
        }
        let shown = format!("{:?}", keys(&entry("k1", b"abcdefghijklmnopqrstuvwxyz0123456789")).expect("keys"));
        assert!(!shown.contains("abcdef") && !shown.contains("97, 98"), "{shown}");
    }

    #[test]
    fn random_keys_are_accepted() {
        for _ in 0..10_000 {
            let secret: [u8; MIN_KEY_BYTES] = rand::random();
            assert!(SigningKey::new("a", secret.to_vec().into()).is_ok());
        }
    }
}
