//! The API keys that this replica has admitted before, and the buckets of gateways.
//!
//! The role of a key never changes, so a replica that has admitted a key once knows before the look-up whether its requests
//! count towards the account's hour or take from a bucket of the key's own. Whether the key is still live is looked up with
//! every request all the same.
//!
//! A bucket holds the requests of one second, in this replica. It belongs to the key and not to the account, so that a gateway
//! that runs wild does not decline the payments of another.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use crate::domain::{
    api_key::{KeyHash, PresentedKey},
    id::ApiKeyId,
    role::{Permission, Role},
};

/// The most keys that are remembered, which then use about half a megabyte.
const MAX_KEYS: usize = 10_000;

/// The keys that were admitted, by their hash, so that reading this reveals no key.
pub(super) struct KnownKeys {
    roles: Mutex<HashMap<KeyHash, Role>>,
    /// What was refused to keys in a clock hour, counted from 1970.
    refused: Mutex<(i64, HashSet<(ApiKeyId, Permission)>)>,
    buckets: DefaultKeyedRateLimiter<ApiKeyId>,
    clock: DefaultClock,
}

impl fmt::Debug for KnownKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownKeys").finish_non_exhaustive()
    }
}

impl KnownKeys {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self {
            roles: Mutex::default(),
            refused: Mutex::default(),
            buckets: RateLimiter::keyed(Quota::per_second(per_second)),
            clock: DefaultClock::default(),
        }
    }

    /// The role of a key. None if it has not been admitted here.
    pub(super) fn role(&self, key: &PresentedKey) -> Option<Role> {
        lock(&self.roles).get(&key.hash).copied()
    }

    /// Remembers the role of a key that was admitted.
    pub(super) fn insert(&self, key: &PresentedKey, role: Role) {
        let mut roles = lock(&self.roles);
        if roles.len() >= MAX_KEYS && !roles.contains_key(&key.hash) {
            // Keys that are in use return with their next request.
            roles.clear();
        }
        roles.insert(key.hash, role);
    }

    /// Forgets a key that was not admitted.
    pub(super) fn remove(&self, key: &PresentedKey) {
        lock(&self.roles).remove(&key.hash);
    }

    /// Takes a request from the bucket of a gateway's key.
    ///
    /// # Errors
    /// The bucket is empty; after this time it is not.
    pub(super) fn take(&self, key: ApiKeyId) -> Result<(), Duration> {
        self.buckets.check_key(&key).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Notes that the key is refused this permission, and returns whether it is the first time in this hour.
    pub(super) fn note_refusal(&self, key: ApiKeyId, permission: Permission, now: DateTime<Utc>) -> bool {
        let hour = now.timestamp().div_euclid(3_600);
        let mut refused = lock(&self.refused);
        if refused.0 != hour {
            *refused = (hour, HashSet::new());
        }
        refused.1.insert((key, permission))
    }

    /// Removes the buckets that are full again.
    pub(super) fn sweep(&self) {
        self.buckets.retain_recent();
        self.buckets.shrink_to_fit();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under the lock can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AccountId;

    fn keys(per_second: u32) -> KnownKeys {
        KnownKeys::new(NonZeroU32::new(per_second).expect("above zero"))
    }

    fn key(number: usize) -> PresentedKey {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        PresentedKey { account: AccountId::new(), id: ApiKeyId::new(), hash }
    }

    #[test]
    fn a_refusal_is_the_first_once_for_each_key_permission_and_hour() {
        let (keys, one, other) = (keys(1), ApiKeyId::new(), ApiKeyId::new());
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        for (key, permission, seconds, is_first) in [
            (one, Permission::Read, 7_200, true),
            (one, Permission::Read, 7_201, false),
            (one, Permission::Write, 7_201, true),
            (other, Permission::Read, 7_201, true),
            (one, Permission::Read, 10_799, false),
            (one, Permission::Read, 10_800, true),
            (one, Permission::Read, 10_800, false),
            (other, Permission::Read, 10_801, true),
        ] {
            assert_eq!(keys.note_refusal(key, permission, at(seconds)), is_first, "{permission:?} at {seconds}");
        }
    }

    #[test]
    fn a_key_is_known_by_its_hash_from_its_first_admission_until_it_is_refused() {
        let (keys, one) = (keys(1), key(1));
        assert_eq!(keys.role(&one), None);
        keys.insert(&one, Role::Network);
        assert_eq!(keys.role(&one), Some(Role::Network));
        assert_eq!(keys.role(&PresentedKey { hash: [9; 32], ..one }), None, "the same key with another text");
        keys.remove(&one);
        assert_eq!(keys.role(&one), None);
    }

    #[test]
    fn a_bucket_holds_the_requests_of_a_second_of_one_key() {
        let (keys, one, other) = (keys(5), ApiKeyId::new(), ApiKeyId::new());
        let taken = |id| (0..20).filter(|_| keys.take(id).is_ok()).count();
        assert_eq!(taken(one), 5);
        let wait = keys.take(one).expect_err("empty");
        assert!(wait <= Duration::from_millis(200), "{wait:?}");
        assert_eq!(taken(other), 5);
        std::thread::sleep(wait + Duration::from_millis(1));
        keys.take(one).expect("refilled");
    }

    #[test]
    fn the_memory_is_bounded() {
        let keys = keys(1);
        for number in 0..=MAX_KEYS {
            keys.insert(&key(number), Role::Viewer);
        }
        assert_eq!(lock(&keys.roles).len(), 1);
    }
}
