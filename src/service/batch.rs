//! Batches that form by themselves: calls that wait while a batch is in flight go together in the next one.
//!
//! No timer delays a call in the hope of company. Before a batch is dispatched, every task that can run now runs, so
//! that requests that arrived together, or were answered together, go together.
//!
//! Calls that would wait for one another in the database, such as two postings to one card, share a key. A key is in
//! at most one batch in flight, and the calls of a key go in their order of arrival. A call with several keys goes once
//! all of them are free. Until then it holds back each later call that shares one of its keys, so it cannot starve.
//!
//! A call that has waited for too long is refused, and one whose caller has gone away is dropped: neither is started.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::BoxFuture, stream};
use tokio::{sync::oneshot, task::yield_now, time::sleep_until};
use uuid::Uuid;

use crate::{domain::id::AccountId, telemetry::metrics};

use super::error::{Error, Result};

/// The most calls in one batch.
const MAX_BATCH: usize = 512;

/// The account of a list that names no other. A statement that takes a list compares it, too: a database that is split by
/// account then knows the one shard to ask.
pub(super) fn only_account(accounts: &[Uuid]) -> Option<Uuid> {
    accounts.split_first().filter(|(first, others)| others.iter().all(|other| other == *first)).map(|(first, _)| *first)
}

/// The age at which the newest batch counts as stalled and no longer delays the next one. Until then, calls wait for it
/// to finish: one full batch costs less than two.
pub(super) const STALL_AFTER: Duration = Duration::from_millis(25);

/// How long a call may wait for its turn.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(3);

/// What calls share that must not run side by side.
pub(super) trait Key: Copy + Eq + Hash + Send + 'static {}
impl<K: Copy + Eq + Hash + Send + 'static> Key for K {}

/// One call: a request, and the caller that waits for the reply.
pub(super) struct Call<Q, A> {
    pub(super) request: Q,
    pub(super) since: Instant,
    caller: oneshot::Sender<Result<A>>,
}

impl<Q, A> Call<Q, A> {
    /// A call, and where its reply arrives.
    pub(super) fn new(request: Q) -> (Self, oneshot::Receiver<Result<A>>) {
        let (caller, reply) = oneshot::channel();
        (Self { request, since: Instant::now(), caller }, reply)
    }

    /// Whether it would start too late: its caller has gone away, or has waited for too long.
    fn is_too_late(&self, now: Instant) -> bool {
        self.caller.is_closed() || now.duration_since(self.since) >= MAX_WAIT
    }

    /// Replies. A caller that has gone away does not hear it; what was done stays done.
    pub(super) fn reply(self, reply: Result<A>) {
        drop(self.caller.send(reply));
    }
}

/// Gives every call a copy of one error.
pub(super) fn reply_to_all<Q, A>(calls: impl IntoIterator<Item = Call<Q, A>>, error: &Error) {
    for call in calls {
        call.reply(Err(error.shared_copy()));
    }
}

/// How many parts of a batch are executed at a time. Each uses a connection.
pub(super) const PARTS: usize = 8;

/// Executes a batch: as a whole, or, where the database is distributed by account, the calls of each account by themselves, so that
/// each statement goes to one shard.
pub(super) async fn in_parts<Q, A, F>(
    calls: Vec<Call<Q, A>>,
    sharded: bool,
    account: impl Fn(&Q) -> AccountId,
    execute: impl Fn(Vec<Call<Q, A>>) -> F,
) where
    F: Future<Output = ()>,
{
    if !sharded {
        return execute(calls).await;
    }
    let mut accounts: HashMap<AccountId, Vec<Call<Q, A>>> = HashMap::new();
    for call in calls {
        accounts.entry(account(&call.request)).or_default().push(call);
    }
    stream::iter(accounts.into_values()).for_each_concurrent(PARTS, execute).await;
}

/// What is particular to one batcher.
pub(super) struct Config {
    /// Its name in the metrics.
    pub(super) name: &'static str,
    /// How many batches may be in flight if they stall. Each uses a connection.
    pub(super) max_in_flight: u32,
    /// The error of a call that is dropped without a reply, which only a bug does.
    pub(super) on_dropped: fn() -> Error,
}

