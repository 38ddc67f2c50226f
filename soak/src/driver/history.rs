//! Writes every attempt to `history.jsonl`, and counts what the driver alone knows.

use std::{
    error::Error,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use record::Attempt;

/// A count that any task may raise.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened to operations, beyond what their attempts say one by one.
#[derive(Debug, Default)]
pub struct Tally {
    /// Attempts sent.
    pub attempts: Count,
    /// Deliberate second sendings of a key.
    pub duplicates: Count,
    /// Requests dropped by the client.
    pub hang_ups: Count,
    /// Operations whose first attempt ended without a definitive answer and that got one later.
    pub resolved: Count,
    /// Those of them where neither a hang-up nor a duplicate of ours was the reason.
    pub felt: Count,
    /// Writes that could not be recorded.
    pub unrecorded: Count,
}

/// The history file and the clock that all its times are on.
#[derive(Debug)]
pub struct History {
    file: Mutex<BufWriter<File>>,
    began: Instant,
    /// The counts.
    pub tally: Tally,
}

impl History {
    /// A new, empty history.
    pub fn create(path: &Path) -> Result<Self, Box<dyn Error>> {
        let file = Mutex::new(BufWriter::new(File::create_new(path)?));
        Ok(Self { file, began: Instant::now(), tally: Tally::default() })
    }

    /// Nanoseconds since the history began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Appends one attempt. A failure is counted, and fails the run in the end.
    pub fn write(&self, attempt: &Attempt) {
        self.tally.attempts.add();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = serde_json::to_writer(&mut *file, attempt).map_err(Into::into).and_then(|()| file.write_all(b"\n"));
        if written.is_err() {
            self.tally.unrecorded.add();
        }
    }

    /// Makes sure that a reader finds everything.
    pub fn flush(&self) -> Result<(), Box<dyn Error>> {
        Ok(self.file.lock().unwrap_or_else(PoisonError::into_inner).flush()?)
    }
}
