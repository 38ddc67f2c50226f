//! Batches that form themselves: what waits while others are under way goes together as soon as it
//! can. No timer, nothing waits for company but for what is about to come anyhow: a flight boards once all
//! that this replica can do at the moment without waiting is done, so that requests which came or were answered
//! together do not leave one by one.
//!
//! Jobs that would wait for one another in the database, such as two on one card, share a key. Jobs of
//! one key never are in two flights at a time, and go in the order they came in.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio::{task::yield_now, time::sleep_until};

use crate::telemetry::metrics;

/// The most jobs in one flight.
const MOST: usize = 512;

/// How late a flight is that no longer keeps the next from departing. Until then what waits goes with the next: one
/// flight that is full costs less than two.
const LATE: Duration = Duration::from_millis(25);

/// Carries out a flight. It answers its jobs itself, each with its own answer.
type Carry<K, J> = Box<dyn Fn(Vec<J>, Flight<K, J>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Where jobs wait, and what is under way.
pub(super) struct Batches<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static>(Arc<Inner<K, J>>);

struct Inner<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> {
    /// What is carried, as it is called where it is watched.
    name: &'static str,
    /// How many flights at once, should they be late. Each has a connection.
    flights: u32,
    carry: Carry<K, J>,
    state: Mutex<State<K, J>>,
}

struct State<K, J> {
    waiting: VecDeque<(K, J, Instant)>,
    under_way: HashSet<K>,
    flights: u32,
    /// When the last one departed.
    departed: Instant,
    /// A flight is about to board.
    called: bool,
    /// Somebody sees to it that what waits departs once the flight under way is late.
    is_watched: bool,
}

impl<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> Clone for Batches<K, J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> fmt::Debug for Batches<K, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("flights", &self.0.flights).finish_non_exhaustive()
    }
}

impl<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> Batches<K, J> {
    pub(super) fn new<F>(name: &'static str, flights: u32, carry: impl Fn(Vec<J>, Flight<K, J>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let carry: Carry<K, J> = Box::new(move |jobs, flight| Box::pin(carry(jobs, flight)));
        let state = State {
            waiting: VecDeque::new(),
            under_way: HashSet::new(),
            flights: 0,
            departed: Instant::now(),
            called: false,
            is_watched: false,
        };
        Self(Arc::new(Inner { name, flights, carry, state: Mutex::new(state) }))
    }

    /// Sends a job on its way.
    pub(super) async fn submit(&self, key: K, job: J) {
        let now = Instant::now();
        let call = {
            let mut state = self.0.lock();
            state.waiting.push_back((key, job, now));
            // Whoever calls boards all who wait then, and whoever lands those who wait then.
            let calls = state.may_depart(self.0.flights, now) && !std::mem::replace(&mut state.called, true);
            calls.then(|| Call(&self.0))
        };
        if call.is_some() {
            // What else can run, runs first.
            yield_now().await;
        } else {
            Inner::watch(&self.0);
        }
        drop(call);
    }
}

/// A flight that is called, and boards when this is dropped: also if whoever called is gone.
struct Call<'a, K: Copy + Eq + Hash + Send + 'static, J: Send + 'static>(&'a Arc<Inner<K, J>>);

impl<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> Drop for Call<'_, K, J> {
    fn drop(&mut self) {
        self.0.lock().called = false;
        Inner::depart(self.0);
    }
}

impl<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> Inner<K, J> {
    fn lock(&self) -> MutexGuard<'_, State<K, J>> {
        // Nothing under the lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn depart(inner: &Arc<Self>) {
        loop {
            let Some((keys, jobs, first_came)) = inner.lock().board(inner.flights) else { break };
            metrics::departed(inner.name, jobs.len(), first_came);
            let flight = Flight { inner: Arc::clone(inner), keys, has_slot: true, since: Instant::now() };
            tokio::spawn((inner.carry)(jobs, flight));
        }
        Self::watch(inner);
    }

    /// Nobody may come any more who would see that a flight is late.
    fn watch(inner: &Arc<Self>) {
        let at = {
            let mut state = inner.lock();
            if state.waiting.is_empty() || state.flights >= inner.flights || std::mem::replace(&mut state.is_watched, true) {
                return;
            }
            // If it is late already, what waits has to wait for what is under way.
            let now = Instant::now();
            if now < state.departed + LATE { state.departed + LATE } else { now + LATE }
        };
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            sleep_until(at.into()).await;
            inner.lock().is_watched = false;
            Self::depart(&inner);
        });
    }
}

impl<K: Copy + Eq + Hash, J> State<K, J> {
    fn may_depart(&self, flights: u32, now: Instant) -> bool {
        self.flights == 0 || (self.flights < flights && now.duration_since(self.departed) >= LATE)
    }

    /// Takes what can go now, in the order it came in.
    fn board(&mut self, flights: u32) -> Option<(Vec<K>, Vec<J>, Instant)> {
        let now = Instant::now();
        if self.waiting.is_empty() || !self.may_depart(flights, now) {
            return None;
        }
        let (mut keys, mut jobs, mut first_came) = (HashSet::new(), Vec::new(), None);
        let mut staying = VecDeque::new();
        for (key, job, came) in self.waiting.drain(..) {
            if jobs.len() < MOST && !self.under_way.contains(&key) {
                keys.insert(key);
                jobs.push(job);
                first_came.get_or_insert(came);
            } else {
                staying.push_back((key, job, came));
            }
        }
        self.waiting = staying;
        let first_came = first_came?;
        self.under_way.extend(&keys);
        self.flights += 1;
        self.departed = now;
        Some((keys.into_iter().collect(), jobs, first_came))
    }
}

/// Jobs under way. However it ends, what waits for its keys goes next.
pub(super) struct Flight<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> {
    inner: Arc<Inner<K, J>>,
    keys: Vec<K>,
    has_slot: bool,
    since: Instant,
}

impl<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> Flight<K, J> {
    /// Goes on with a few jobs that take longer, whose keys stay taken, and lets the others' next ones go.
    pub(super) fn make_way(&mut self, staying: &HashSet<K>) {
        let mut state = self.inner.lock();
        for key in &self.keys {
            if !staying.contains(key) {
                state.under_way.remove(key);
            }
        }
        self.keys.retain(|key| staying.contains(key));
        if std::mem::replace(&mut self.has_slot, false) {
            state.flights -= 1;
        }
        drop(state);
        Inner::depart(&self.inner);
    }
}

impl<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> Drop for Flight<K, J> {
    fn drop(&mut self) {
        self.make_way(&HashSet::new());
        metrics::landed(self.inner.name, self.since);
    }
}

#[cfg(test)]
mod tests;