/// Executes a batch, and replies to each of its calls.
type Execute<K, Q, A> = Box<dyn Fn(Vec<Call<Q, A>>, Batch<K, Q, A>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Where calls wait until a batch takes them.
pub(super) struct Batcher<K: Key, Q: Send + 'static, A: Send + 'static>(Arc<Inner<K, Q, A>>);

struct Inner<K: Key, Q: Send + 'static, A: Send + 'static> {
    config: Config,
    execute: Execute<K, Q, A>,
    state: Mutex<State<K, Q, A>>,
}

struct State<K, Q, A> {
    /// In their order of arrival, each with its keys.
    waiting: VecDeque<(Vec<K>, Call<Q, A>)>,
    /// The keys of the batches in flight.
    keys: HashSet<K>,
    in_flight: u32,
    /// When the newest batch was dispatched.
    dispatched: Instant,
    /// A caller is about to dispatch.
    is_dispatching: bool,
    /// A task looks after the calls that wait.
    is_watched: bool,
}

impl<K: Key, Q: Send + 'static, A: Send + 'static> Clone for Batcher<K, Q, A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Key, Q: Send + 'static, A: Send + 'static> fmt::Debug for Batcher<K, Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("name", &self.0.config.name).finish_non_exhaustive()
    }
}

impl<K: Key, Q: Send + 'static, A: Send + 'static> Batcher<K, Q, A> {
    pub(super) fn new<F>(config: Config, execute: impl Fn(Vec<Call<Q, A>>, Batch<K, Q, A>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let execute: Execute<K, Q, A> = Box::new(move |calls, batch| Box::pin(execute(calls, batch)));
        let state = State {
            waiting: VecDeque::new(),
            keys: HashSet::new(),
            in_flight: 0,
            dispatched: Instant::now(),
            is_dispatching: false,
            is_watched: false,
        };
        Self(Arc::new(Inner { config, execute, state: Mutex::new(state) }))
    }

    /// Sends a request with the next batch that can take it, and waits for its reply.
    ///
    /// # Errors
    /// Those of the execution, and the configured one if the call is dropped without a reply.
    pub(super) async fn call(&self, keys: impl Into<Vec<K>>, request: Q) -> Result<A> {
        let (call, reply) = Call::new(request);
        self.submit(keys.into(), call).await;
        reply.await.unwrap_or_else(|_| Err((self.0.config.on_dropped)()))
    }

    async fn submit(&self, keys: Vec<K>, call: Call<Q, A>) {
        let now = call.since;
        let dispatch = {
            let mut state = self.0.lock();
            state.waiting.push_back((keys, call));
            // One caller dispatches all calls that wait by then. A batch that finishes dispatches those that wait by then.
            let is_first = state.may_dispatch(self.0.config.max_in_flight, now) && !std::mem::replace(&mut state.is_dispatching, true);
            is_first.then(|| Dispatch(&self.0))
        };
        if dispatch.is_some() {
            // Every other task that can run runs first, and may add its call.
            yield_now().await;
        } else {
            Inner::watch(&self.0);
        }
        drop(dispatch);
    }
}

/// Dispatches when it is dropped, so also if its caller is cancelled.
struct Dispatch<'a, K: Key, Q: Send + 'static, A: Send + 'static>(&'a Arc<Inner<K, Q, A>>);

impl<K: Key, Q: Send + 'static, A: Send + 'static> Drop for Dispatch<'_, K, Q, A> {
    fn drop(&mut self) {
        self.0.lock().is_dispatching = false;
        Inner::dispatch(self.0);
    }
}

