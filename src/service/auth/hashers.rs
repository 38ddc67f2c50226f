//! The threads that hash passwords, in two lanes: trusted and untrusted.
//!
//! A hash occupies a core for tens of milliseconds, and every client can request one. So each lane has at most one
//! thread a core, and all of them have a lower priority than requests, which are short. A flood of untrusted logins
//! cannot fill the trusted lane, use the last core, or use more than a part of the others. Trusted logins cannot starve
//! untrusted ones either: after each hash, a trusted thread yields its core to a waiting untrusted one.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use argon2::Block;
use tokio::{sync::oneshot, time::timeout};

use crate::telemetry::metrics;

use super::{priority::lower_priority, shared_core::SharedCore};
use crate::service::error::{Error, Result};

/// How many jobs may wait in a lane for each of its threads. The lane refuses further jobs.
const WAITING_PER_THREAD: usize = 16;

/// The longest time that a job waits for a thread.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// While the untrusted lane is at least half full, its threads sleep after each hash for this many times its duration.
/// A low priority is not enough: the scheduler preempts a hash late, and the hash has filled the cache of the core. The
/// sleep keeps the load of a flood low. A few logins at once do not trigger it.
const UNTRUSTED_SLEEP_FACTOR: u32 = 6;

/// How long an idle thread keeps its scratch memory.
const KEEP_SCRATCH: Duration = Duration::from_secs(5);

/// The queue in which a password waits to be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The user is logged in, or has logged in from this source lately.
    Trusted,
    /// Every other login.
    Untrusted,
}

impl Lane {
    /// The label of the lane in the metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
        }
    }
}

/// The memory that a thread hashes in. A busy thread keeps it: allocating 19 MiB for every hash would take as long as
/// the hash itself, and delay all other allocations.
pub(super) type Scratch = Vec<Block>;

type Job = Box<dyn FnOnce(&mut Scratch) + Send>;

/// The threads of both lanes.
#[derive(Debug)]
pub(super) struct Hashers {
    trusted: Threads,
    untrusted: Threads,
}

impl Hashers {
    /// Starts one trusted thread for each core, and one untrusted thread for each core but one, at least one.
    ///
    /// # Errors
    /// The system provides no more threads.
    pub(super) fn start(cores: usize) -> Result<Self> {
        let shared: Vec<Arc<SharedCore>> = (1..cores.max(2)).map(|_| Arc::default()).collect();
        let trusted = Threads::start("hash-trusted", Lane::Trusted, (0..cores).map(|core| shared.get(core).cloned()))?;
        let untrusted = Threads::start("hash-untrusted", Lane::Untrusted, shared.iter().cloned().map(Some))?;
        Ok(Self { trusted, untrusted })
    }

    /// Runs `work` on a thread of the lane, in order of arrival.
    ///
    /// # Errors
    /// [`Error::Overloaded`], at once if the lane is full, or after [`MAX_WAIT`] if no thread has become free.
    pub(super) async fn run<T: Send + 'static>(&self, lane: Lane, work: impl FnOnce(&mut Scratch) -> T + Send + 'static) -> Result<T> {
        let threads = match lane {
            Lane::Trusted => &self.trusted,
            Lane::Untrusted => &self.untrusted,
        };
        let (start, started) = oneshot::channel();
        let (result, finished) = oneshot::channel();
        threads.0.push(Box::new(move |scratch| {
            // Fails if the caller has stopped waiting: then the work is skipped.
            if start.send(()).is_ok() {
                let _dropped = result.send(work(scratch));
            }
        }))?;
        timeout(MAX_WAIT, started).await.map_err(|_| Error::Overloaded)?.map_err(|_| Error::Overloaded)?;
        finished.await.map_err(|error| Error::internal("hashing a password", error))
    }
}

/// The threads of one lane. They end when it is dropped.
struct Threads(Arc<Queue>);

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").finish_non_exhaustive()
    }
}

impl Threads {
    /// Starts one thread for each core. A core that the other lane does not use is None.
    fn start(name: &str, lane: Lane, cores: impl ExactSizeIterator<Item = Option<Arc<SharedCore>>>) -> Result<Self> {
        let queue =
            Queue { name: lane.name(), waiting: Mutex::default(), capacity: cores.len() * WAITING_PER_THREAD, job_arrived: Condvar::new() };
        let threads = Self(Arc::new(queue));
        for core in cores {
            let queue = Arc::clone(&threads.0);
            let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
                lower_priority(lane);
                let (core, mut scratch) = (core.as_deref(), Scratch::new());
                // A job that panics fails only its own caller, which receives no result.
                let hash = |job: Job, scratch: &mut Scratch| {
                    let began = Instant::now();
                    drop(catch_unwind(AssertUnwindSafe(|| job(scratch))));
                    metrics::hash_finished(lane.name(), began);
                    metrics::hashes_waiting(lane.name(), queue.lock().jobs.len());
                };
                match lane {
                    Lane::Trusted => {
                        while let Some(job) = queue.pop(&mut scratch) {
                            hash(job, &mut scratch);
                            core.inspect(|core| core.yield_to_untrusted());
                        }
                    }
                    Lane::Untrusted => {
                        while let Some(job) = queue.pop(&mut scratch) {
                            let began = Instant::now();
                            core.inspect(|core| core.begin_untrusted());
                            hash(job, &mut scratch);
                            core.inspect(|core| core.end_untrusted());
                            if queue.is_half_full() {
                                thread::sleep(began.elapsed() * UNTRUSTED_SLEEP_FACTOR);
                            }
                        }
                    }
                }
            });
            started.map_err(|error| Error::internal("starting a hashing thread", error))?;
        }
        Ok(threads)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.job_arrived.notify_all();
    }
}

