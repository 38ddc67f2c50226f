//! Passwords: hashed with argon2id, a bounded number at a time. A login of an unknown user costs the same work.
//!
//! A password is hashed in Unicode normalization form C, so that it is the same whatever form a keyboard sends. Only that
//! form is compared: trying the form that was sent as well would double the work that a guess costs.
//!
//! Users of several accounts who have the same email share the salt of their hashes. So one computation compares a
//! password with all of them, and the time of a login does not tell how many accounts an email has.

use std::{num::NonZeroUsize, sync::Arc, thread};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization as _;

use super::hashers::{Hashers, Lane, Scratch};
use crate::service::error::{Error, Result};

/// The longest password, in characters (Unicode code points, as they were sent): longer than any typed one, and still cheap
/// to hash.
pub const MAX_PASSWORD: usize = 1024;

/// The shortest new password, in characters (NIST SP 800-63B, 5.1.1.1).
pub const MIN_PASSWORD: usize = 8;

/// The most computations for one login. Users with the same email share one salt, unless two accounts created them at the
/// same moment, or a replica of an earlier version did.
const MAX_COMPUTATIONS: usize = 4;

/// Passwords that appear in the published API documentation.
pub const PUBLISHED_PASSWORDS: [&str; 2] = ["test123", "secure_password"];

/// A new password was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have {MIN_PASSWORD} to {MAX_PASSWORD} characters, none of them a control character, and not be a published one")]
pub struct WeakPassword;

/// A password that a user may choose.
#[derive(Clone, Debug)]
pub struct NewPassword(SecretString);

impl NewPassword {
    /// Accepts a password of [`MIN_PASSWORD`] to [`MAX_PASSWORD`] characters without control characters, unless it is in
    /// [`PUBLISHED_PASSWORDS`].
    ///
    /// # Errors
    /// [`WeakPassword`].
    pub fn new(password: SecretString) -> std::result::Result<Self, WeakPassword> {
        let text = password.expose_secret();
        let bounded = (MIN_PASSWORD..=MAX_PASSWORD).contains(&text.chars().count());
        if !bounded || text.chars().any(char::is_control) || PUBLISHED_PASSWORDS.contains(&text) {
            return Err(WeakPassword);
        }
        Ok(Self(password))
    }

    pub(in crate::service) const fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// Hashes and verifies passwords with argon2id (the crate's default: 19 MiB, 2 passes, 1 lane, as OWASP recommends), on
/// its own threads.
#[derive(Clone, Debug)]
pub struct Passwords(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hashers: Hashers,
    /// The hash that an unknown user is verified against, so that the response takes as long.
    dummy_hash: String,
}

impl Passwords {
    /// Starts the threads, and creates the hash for unknown users.
    ///
    /// # Errors
    /// The system provides no randomness or no threads.
    pub fn new() -> Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        // A random output, which no known password has.
        let output: [u8; Params::DEFAULT_OUTPUT_LEN] = rand::random();
        let dummy_hash = Output::new(&output).map_err(hash_error).and_then(|output| phc(Salt::generate(), output))?;
        Ok(Self(Arc::new(Inner { hashers: Hashers::start(cores)?, dummy_hash })))
    }

    /// The PHC string of a password, with the salt of another hash of the same email if there is one, or with a new salt.
    /// Uses the trusted lane: no unauthenticated request sets a password.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the lane is full.
    pub async fn hash(&self, password: &SecretString, same_email: Option<&str>) -> Result<String> {
        let password = normalized(password);
        let salt = same_email.and_then(salt_of).unwrap_or_else(Salt::generate);
        self.0.hashers.run(Lane::Trusted, move |scratch| hash(&password, salt, scratch)).await?
    }

    /// Which of `stored` are hashes of the password. Without any it takes the same time.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the lane is full.
    pub(super) async fn matches(&self, password: &SecretString, stored: Vec<String>, lane: Lane) -> Result<Vec<bool>> {
        let password = normalized(password);
        let is_empty = stored.is_empty();
        let stored = if is_empty { vec![self.0.dummy_hash.clone()] } else { stored };
        let matches = self.0.hashers.run(lane, move |scratch| matches(&password, &stored, scratch)).await??;
        Ok(if is_empty { Vec::new() } else { matches })
    }

