//! A core on which both lanes hash.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The longest time that the trusted thread yields the core. An untrusted hash takes less, unless requests occupy the
/// core, and then untrusted hashes must not delay the trusted ones.
pub(super) const MAX_YIELD: Duration = Duration::from_millis(100);

/// Lets an untrusted hash run between two trusted ones. The scheduler alone would starve it while trusted hashes run.
#[derive(Debug, Default)]
pub(super) struct SharedCore {
    untrusted_is_hashing: Mutex<bool>,
    untrusted_finished: Condvar,
}

impl SharedCore {
    pub(super) fn begin_untrusted(&self) {
        *self.lock() = true;
    }

    pub(super) fn end_untrusted(&self) {
        *self.lock() = false;
        self.untrusted_finished.notify_all();
    }

    /// Waits until no untrusted hash is running, at most [`MAX_YIELD`].
    pub(super) fn yield_to_untrusted(&self) {
        drop(self.untrusted_finished.wait_timeout_while(self.lock(), MAX_YIELD, |is_hashing| *is_hashing));
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.untrusted_is_hashing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
