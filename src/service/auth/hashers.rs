//! The threads that hash, in two lanes: one for those who are known, one for everybody else.
//!
//! A hash takes a core for tens of milliseconds and anybody may ask for one. So each lane has a thread
//! for a core and no more; all of them yield to requests, which are short; and no flood of strangers
//! fills the lane of those who are known, nor takes the last core, nor more than a part of the others.
//! Nor do those who are known keep strangers out: a stranger has a core's next turn.

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

use super::{priority::stand_back, turn::Turn};
use crate::service::error::{Error, Result};

/// How many may wait in a lane for each of its threads; the rest is told to come back.
const WAITING_PER_THREAD: usize = 16;

/// How long one may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// While the strangers' lane is half full, they rest after a hash for so many times as long as it took. To
/// yield is not enough: a core that hashes is given up late, and its cache is full of the hash. A flood
/// costs requests what it has of the cores, so it has little; a few who come at once never wait for this.
const STRANGERS_REST: u32 = 6;

/// How long a thread that has nothing to hash keeps its memory.
const KEPT: Duration = Duration::from_secs(5);

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Somebody who has logged in from there before, or is logged in.
    Known,
    /// Anybody else.
    Stranger,
}

impl Lane {
    const fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Stranger => "stranger",
        }
    }
}

/// What a thread hashes in, its own while it is busy. Taken from the system anew for every hash, the 19 MiB cost
/// as much time as the hash itself, and hold everybody up who needs memory meanwhile.
pub(super) type Memory = Vec<Block>;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// Both lanes.
#[derive(Debug)]
pub(super) struct Hashers {
    known: Threads,
    strangers: Threads,
}

impl Hashers {
    /// Starts the threads: for those who are known one on each core, for strangers one less if there is more than one.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(super) fn start(cores: usize) -> Result<Self> {
        let turns: Vec<Arc<Turn>> = (1..cores.max(2)).map(|_| Arc::default()).collect();
        let known = Threads::start("hash-known", Lane::Known, (0..cores).map(|core| turns.get(core).cloned()))?;
        let strangers = Threads::start("hash-stranger", Lane::Stranger, turns.iter().cloned().map(Some))?;
        Ok(Self { known, strangers })
    }

    /// Runs `work` when its turn in the lane comes.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once when the lane is full, and later when the wait was long.
    pub(super) async fn run<T: Send + 'static>(&self, lane: Lane, work: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T> {
        let threads = match lane {
            Lane::Known => &self.known,
            Lane::Stranger => &self.strangers,
        };
        let (start, started) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        threads.0.push(Box::new(move |memory| {
            // Nobody listens any more: they waited too long.
            if start.send(()).is_ok() {
                let _unheard = answer.send(work(memory));
            }
        }))?;
        timeout(LONGEST_WAIT, started).await.map_err(|_| Error::Overloaded)?.map_err(|_| Error::Overloaded)?;
        answered.await.map_err(|error| Error::internal("hashing a password", error))
    }
}

/// The threads of one lane; they end when this is dropped.
struct Threads(Arc<Queue>);

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").finish_non_exhaustive()
    }
}

impl Threads {
    /// A thread for each turn; none is a core that is shared with no other thread that hashes.
    fn start(name: &str, lane: Lane, turns: impl ExactSizeIterator<Item = Option<Arc<Turn>>>) -> Result<Self> {
        let queue = Queue {
            name: lane.name(),
            waiting: Mutex::default(),
            longest: turns.len() * WAITING_PER_THREAD,
            something_waits: Condvar::new(),
        };
        let threads = Self(Arc::new(queue));
        for turn in turns {
            let queue = Arc::clone(&threads.0);
            let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
                stand_back(lane);
                let (turn, mut memory) = (turn.as_deref(), Memory::new());
                // What panics fails its own caller, who gets no answer, and nobody else.
                let hash = |job: Job, memory: &mut Memory| {
                    let began = Instant::now();
                    drop(catch_unwind(AssertUnwindSafe(|| job(memory))));
                    metrics::hashed(lane.name(), began);
                    metrics::hashes_wait(lane.name(), queue.lock().jobs.len());
                };
                match lane {
                    Lane::Known => {
                        while let Some(job) = queue.pop(&mut memory) {
                            hash(job, &mut memory);
                            turn.inspect(|turn| turn.wait());
                        }
                    }
                    Lane::Stranger => {
                        while let Some(job) = queue.pop(&mut memory) {
                            let began = Instant::now();
                            turn.inspect(|turn| turn.take());
                            hash(job, &mut memory);
                            turn.inspect(|turn| turn.end());
                            if queue.is_half_full() {
                                thread::sleep(began.elapsed() * STRANGERS_REST);
                            }
                        }
                    }
                }
            });
            started.map_err(|error| Error::internal("starting a thread that hashes", error))?;
        }
        Ok(threads)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.something_waits.notify_all();
    }
}

