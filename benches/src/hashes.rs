//! The hashing rate of the idle machine: argon2id with the parameters of the service, one thread per core.

use std::{
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use argon2::{Argon2, Block};

use bench::Failure;

use crate::sample::{Sample, rate};

/// The number of cores.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Hashes on all cores for this time.
pub async fn run(time: Duration) -> Result<Sample, Failure> {
    let done = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let threads: Vec<_> = (0..cores()).map(|_| thread::spawn(move || hash_until(began + time))).collect();
        let done = threads.into_iter().map(|thread| thread.join().map_err(|_| "a hashing thread panicked")?);
        let done: Result<usize, Failure> = done.sum();
        done.map(|done| rate(done, began.elapsed()))
    });
    Ok(Sample { rate: done.await??, p50: None, p99: None })
}

/// The parameters are the crate's default: 19 MiB, 2 passes, 1 lane. The memory is allocated once.
fn hash_until(until: Instant) -> Result<usize, Failure> {
    let argon2 = Argon2::default();
    let mut memory = vec![Block::default(); argon2.params().block_count()];
    let mut done = 0;
    while Instant::now() < until {
        let mut output = [0; 32];
        let hashed = argon2.hash_password_into_with_memory(b"secure_password", b"sixteen bytes...", &mut output, &mut memory);
        hashed.map_err(|error| error.to_string())?;
        done += 1;
    }
    Ok(done)
}
