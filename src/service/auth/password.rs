//! Passwords: argon2id, a bounded number at a time, the same work for a user who is not there.

use std::{num::NonZeroUsize, sync::Arc, thread};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};

use super::hashers::{Hashers, Lane};
use crate::service::error::{Error, Result};

/// The longest password, in characters: more than anybody types, less than is a burden to hash.
pub const MAX_PASSWORD: usize = 1024;

/// The shortest new one, in characters (NIST SP 800-63B, 5.1.1.1).
pub const MIN_PASSWORD: usize = 8;

/// Passwords that everybody can read in the API's published text.
pub const PUBLISHED: [&str; 2] = ["test123", "secure_password"];

/// Why a password was refused as a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have {MIN_PASSWORD} to {MAX_PASSWORD} characters, none of them a control character, and not be a published one")]
pub struct WeakPassword;

/// A password that somebody may choose.
#[derive(Clone, Debug)]
pub struct NewPassword(SecretString);

impl NewPassword {
    /// Takes a password that is neither short nor long, has no control characters, and is not one of
    /// those in the published text.
    ///
    /// # Errors
    /// It is one of those.
    pub fn new(password: SecretString) -> std::result::Result<Self, WeakPassword> {
        let text = password.expose_secret();
        let bounded = (MIN_PASSWORD..=MAX_PASSWORD).contains(&text.chars().count());
        if !bounded || text.chars().any(char::is_control) || PUBLISHED.contains(&text) {
            return Err(WeakPassword);
        }
        Ok(Self(password))
    }

    pub(in crate::service) const fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// Hashes and verifies passwords with argon2id (the crate's default: 19 MiB, 2 passes, 1 lane, as OWASP asks),
/// on threads of its own.
#[derive(Clone, Debug)]
pub struct Passwords(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hashers: Hashers,
    /// Verified against when there is no such user, so that the answer takes as long.
    nobody: String,
}

impl Passwords {
    /// Starts the threads and prepares the hash that stands for unknown users.
    ///
    /// # Errors
    /// The system has no randomness or no threads to give.
    pub fn new() -> Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let nobody = hash(&SecretString::from(format!("{:032x}", rand::random::<u128>())))?;
        Ok(Self(Arc::new(Inner { hashers: Hashers::start(cores)?, nobody })))
    }

    /// The PHC string of a password, with a salt of its own. Only somebody who is let in has one to set.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many wait.
    pub async fn hash(&self, password: &SecretString) -> Result<String> {
        let password = password.clone();
        self.0.hashers.run(Lane::Known, move || hash(&password)).await?
    }

    /// Whether the password is the one behind `stored`; never, but as slowly, when there is none.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many wait in the lane.
    pub(super) async fn verify(&self, password: &SecretString, stored: Option<&str>, lane: Lane) -> Result<bool> {
        let password = password.clone();
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.0.nobody).to_owned();
        let work = move || {
            let stored = PasswordHash::new(&stored).map_err(|error| Error::internal("reading a stored password hash", error))?;
            Ok::<_, Error>(Argon2::default().verify_password(password.expose_secret().as_bytes(), &stored).is_ok())
        };
        let matches = self.0.hashers.run(lane, work).await??;
        Ok(known && matches)
    }

    /// 32 bytes that stand for a secret and cannot be guessed back from any faster than a password's hash.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is long.
    pub async fn stretch(&self, secret: [u8; 32], salt: [u8; 32]) -> Result<[u8; 32]> {
        let work = move || {
            let mut stretched = [0; 32];
            let done = Argon2::default().hash_password_into(&secret, &salt, &mut stretched);
            done.map(|()| stretched).map_err(|error| Error::internal("stretching a secret", error))
        };
        self.0.hashers.run(Lane::Known, work).await?
    }
}

fn hash(password: &SecretString) -> Result<String> {
    Argon2::default()
        .hash_password(password.expose_secret().as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Error::internal("hashing a password", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_is_bounded_printable_and_not_published() {
        let longest = "x".repeat(MAX_PASSWORD);
        for text in ["12345678", "correct horse battery staple", "contraseña", &longest] {
            assert!(NewPassword::new(text.into()).is_ok(), "{text}");
        }
        let too_long = "x".repeat(MAX_PASSWORD + 1);
        for text in ["", "1234567", "ñandúes", "test123", "secure_password", "12345678\n", "1234\u{0}5678", &too_long] {
            assert_eq!(NewPassword::new(text.into()).err(), Some(WeakPassword), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_password_is_its_own_and_nobody_s_is_none() {
        let passwords = Passwords::new().expect("randomness");
        let secret = SecretString::from("secure_password");
        let stored = passwords.hash(&secret).await.expect("hashed");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify(&secret, Some(&stored), Lane::Known).await.expect("verified"));
        assert!(!passwords.verify(&SecretString::from("Secure_password"), Some(&stored), Lane::Known).await.expect("verified"));
        assert!(!passwords.verify(&secret, None, Lane::Stranger).await.expect("verified"));
    }
}