    /// 32 bytes derived from a secret. Guessing the secret from them is as slow as from a password hash.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the lane is full.
    pub async fn stretch(&self, secret: [u8; 32], salt: [u8; 32]) -> Result<[u8; 32]> {
        let work = move |_: &mut Scratch| {
            let mut stretched = [0; 32];
            let done = Argon2::default().hash_password_into(&secret, &salt, &mut stretched);
            done.map(|()| stretched).map_err(|error| Error::internal("deriving bytes from a secret", error))
        };
        self.0.hashers.run(Lane::Trusted, work).await?
    }
}

/// The form in which passwords are hashed and compared.
fn normalized(password: &SecretString) -> SecretString {
    password.expose_secret().nfc().collect::<String>().into()
}

fn salt_of(stored: &str) -> Option<Salt> {
    PasswordHash::new(stored).ok()?.salt
}

fn hash(password: &SecretString, salt: Salt, scratch: &mut Scratch) -> Result<String> {
    let output = compute(&Argon2::default(), password, &salt, scratch)?;
    phc(salt, output)
}

/// Computes once for all hashes that have the same parameters and salt. A hash beyond [`MAX_COMPUTATIONS`] does not match,
/// and neither does one that this version cannot read, such as one of a later version: it fails only the logins of its own
/// user.
fn matches(password: &SecretString, stored: &[String], scratch: &mut Scratch) -> Result<Vec<bool>> {
    let mut computed: Vec<(&str, Output)> = Vec::new();
    let mut matches = Vec::new();
    for stored in stored {
        let (parameters, _) = stored.rsplit_once('$').unwrap_or_default();
        let Some((argon2, salt, expected)) = parse(stored) else {
            tracing::error!("a stored password hash cannot be read; its user cannot log in");
            matches.push(false);
            continue;
        };
        if computed.iter().all(|(known, _)| *known != parameters) && computed.len() < MAX_COMPUTATIONS {
            computed.push((parameters, compute(&argon2, password, &salt, scratch)?));
        }
        // `Output` compares in constant time.
        matches.push(computed.iter().any(|(known, output)| *known == parameters && *output == expected));
    }
    if computed.is_empty() {
        // As long as if one had been read.
        compute(&Argon2::default(), password, &Salt::generate(), scratch)?;
    }
    Ok(matches)
}

/// How a stored hash was computed, and the result.
fn parse(stored: &str) -> Option<(Argon2<'static>, Salt, Output)> {
    let stored = PasswordHash::new(stored).ok()?;
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).ok()?;
    let version = Version::try_from(stored.version?).ok()?;
    let params = Params::try_from(&stored).ok()?;
    Some((Argon2::new(algorithm, version, params), stored.salt?, stored.hash?))
}

fn compute(argon2: &Argon2<'_>, password: &SecretString, salt: &Salt, scratch: &mut Scratch) -> Result<Output> {
    let (blocks, length) = (argon2.params().block_count(), argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN));
    if scratch.len() < blocks {
        scratch.resize(blocks, Block::default());
    }
    let mut output = vec![0; length];
    argon2.hash_password_into_with_memory(password.expose_secret().as_bytes(), salt, &mut output, scratch).map_err(hash_error)?;
    Output::new(&output).map_err(hash_error)
}

/// The stored form of a new hash, with the parameters of new hashes.
fn phc(salt: Salt, output: Output) -> Result<String> {
    let stored = PasswordHash {
        algorithm: Algorithm::default().into(),
        version: Some(Version::default().into()),
        params: ParamsString::try_from(&Params::DEFAULT).map_err(hash_error)?,
        salt: Some(salt),
        hash: Some(output),
    };
    Ok(stored.to_string())
}