impl<K: Key, Q: Send + 'static, A: Send + 'static> Inner<K, Q, A> {
    fn lock(&self) -> MutexGuard<'_, State<K, Q, A>> {
        // Nothing under the lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(inner: &Arc<Self>) {
        loop {
            let Some((keys, calls)) = inner.lock().take_ready(inner.config.max_in_flight) else { break };
            let now = Instant::now();
            metrics::batch_started(inner.config.name, calls.len(), calls.first().map_or(now, |call| call.since));
            let batch = Batch { inner: Arc::clone(inner), keys, is_in_flight: true, since: now };
            tokio::spawn((inner.execute)(calls, batch));
        }
        Self::watch(inner);
    }

    /// Sees to it that the calls that wait are dispatched once the newest batch stalls, and refused once they have waited
    /// for too long. No other call may arrive that would notice.
    fn watch(inner: &Arc<Self>) {
        {
            let mut state = inner.lock();
            if state.waiting.is_empty() || std::mem::replace(&mut state.is_watched, true) {
                return;
            }
        }
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            loop {
                let at = {
                    let mut state = inner.lock();
                    if state.waiting.is_empty() {
                        state.is_watched = false;
                        return;
                    }
                    // If the newest batch has stalled already, the calls that wait need a key or a place that is taken.
                    let now = Instant::now();
                    if now < state.dispatched + STALL_AFTER { state.dispatched + STALL_AFTER } else { now + STALL_AFTER }
                };
                sleep_until(at.into()).await;
                let late = inner.lock().take_late(Instant::now());
                reply_to_all(late, &Error::Overloaded);
                Self::dispatch(&inner);
            }
        });
    }
}

/// The calls of a batch, with all of their keys.
type Ready<K, Q, A> = (HashSet<K>, Vec<Call<Q, A>>);

impl<K: Key, Q, A> State<K, Q, A> {
    fn may_dispatch(&self, max_in_flight: u32, now: Instant) -> bool {
        self.in_flight == 0 || (self.in_flight < max_in_flight && now.duration_since(self.dispatched) >= STALL_AFTER)
    }

    /// Takes the calls that would start too late.
    fn take_late(&mut self, now: Instant) -> Vec<Call<Q, A>> {
        if self.waiting.front().is_none_or(|(_, oldest)| !oldest.is_too_late(now)) {
            return Vec::new();
        }
        let (late, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|(_, call)| call.is_too_late(now));
        let late: VecDeque<_> = late;
        self.waiting = waiting;
        late.into_iter().map(|(_, call)| call).collect()
    }

    /// Takes the calls that can go now, in their order of arrival, with all of their keys.
    fn take_ready(&mut self, max_in_flight: u32) -> Option<Ready<K, Q, A>> {
        let now = Instant::now();
        if self.waiting.is_empty() || !self.may_dispatch(max_in_flight, now) {
            return None;
        }
        let (mut keys, mut calls) = (HashSet::new(), Vec::new());
        let (mut staying, mut blocked) = (VecDeque::new(), HashSet::new());
        while calls.len() < MAX_BATCH
            && let Some((own_keys, call)) = self.waiting.pop_front()
        {
            if own_keys.iter().any(|key| self.keys.contains(key) || blocked.contains(key)) {
                blocked.extend(own_keys.iter().copied());
                staying.push_back((own_keys, call));
            } else if call.is_too_late(now) {
                call.reply(Err(Error::Overloaded));
            } else {
                keys.extend(own_keys);
                calls.push(call);
            }
        }
        staying.append(&mut self.waiting);
        self.waiting = staying;
        if calls.is_empty() {
            return None;
        }
        self.keys.extend(&keys);
        self.in_flight += 1;
        self.dispatched = now;
        Some((keys, calls))
    }
}

/// A batch in flight. It finishes when this is dropped, so also after a panic, and the calls that wait for its keys can
/// go.
pub(super) struct Batch<K: Key, Q: Send + 'static, A: Send + 'static> {
    inner: Arc<Inner<K, Q, A>>,
    keys: HashSet<K>,
    is_in_flight: bool,
    since: Instant,
}

impl<K: Key, Q: Send + 'static, A: Send + 'static> Batch<K, Q, A> {
    /// Releases every key but those `staying`, and lets the next batch go. For a batch that goes on with a few calls that
    /// take longer.
    pub(super) fn release(&mut self, staying: &HashSet<K>) {
        let mut state = self.inner.lock();
        for key in self.keys.difference(staying) {
            state.keys.remove(key);
        }
        self.keys.retain(|key| staying.contains(key));
        if std::mem::replace(&mut self.is_in_flight, false) {
            state.in_flight -= 1;
        }
        drop(state);
        Inner::dispatch(&self.inner);
    }
}

impl<K: Key, Q: Send + 'static, A: Send + 'static> Drop for Batch<K, Q, A> {
    fn drop(&mut self) {
        self.release(&HashSet::new());
        metrics::batch_finished(self.inner.config.name, self.since);
    }
}

#[cfg(test)]
mod tests;
