//! Passwords: argon2id, a bounded number at a time, the same work for a user who is not there.

use std::{num::NonZeroUsize, sync::Arc, thread};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use secrecy::{ExposeSecret, SecretString};

use super::hashers::{Hashers, Lane, Memory};
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
        // No password is known that has this hash.
        let output: [u8; Params::DEFAULT_OUTPUT_LEN] = rand::random();
        let nobody = Output::new(&output).map_err(broken).and_then(|output| phc(Salt::generate(), output))?;
        Ok(Self(Arc::new(Inner { hashers: Hashers::start(cores)?, nobody })))
    }

    /// The PHC string of a password, with a salt of its own. Only somebody who is let in has one to set.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many wait.
    pub async fn hash(&self, password: &SecretString) -> Result<String> {
        let password = password.clone();
        self.0.hashers.run(Lane::Known, move |memory| hash(&password, memory)).await?
    }

    /// Whether the password is the one behind `stored`; never, but as slowly, when there is none.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many wait in the lane.
    pub(super) async fn verify(&self, password: &SecretString, stored: Option<&str>, lane: Lane) -> Result<bool> {
        let password = password.clone();
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.0.nobody).to_owned();
        let matches = self.0.hashers.run(lane, move |memory| verify(&password, &stored, memory)).await??;
        Ok(known && matches)
    }

    /// 32 bytes that stand for a secret and cannot be guessed back from any faster than a password's hash.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is long.
    pub async fn stretch(&self, secret: [u8; 32], salt: [u8; 32]) -> Result<[u8; 32]> {
        let work = move |_: &mut Memory| {
            let mut stretched = [0; 32];
            let done = Argon2::default().hash_password_into(&secret, &salt, &mut stretched);
            done.map(|()| stretched).map_err(|error| Error::internal("stretching a secret", error))
        };
        self.0.hashers.run(Lane::Known, work).await?
    }
}

fn hash(password: &SecretString, memory: &mut Memory) -> Result<String> {
    let salt = Salt::generate();
    let output = compute(&Argon2::default(), password, &salt, memory)?;
    phc(salt, output)
}

fn verify(password: &SecretString, stored: &str, memory: &mut Memory) -> Result<bool> {
    let stored = PasswordHash::new(stored).map_err(broken)?;
    let (Some(version), Some(salt), Some(expected)) = (stored.version, stored.salt, stored.hash) else {
        return Err(broken("a part of it is missing"));
    };
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(broken)?;
    let version = Version::try_from(version).map_err(broken)?;
    let params = Params::try_from(&stored).map_err(broken)?;
    let output = compute(&Argon2::new(algorithm, version, params), password, &salt, memory)?;
    // In constant time, as outputs are compared.
    Ok(output == expected)
}

fn compute(argon2: &Argon2<'_>, password: &SecretString, salt: &Salt, memory: &mut Memory) -> Result<Output> {
    let (blocks, length) = (argon2.params().block_count(), argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN));
    if memory.len() < blocks {
        memory.resize(blocks, Block::default());
    }
    let mut output = vec![0; length];
    argon2.hash_password_into_with_memory(password.expose_secret().as_bytes(), salt, &mut output, memory).map_err(broken)?;
    Output::new(&output).map_err(broken)
}

/// As it is stored, with the parameters that are used for new hashes.
fn phc(salt: Salt, output: Output) -> Result<String> {
    let stored = PasswordHash {
        algorithm: Algorithm::default().into(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(&Params::DEFAULT).map_err(broken)?,
        salt: Some(salt),
        hash: Some(output),
    };
    Ok(stored.to_string())
}

fn broken(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::internal("hashing a password", source)
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

    #[test]
    fn what_is_stored_is_what_the_crate_itself_makes_of_it() {
        use argon2::password_hash::{PasswordHasher, PasswordVerifier};
        let (secret, mut memory) = (SecretString::from("secure_password"), Memory::new());
        for _ in 0..2 {
            let ours = hash(&secret, &mut memory).expect("hashed");
            let theirs = Argon2::default().hash_password(b"secure_password").expect("hashed").to_string();
            assert!(Argon2::default().verify_password(b"secure_password", ours.as_str()).is_ok());
            assert!(verify(&secret, &theirs, &mut memory).expect("verified"));
            assert!(!verify(&SecretString::from("Secure_password"), &theirs, &mut memory).expect("verified"));
        }
        // Parameters are those of the hash, whatever those of new ones.
        let small = Params::new(64, 1, 1, Some(16)).expect("parameters");
        let small = Argon2::new(Algorithm::Argon2id, Version::V0x13, small).hash_password(b"secure_password").expect("hashed").to_string();
        assert!(verify(&secret, &small, &mut memory).expect("verified"));
    }

    #[test]
    fn what_is_no_hash_is_a_bug_and_no_refusal() {
        let secret = SecretString::from("x");
        for odd in
            ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ", "$scrypt$ln=1$c29tZXNhbHQ$aGFzaA"]
        {
            assert!(matches!(verify(&secret, odd, &mut Memory::new()), Err(Error::Internal { .. })), "{odd}");
        }
    }
}
