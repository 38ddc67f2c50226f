//! Batches that form themselves: what waits while others are under way goes together as soon as it
//! can. No timer, nothing waits for company.
//!
//! Jobs that would wait for one another in the database, such as two on one card, share a key. Jobs of
//! one key never are in two flights at a time, and go in the order they came in.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::BoxFuture;

/// The most jobs in one flight.
const MOST: usize = 512;

/// Carries out a flight. It answers its jobs itself, each with its own answer.
type Carry<K, J> = Box<dyn Fn(Vec<J>, Flight<K, J>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Where jobs wait, and what is under way.
pub(super) struct Batches<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static>(Arc<Inner<K, J>>);

struct Inner<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> {
    /// How many flights at once. Each has a connection.
    flights: usize,
    carry: Carry<K, J>,
    state: Mutex<State<K, J>>,
}

struct State<K, J> {
    waiting: VecDeque<(K, J)>,
    under_way: HashSet<K>,
    flights: usize,
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
    pub(super) fn new<F>(flights: usize, carry: impl Fn(Vec<J>, Flight<K, J>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let carry: Carry<K, J> = Box::new(move |jobs, flight| Box::pin(carry(jobs, flight)));
        let state = State { waiting: VecDeque::new(), under_way: HashSet::new(), flights: 0 };
        Self(Arc::new(Inner { flights, carry, state: Mutex::new(state) }))
    }

    /// Sends a job on its way, at once if nothing is in the way.
    pub(super) fn submit(&self, key: K, job: J) {
        self.0.lock().waiting.push_back((key, job));
        Inner::depart(&self.0);
    }
}

impl<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> Inner<K, J> {
    fn lock(&self) -> MutexGuard<'_, State<K, J>> {
        // Nothing under the lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn depart(inner: &Arc<Self>) {
        loop {
            let Some((keys, jobs)) = inner.lock().board(inner.flights) else { return };
            let flight = Flight { inner: Arc::clone(inner), keys, has_slot: true };
            tokio::spawn((inner.carry)(jobs, flight));
        }
    }
}

impl<K: Copy + Eq + Hash, J> State<K, J> {
    /// Takes what can go now, in the order it came in.
    fn board(&mut self, flights: usize) -> Option<(Vec<K>, Vec<J>)> {
        if self.flights >= flights || self.waiting.is_empty() {
            return None;
        }
        let (mut keys, mut jobs) = (HashSet::new(), Vec::new());
        let mut staying = VecDeque::new();
        for (key, job) in self.waiting.drain(..) {
            if jobs.len() < MOST && !self.under_way.contains(&key) {
                keys.insert(key);
                jobs.push(job);
            } else {
                staying.push_back((key, job));
            }
        }
        self.waiting = staying;
        if jobs.is_empty() {
            return None;
        }
        self.under_way.extend(&keys);
        self.flights += 1;
        Some((keys.into_iter().collect(), jobs))
    }
}

/// Jobs under way. However it ends, what waits for its keys goes next.
pub(super) struct Flight<K: Copy + Eq + Hash + Send + 'static, J: Send + 'static> {
    inner: Arc<Inner<K, J>>,
    keys: Vec<K>,
    has_slot: bool,
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
    }
}
