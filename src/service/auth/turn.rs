//! Whose turn it is to hash on a core that both lanes share.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long those who are known leave a core to a stranger. A hash takes less, unless requests take all the
/// time there is, and then it is not for strangers to hold others up.
pub(super) const LONGEST_TURN: Duration = Duration::from_millis(100);

/// Whose turn it is on a core: the scheduler alone would have strangers wait for as long as anybody who is
/// known hashes.
#[derive(Debug, Default)]
pub(super) struct Turn {
    is_a_stranger_s: Mutex<bool>,
    ended: Condvar,
}

impl Turn {
    pub(super) fn take(&self) {
        *self.lock() = true;
    }

    pub(super) fn end(&self) {
        *self.lock() = false;
        self.ended.notify_all();
    }

    /// Until no stranger has it, or one had it for long.
    pub(super) fn wait(&self) {
        drop(self.ended.wait_timeout_while(self.lock(), LONGEST_TURN, |is_a_stranger_s| *is_a_stranger_s));
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_a_stranger_s.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