fn hash_error(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
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
    async fn a_hash_verifies_only_its_own_password_and_an_unknown_user_has_none() {
        let passwords = Passwords::new().expect("randomness");
        let secret = SecretString::from("secure_password");
        let stored = passwords.hash(&secret, None).await.expect("hashed");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let wrong = SecretString::from("Secure_password");
        assert_eq!(passwords.matches(&secret, vec![stored.clone()], Lane::Trusted).await.expect("verified"), [true]);
        assert_eq!(passwords.matches(&wrong, vec![stored], Lane::Trusted).await.expect("verified"), [false]);
        assert!(passwords.matches(&secret, Vec::new(), Lane::Untrusted).await.expect("verified").is_empty());
    }

    #[tokio::test]
    async fn a_password_is_the_same_in_every_unicode_form() {
        let passwords = Passwords::new().expect("randomness");
        // The same word composed, decomposed, and with a compatibility character, which is another password.
        let (composed, decomposed, other) = ("contrase\u{f1}a", "contrasen\u{303}a", "contrase\u{f1}\u{aa}");
        for (hashed, typed, same) in
            [(composed, decomposed, true), (decomposed, composed, true), (decomposed, decomposed, true), (composed, other, false)]
        {
            let stored = passwords.hash(&SecretString::from(hashed), None).await.expect("hashed");
            let matches = passwords.matches(&SecretString::from(typed), vec![stored], Lane::Trusted).await.expect("verified");
            assert_eq!(matches, [same], "{hashed:?} {typed:?}");
        }
    }

    #[test]
    fn a_hash_that_cannot_be_read_matches_nothing_and_fails_no_other() {
        let mut scratch = Scratch::new();
        let secret = SecretString::from("secure_password");
        let good = hash(&secret, Salt::generate(), &mut scratch).expect("hashed");
        for unreadable in ["", "x", "$scrypt$ln=16$c2FsdHNhbHQ$aGFzaA", "$argon2id$v=19$m=19456,t=2,p=1"] {
            let stored = [unreadable.to_owned(), good.clone()];
            assert_eq!(matches(&secret, &stored, &mut scratch).expect("verified"), [false, true], "{unreadable}");
            assert_eq!(matches(&secret, &stored[..1], &mut scratch).expect("verified"), [false], "{unreadable}");
        }
    }

    #[test]
    fn hashes_with_one_salt_are_compared_by_one_computation_and_there_are_at_most_four() {
        let mut scratch = Scratch::new();
        let secret = SecretString::from("secure_password");
        let first = hash(&secret, Salt::generate(), &mut scratch).expect("hashed");
        let second = hash(&SecretString::from("another one"), salt_of(&first).expect("a salt"), &mut scratch).expect("hashed");
        let same = hash(&secret, salt_of(&first).expect("a salt"), &mut scratch).expect("hashed");
        assert_eq!(matches(&secret, &[first.clone(), second, same], &mut scratch).expect("verified"), [true, false, true]);
        let with_new_salt = || hash(&secret, Salt::generate(), &mut Scratch::new()).expect("hashed");
        let mut many: Vec<String> = std::iter::once(first.clone()).chain(std::iter::repeat_with(with_new_salt).take(4)).collect();
        many.push(first);
        assert_eq!(matches(&secret, &many, &mut scratch).expect("verified"), [true, true, true, true, false, true]);
    }

    #[test]
    fn stored_hashes_are_compatible_with_the_argon2_crate() {
        use argon2::password_hash::{PasswordHasher, PasswordVerifier};
        let (secret, mut scratch) = (SecretString::from("secure_password"), Scratch::new());
        for _ in 0..2 {
            let ours = hash(&secret, Salt::generate(), &mut scratch).expect("hashed");
            let theirs = Argon2::default().hash_password(b"secure_password").expect("hashed").to_string();
            assert!(Argon2::default().verify_password(b"secure_password", ours.as_str()).is_ok());
            assert_eq!(matches(&secret, std::slice::from_ref(&theirs), &mut scratch).expect("verified"), [true]);
            assert_eq!(matches(&SecretString::from("Secure_password"), &[theirs], &mut scratch).expect("verified"), [false]);
        }
        // The parameters are those of the stored hash, not those of new hashes.
        let small = Params::new(64, 1, 1, Some(16)).expect("parameters");
        let small = Argon2::new(Algorithm::Argon2id, Version::V0x13, small).hash_password(b"secure_password").expect("hashed").to_string();
        assert_eq!(matches(&secret, &[small], &mut scratch).expect("verified"), [true]);
    }
}