struct Queue {
    name: &'static str,
    waiting: Mutex<Waiting>,
    capacity: usize,
    job_arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    fn push(&self, job: Job) -> Result<()> {
        let mut waiting = self.lock();
        if waiting.jobs.len() >= self.capacity {
            return Err(Error::Overloaded);
        }
        waiting.jobs.push_back(job);
        let length = waiting.jobs.len();
        drop(waiting);
        metrics::hashes_waiting(self.name, length);
        self.job_arrived.notify_one();
        Ok(())
    }

    /// Waits for the next job, and frees the scratch memory after [`KEEP_SCRATCH`]. None once the lane is closed.
    fn pop(&self, scratch: &mut Scratch) -> Option<Job> {
        let is_idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let waited = self.job_arrived.wait_timeout_while(self.lock(), KEEP_SCRATCH, is_idle);
        let (mut waiting, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            drop(waiting);
            *scratch = Scratch::new();
            waiting = self.job_arrived.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.closed { None } else { waiting.jobs.pop_front() }
    }

    fn is_half_full(&self) -> bool {
        self.lock().jobs.len() * 2 >= self.capacity
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under the lock can panic halfway through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::service::auth::shared_core::MAX_YIELD;

    /// One thread a lane. The untrusted one is busy until the sender is dropped.
    async fn busy() -> (Hashers, mpsc::Sender<()>) {
        let hashers = Hashers::start(1).expect("started");
        let (hold, released) = mpsc::channel::<()>();
        let (signal, started) = oneshot::channel();
        let job = Box::new(move |_: &mut Scratch| {
            signal.send(()).expect("a receiver");
            let _dropped = released.recv();
        });
        hashers.untrusted.0.push(job).expect("room");
        started.await.expect("the job has started");
        (hashers, hold)
    }

    #[tokio::test]
    async fn a_full_lane_refuses_at_once_and_the_other_lane_still_works() {
        let (hashers, hold) = busy().await;
        for _ in 0..WAITING_PER_THREAD {
            hashers.untrusted.0.push(Box::new(|_| {})).expect("room");
        }
        assert!(matches!(hashers.run(Lane::Untrusted, |_| 1).await, Err(Error::Overloaded)));
        assert_eq!(hashers.run(Lane::Trusted, |_| 2).await.expect("hashed"), 2);
        drop(hold);
        let (done, was_done) = mpsc::channel();
        while hashers
            .untrusted
            .0
            .push(Box::new({
                let done = done.clone();
                move |_| done.send(()).expect("a receiver")
            }))
            .is_err()
        {}
        assert!(was_done.recv().is_ok(), "the lane accepts jobs again");
    }

    #[tokio::test]
    async fn a_job_that_waits_too_long_is_refused_and_never_runs() {
        let (hashers, hold) = busy().await;
        let (done, was_done) = mpsc::channel();
        let refused = hashers.run(Lane::Untrusted, move |_| done.send(())).await;
        assert!(matches!(refused, Err(Error::Overloaded)));
        drop(hold);
        assert!(was_done.recv().is_err(), "the refused job ran");
    }

    #[tokio::test]
    async fn a_panic_fails_only_its_own_job() {
        let hashers = Hashers::start(1).expect("started");
        let failed: Result<()> = hashers.run(Lane::Trusted, |_| panic!("this panic is intended")).await;
        assert!(matches!(failed, Err(Error::Internal { .. })));
        assert_eq!(hashers.run(Lane::Trusted, |_| 3).await.expect("hashed"), 3);
    }

    #[tokio::test]
    async fn a_trusted_thread_yields_its_core_between_two_hashes_for_a_bounded_time() {
        let (hashers, hold) = busy().await;
        // Both threads share one core: the trusted one yields it after its first hash.
        let began = Instant::now();
        assert_eq!(hashers.run(Lane::Trusted, |_| 1).await.expect("hashed"), 1);
        assert_eq!(hashers.run(Lane::Trusted, |_| 2).await.expect("hashed"), 2);
        assert!(began.elapsed() >= MAX_YIELD, "the trusted thread did not yield");
        drop(hold);
    }

    #[tokio::test]
    async fn dropping_the_hashers_ends_their_threads() {
        let hashers = Hashers::start(2).expect("started");
        let queue = Arc::downgrade(&hashers.trusted.0);
        drop(hashers);
        for _ in 0..500 {
            if queue.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("threads are still running");
    }
}
