//! Who waits for the next event of an account.
//!
//! One task of the process looks for all of them, in one statement each time. Whoever waits holds no connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use crate::domain::id::AccountId;

/// How often new events are looked for.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);

/// How many requests of one account may wait at a time. More of them do not wait.
const MAX_WAITING: usize = 100;

/// Follows the feed of an account, for as long as it exists.
pub(in crate::service) struct News(watch::Receiver<i64>);

impl News {
    /// Waits until something new is in the feed.
    pub(in crate::service) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The process ends, and nothing more is announced.
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// For each account that somebody waits for the newest position. None once the process ends.
    positions: Mutex<Positions>,
    /// Somebody began to wait.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Positions {
    of_accounts: HashMap<AccountId, watch::Sender<i64>>,
    is_stopped: bool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Positions> {
        // Nothing under the lock can panic half way through a change.
        self.shared.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the feed has gone beyond a position. Returns whether it has: otherwise the time is up, too many wait already,
    /// or the process ends.
    pub(super) async fn wait(&self, account: AccountId, position: i64, until: Instant) -> bool {
        let Some(mut receiver) = self.enter(account) else { return false };
        // The sender goes away when the process ends.
        matches!(timeout_at(until, receiver.wait_for(|newest| *newest > position)).await, Ok(Ok(_)))
    }

    /// Follows the feed of an account. Not counted among those that wait.
    pub(super) fn subscribe(&self, account: AccountId) -> News {
        let mut positions = self.lock();
        let receiver = positions.of_accounts.entry(account).or_insert_with(|| watch::Sender::new(0)).subscribe();
        drop(positions);
        self.shared.arrived.notify_one();
        News(receiver)
    }

    fn enter(&self, account: AccountId) -> Option<watch::Receiver<i64>> {
        let mut positions = self.lock();
        if positions.is_stopped {
            return None;
        }
        let sender = positions.of_accounts.entry(account).or_insert_with(|| watch::Sender::new(0));
        let receiver = (sender.receiver_count() < MAX_WAITING).then(|| sender.subscribe());
        drop(positions);
        self.shared.arrived.notify_one();
        receiver
    }

    /// The accounts that somebody waits for. Waits until there is one.
    pub(super) async fn accounts(&self) -> Vec<AccountId> {
        loop {
            let accounts: Vec<AccountId> = {
                let mut positions = self.lock();
                positions.of_accounts.retain(|_, sender| sender.receiver_count() > 0);
                positions.of_accounts.keys().copied().collect()
            };
            if !accounts.is_empty() {
                return accounts;
            }
            self.shared.arrived.notified().await;
        }
    }

    /// Tells those who wait for an account its newest position.
    pub(super) fn announce(&self, account: AccountId, position: i64) {
        if let Some(sender) = self.lock().of_accounts.get(&account) {
            sender.send_if_modified(|newest| std::mem::replace(newest, position) != position);
        }
    }

    /// Ends every wait, and refuses further ones.
    pub(super) fn stop(&self) {
        let mut positions = self.lock();
        positions.is_stopped = true;
        positions.of_accounts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_with_a_new_event_and_at_the_end() {
        let (waiting, account) = (Waiting::default(), AccountId::new());
        let (started, deadline) = (Instant::now(), soon());
        let other = waiting.clone();
        let waiter = tokio::spawn(async move { other.wait(account, 7, deadline).await });
        assert_eq!(waiting.accounts().await, [account]);
        waiting.announce(account, 7);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiter.is_finished());
        waiting.announce(account, 8);
        assert!(waiter.await.expect("no panic"));
        assert_eq!(started.elapsed(), Duration::from_secs(1));
        assert!(!waiting.wait(account, 8, deadline).await);
        assert_eq!(Instant::now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_once_the_process_ends() {
        let (waiting, account) = (Waiting::default(), AccountId::new());
        let started = Instant::now();
        let other = waiting.clone();
        let waiter = tokio::spawn(async move { other.wait(account, 0, soon()).await });
        waiting.accounts().await;
        waiting.stop();
        assert!(!waiter.await.expect("no panic"));
        assert!(!waiting.wait(account, 0, soon()).await);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_a_hundred_requests_of_an_account_wait() {
        let (waiting, account) = (Waiting::default(), AccountId::new());
        let receivers: Vec<_> = (0..MAX_WAITING).filter_map(|_| waiting.enter(account)).collect();
        assert_eq!(receivers.len(), MAX_WAITING);
        assert!(waiting.enter(account).is_none());
        assert!(waiting.enter(AccountId::new()).is_some());
    }
}
