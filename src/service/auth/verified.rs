//! Tokens that were found to be ours, so that each is verified once and not with every request.
//!
//! What a signature says never changes; only the clock does, which is asked each time, and the session, which the
//! database is. A token is remembered by its hash: whoever reads this memory has no token.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest as _, Sha256};

use super::token::Claims;

/// How many are remembered: some two megabytes.
const MOST: usize = 10_000;

type Hash = [u8; 32];

#[derive(Default)]
pub(super) struct Verified(Mutex<HashMap<Hash, Claims>>);

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

impl Verified {
    /// What a token says: as it is remembered, or as `verify` finds. One that is none is not remembered.
    pub(super) fn read(&self, token: &str, verify: impl FnOnce(&str) -> Option<Claims>) -> Option<Claims> {
        let hash: Hash = Sha256::digest(token).into();
        if let Some(claims) = self.lock().get(&hash) {
            return Some(*claims);
        }
        let claims = verify(token)?;
        let mut known = self.lock();
        if known.len() >= MOST {
            // All at once: those in use are back with the next request.
            known.clear();
        }
        known.insert(hash, claims);
        Some(claims)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Claims>> {
        // Nothing under the lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AccountId, SessionId, UserId};

    #[test]
    fn each_token_is_verified_once_and_what_is_none_every_time() {
        let (verified, mut asked) = (Verified::default(), 0);
        let claims = Claims { account: AccountId::new(), user: UserId::new(), session: SessionId::new(), issued_at: 0, expires_at: 1 };
        let mut read = |token: &str, found| {
            verified.read(token, |_| {
                asked += 1;
                found
            })
        };
        assert_eq!(read("a", Some(claims)), Some(claims));
        assert_eq!(read("a", None), Some(claims));
        assert_eq!(read("b", None), None);
        assert_eq!(read("b", None), None);
        assert_eq!(asked, 3);
    }

    #[test]
    fn many_tokens_do_not_take_ever_more_memory() {
        let verified = Verified::default();
        let claims = Claims { account: AccountId::new(), user: UserId::new(), session: SessionId::new(), issued_at: 0, expires_at: 1 };
        for number in 0..=MOST {
            verified.read(&number.to_string(), |_| Some(claims));
        }
        assert_eq!(verified.lock().len(), 1);
    }
}