struct Queue {
    name: &'static str,
    waiting: Mutex<Waiting>,
    longest: usize,
    something_waits: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    fn push(&self, job: Job) -> Result<()> {
        let mut waiting = self.lock();
        if waiting.jobs.len() >= self.longest {
            return Err(Error::Overloaded);
        }
        waiting.jobs.push_back(job);
        let length = waiting.jobs.len();
        drop(waiting);
        metrics::hashes_wait(self.name, length);
        self.something_waits.notify_one();
        Ok(())
    }

    /// The next job, waited for, and the memory given back where that takes long; none when there will be no more.
    fn pop(&self, memory: &mut Memory) -> Option<Job> {
        let nothing_waits = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let waited = self.something_waits.wait_timeout_while(self.lock(), KEPT, nothing_waits);
        let (mut waiting, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            drop(waiting);
            *memory = Memory::new();
            waiting = self.something_waits.wait_while(self.lock(), nothing_waits).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.closed { None } else { waiting.jobs.pop_front() }
    }

    fn is_half_full(&self) -> bool {
        self.lock().jobs.len() * 2 >= self.longest
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under the lock can panic half way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::service::auth::turn::LONGEST_TURN;

    /// One thread a lane, of which the strangers' is kept busy until the sender is dropped.
    async fn busy() -> (Hashers, mpsc::Sender<()>) {
        let hashers = Hashers::start(1).expect("started");
        let (hold, released) = mpsc::channel::<()>();
        let (tell, begun) = oneshot::channel();
        let job = Box::new(move |_: &mut Memory| {
            tell.send(()).expect("waited for");
            let _dropped = released.recv();
        });
        hashers.strangers.0.push(job).expect("room");
        begun.await.expect("begun");
        (hashers, hold)
    }

    #[tokio::test]
    async fn a_full_lane_is_refused_at_once_and_the_other_goes_on() {
        let (hashers, hold) = busy().await;
        for _ in 0..WAITING_PER_THREAD {
            hashers.strangers.0.push(Box::new(|_| {})).expect("room");
        }
        assert!(matches!(hashers.run(Lane::Stranger, |_| 1).await, Err(Error::Overloaded)));
        assert_eq!(hashers.run(Lane::Known, |_| 2).await.expect("hashed"), 2);
        drop(hold);
        let (done, was_done) = mpsc::channel();
        while hashers
            .strangers
            .0
            .push(Box::new({
                let done = done.clone();
                move |_| done.send(()).expect("listened to")
            }))
            .is_err()
        {}
        assert!(was_done.recv().is_ok(), "the lane stays full");
    }

    #[tokio::test]
    async fn a_long_wait_is_given_up_and_its_work_never_done() {
        let (hashers, hold) = busy().await;
        let (done, was_done) = mpsc::channel();
        let refused = hashers.run(Lane::Stranger, move |_| done.send(())).await;
        assert!(matches!(refused, Err(Error::Overloaded)));
        drop(hold);
        assert!(was_done.recv().is_err(), "hashed for nobody");
    }

    #[tokio::test]
    async fn a_panic_ends_nothing_but_its_own_work() {
        let hashers = Hashers::start(1).expect("started");
        let failed: Result<()> = hashers.run(Lane::Known, |_| panic!("on purpose")).await;
        assert!(matches!(failed, Err(Error::Internal { .. })));
        assert_eq!(hashers.run(Lane::Known, |_| 3).await.expect("hashed"), 3);
    }

    #[tokio::test]
    async fn who_is_known_leaves_a_core_to_a_stranger_between_two_hashes_but_not_for_long() {
        let (hashers, hold) = busy().await;
        // One thread each, on one core: the first is hashed, and then it is the stranger's turn.
        let began = Instant::now();
        assert_eq!(hashers.run(Lane::Known, |_| 1).await.expect("hashed"), 1);
        assert_eq!(hashers.run(Lane::Known, |_| 2).await.expect("hashed"), 2);
        assert!(began.elapsed() >= LONGEST_TURN, "the stranger had no turn");
        drop(hold);
    }

    #[tokio::test]
    async fn threads_end_with_the_lanes() {
        let hashers = Hashers::start(2).expect("started");
        let queue = Arc::downgrade(&hashers.known.0);
        drop(hashers);
        for _ in 0..500 {
            if queue.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("threads are left behind");
    }
}
