//! Writes every attempt to the file of its card, and counts what only the driver knows.

use std::{
    collections::{HashMap, hash_map::Entry},
    error::Error,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use record::Attempt;
use serde::Serialize;

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

/// A file of lines of JSON.
#[derive(Debug)]
pub struct Lines(Mutex<BufWriter<File>>);

impl Lines {
    /// A new, empty file.
    pub fn create(path: &Path) -> Result<Self, Box<dyn Error>> {
        Ok(Self(Mutex::new(BufWriter::new(File::create_new(path)?))))
    }

    /// Appends a line.
    pub fn write(&self, line: &impl Serialize) -> io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_writer(&mut *file, line)?;
        file.write_all(b"\n")
    }

    /// Writes everything to the file.
    pub fn flush(&self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// The history's files, one a card, and its clock. A card's file is all that the checker needs to hold at a time.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    files: Mutex<HashMap<String, BufWriter<File>>>,
    began: Instant,
    began_at: u64,
    /// The counts.
    pub tally: Tally,
}

impl History {
    /// A new, empty history.
    pub fn create(folder: &Path) -> Result<Self, Box<dyn Error>> {
        fs::create_dir(folder)?;
        let began_at = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
        Ok(Self { folder: folder.to_owned(), files: Mutex::default(), began: Instant::now(), began_at, tally: Tally::default() })
    }

    /// Nanoseconds since 1970. It never goes back, even if the system's clock does.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).map_or(u64::MAX, |elapsed| self.began_at.saturating_add(elapsed))
    }

    /// Appends an attempt. Failures are counted, and fail the run at the end.
    pub fn write(&self, attempt: &Attempt) {
        self.tally.attempts.add();
        if self.append(attempt).is_err() {
            self.tally.unrecorded.add();
        }
    }

    fn append(&self, attempt: &Attempt) -> io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match files.entry(attempt.request.card.clone()) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(new) => {
                let path = self.folder.join(format!("{}.jsonl", attempt.request.card));
                new.insert(BufWriter::new(File::create_new(path)?))
            }
        };
        serde_json::to_writer(&mut *file, attempt)?;
        file.write_all(b"\n")
    }

    /// Writes everything to the files.
    pub fn flush(&self) -> Result<(), Box<dyn Error>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(files.values_mut().try_for_each(Write::flush)?)
    }
}
