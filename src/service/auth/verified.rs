//! A cache of verified tokens, so that each signature is verified once and not with every request.
//!
//! The claims of a token never change. Its expiry and its session are checked with every request. The cache stores only
//! the hash of a token, so that reading it reveals no token.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest as _, Sha256};

use super::token::Claims;

/// The most tokens in the cache, which then uses about two megabytes.
const MAX_TOKENS: usize = 10_000;

type Hash = [u8; 32];

#[derive(Default)]
pub(super) struct VerifiedTokens(Mutex<HashMap<Hash, Claims>>);

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokens").finish_non_exhaustive()
    }
}

impl VerifiedTokens {
    /// The claims of a token, from the cache or from `verify`. Invalid tokens are not cached.
    pub(super) fn get_or_verify(&self, token: &str, verify: impl FnOnce(&str) -> Option<Claims>) -> Option<Claims> {
        let hash: Hash = Sha256::digest(token).into();
        if let Some(claims) = self.lock().get(&hash) {
            return Some(*claims);
        }
        let claims = verify(token)?;
        let mut cached = self.lock();
        if cached.len() >= MAX_TOKENS {
            // Tokens that are in use return with their next request.
            cached.clear();
        }
        cached.insert(hash, claims);
        Some(claims)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Claims>> {
        // Nothing under the lock can panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AccountId, SessionId, UserId};

    #[test]
    fn a_valid_token_is_verified_once_and_an_invalid_one_each_time() {
        let (verified, mut verifications) = (VerifiedTokens::default(), 0);
        let claims = Claims { account: AccountId::new(), user: UserId::new(), session: SessionId::new(), issued_at: 0, expires_at: 1 };
        let mut read = |token: &str, found| {
            verified.get_or_verify(token, |_| {
                verifications += 1;
                found
            })
        };
        assert_eq!(read("a", Some(claims)), Some(claims));
        assert_eq!(read("a", None), Some(claims));
        assert_eq!(read("b", None), None);
        assert_eq!(read("b", None), None);
        assert_eq!(verifications, 3);
    }

    #[test]
    fn the_cache_is_bounded() {
        let verified = VerifiedTokens::default();
        let claims = Claims { account: AccountId::new(), user: UserId::new(), session: SessionId::new(), issued_at: 0, expires_at: 1 };
        for number in 0..=MAX_TOKENS {
            verified.get_or_verify(&number.to_string(), |_| Some(claims));
        }
        assert_eq!(verified.lock().len(), 1);
    }
}
