//! Writes every attempt to `history.jsonl`, and counts what only the driver knows.

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

/// A counter that any task can increment.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The current count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts over all operations that their single attempts do not show.
#[derive(Debug, Default)]
pub struct Tally {
    /// Attempts sent.
    pub attempts: Count,
    /// Requests deliberately sent twice under one key.
    pub duplicates: Count,
    /// Requests that the client aborted.
    pub hang_ups: Count,
    /// Operations without a definitive answer to the first attempt that got one later.
    pub resolved: Count,
    /// Those caused by a kill, and not by a hang-up or duplicate of the driver.
    pub by_kills: Count,
    /// Attempts that could not be recorded.
    pub unrecorded: Count,
}

/// The history file and its clock.
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

    /// Appends an attempt. Failures are counted, and fail the run at the end.
    pub fn write(&self, attempt: &Attempt) {
        self.tally.attempts.add();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = serde_json::to_writer(&mut *file, attempt).map_err(Into::into).and_then(|()| file.write_all(b"\n"));
        if written.is_err() {
            self.tally.unrecorded.add();
        }
    }

    /// Writes everything to the file.
    pub fn flush(&self) -> Result<(), Box<dyn Error>> {
        Ok(self.file.lock().unwrap_or_else(PoisonError::into_inner).flush()?)
    }
}
