//! The threads that hash: one a core, below everything else, taking from two lanes in turn.
//!
//! A hash takes a core for tens of milliseconds and anybody may ask for one. So no more run at once
//! than there are cores; they yield to requests, which are short; and those who are known wait in a
//! lane of their own, which no flood of strangers can fill.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use argon2::Block;
use tokio::{sync::oneshot, time::timeout};

use crate::service::error::{Error, Result};

/// How many may wait in a lane for each core; the rest is told to come back.
const WAITING_PER_CORE: usize = 16;

/// How long one may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Somebody who has logged in from there before, or is logged in.
    Known = 0,
    /// Anybody else.
    Stranger = 1,
}

/// What a thread hashes in, its own for life. Taken from the system anew for every hash, the 19 MiB cost
/// as much time as the hash itself, and hold everybody up who needs memory meanwhile.
pub(super) type Memory = Vec<Block>;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The threads; they end when this is dropped.
pub(super) struct Hashers(Arc<Queue>);

struct Queue {
    lanes: Mutex<Lanes>,
    longest: usize,
    something_waits: Condvar,
}

#[derive(Default)]
struct Lanes {
    waiting: [VecDeque<Job>; 2],
    /// The lane whose turn it is.
    turn: usize,
    closed: bool,
}

impl fmt::Debug for Hashers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashers").finish_non_exhaustive()
    }
}

impl Hashers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(super) fn start(cores: usize) -> Result<Self> {
        let queue = Queue { lanes: Mutex::default(), longest: cores * WAITING_PER_CORE, something_waits: Condvar::new() };
        let hashers = Self(Arc::new(queue));
        for core in 0..cores {
            let queue = Arc::clone(&hashers.0);
            let started = thread::Builder::new().name(format!("hash-{core}")).spawn(move || {
                step_back();
                let mut memory = Memory::new();
                while let Some(job) = queue.next() {
                    // What panics fails its own caller, who gets no answer, and nobody else.
                    let _panicked = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
                }
            });
            started.map_err(|error| Error::internal("starting a thread that hashes", error))?;
        }
        Ok(hashers)
    }

    /// Runs `work` when its turn comes.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once when the lane is full, and later when the wait was long.
    pub(super) async fn run<T: Send + 'static>(&self, lane: Lane, work: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T> {
        let (start, started) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        self.0.wait_in(
            lane,
            Box::new(move |memory| {
                // Nobody listens any more: they waited too long.
                if start.send(()).is_ok() {
                    let _unheard = answer.send(work(memory));
                }
            }),
        )?;
        timeout(LONGEST_WAIT, started).await.map_err(|_| Error::Overloaded)?.map_err(|_| Error::Overloaded)?;
        answered.await.map_err(|error| Error::internal("hashing a password", error))
    }
}

impl Drop for Hashers {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.something_waits.notify_all();
    }
}

impl Queue {
    fn wait_in(&self, lane: Lane, job: Job) -> Result<()> {
        let mut lanes = self.lock();
        let waiting = &mut lanes.waiting[lane as usize];
        if waiting.len() >= self.longest {
            return Err(Error::Overloaded);
        }
        waiting.push_back(job);
        drop(lanes);
        self.something_waits.notify_one();
        Ok(())
    }

    /// The next job, waited for; none when there will be no more.
    fn next(&self) -> Option<Job> {
        let mut lanes = self.lock();
        loop {
            if lanes.closed {
                return None;
            }
            if let Some(job) = lanes.take() {
                return Some(job);
            }
            lanes = self.something_waits.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // Nothing under the lock can panic half way through a change.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    /// From the lane whose turn it is, or else from the other: with somebody in both, each gets half.
    fn take(&mut self) -> Option<Job> {
        let lane = if self.waiting[self.turn].is_empty() { 1 - self.turn } else { self.turn };
        self.turn = 1 - lane;
        self.waiting[lane].pop_front()
    }
}

/// Lowers the priority of the calling thread. Where that is refused, hashes are as urgent as everything else.
#[cfg(target_os = "linux")]
fn step_back() {
    if let Err(error) = rustix::process::nice(10) {
        tracing::warn!(%error, "hashing runs at normal priority");
    }
}

/// Elsewhere nice(2) is the whole process'.
#[cfg(not(target_os = "linux"))]
const fn step_back() {}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// One thread, kept busy until the sender is dropped.
    async fn busy() -> (Arc<Hashers>, mpsc::Sender<()>) {
        let hashers = Arc::new(Hashers::start(1).expect("started"));
        let (hold, released) = mpsc::channel::<()>();
        let (tell, begun) = oneshot::channel();
        let job = Box::new(move |_: &mut Memory| {
            tell.send(()).expect("waited for");
            let _dropped = released.recv();
        });
        hashers.0.wait_in(Lane::Stranger, job).expect("room");
        begun.await.expect("begun");
        (hashers, hold)
    }

    #[tokio::test]
    async fn a_full_lane_is_refused_at_once_and_the_other_is_open() {
        let (hashers, hold) = busy().await;
        for _ in 0..WAITING_PER_CORE {
            hashers.0.wait_in(Lane::Stranger, Box::new(|_| {})).expect("room");
        }
        assert!(matches!(hashers.run(Lane::Stranger, |_| 1).await, Err(Error::Overloaded)));
        let known = Arc::clone(&hashers);
        let known = tokio::spawn(async move { known.run(Lane::Known, |_| 2).await });
        tokio::task::yield_now().await;
        drop(hold);
        assert_eq!(known.await.expect("ended").expect("hashed"), 2);
    }

    #[tokio::test]
    async fn with_somebody_in_both_lanes_each_gets_half() {
        let (hashers, hold) = busy().await;
        let (done, order) = mpsc::channel();
        for lane in [Lane::Stranger, Lane::Known] {
            for _ in 0..3 {
                let done = done.clone();
                hashers.0.wait_in(lane, Box::new(move |_| done.send(lane).expect("listened to"))).expect("room");
            }
        }
        drop((hold, done));
        let order: Vec<Lane> = tokio::task::spawn_blocking(move || order.iter().collect()).await.expect("an order");
        assert_eq!(order, [Lane::Known, Lane::Stranger].repeat(3));
    }

    #[tokio::test]
    async fn a_long_wait_is_given_up_and_its_work_never_done() {
        let (hashers, hold) = busy().await;
        let (done, was_done) = mpsc::channel();
        let refused = hashers.run(Lane::Known, move |_| done.send(())).await;
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

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashing_steps_back_and_the_threads_that_serve_do_not() {
        let own = |_: &mut Memory| rustix::process::getpriority_process(None).expect("a priority");
        let before = own(&mut Memory::new());
        let hashers = Hashers::start(2).expect("started");
        assert_eq!(hashers.run(Lane::Stranger, own).await.expect("run"), (before + 10).min(19));
        assert_eq!(own(&mut Memory::new()), before);
    }
}
