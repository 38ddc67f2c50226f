//! `core-api verify-ledger`: verifies the ledger, and prints what does not add up.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use sqlx::Connection as _;

use super::{Failure, print, settings};
use crate::{
    app::{Postgres, StartError},
    database::{self, DatabaseError},
    service::ledger::{self, Checkpoint, Drift, Progress},
};

/// How often the progress is logged.
const REPORT_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn run(after: Option<Checkpoint>) -> Result<ExitCode, Failure> {
    let settings = settings()?;
    let postgres = Postgres::open(&settings).await?;
    let mut connection = database::connect(&postgres.options).await.map_err(StartError::from)?;
    let (mut drifts, mut printed) = (0_u64, Ok(()));
    let (mut reported, mut checkpoint) = (Instant::now(), after);
    let progress = |read: Progress| {
        checkpoint = read.checkpoint;
        if let Some(after) = read.checkpoint.filter(|_| reported.elapsed() > REPORT_EVERY) {
            reported = Instant::now();
            tracing::info!(cards = read.cards, movements = read.movements, authorizations = read.authorizations, %after, "verifying the ledger");
        }
    };
    let found = |drift: Drift| {
        drifts += 1;
        // The exit code must tell whether the ledger is right, also if nobody reads the output.
        if printed.is_ok() {
            printed = print(&drift);
        }
    };
    let read = ledger::verify(&mut connection, after, progress, found).await.map_err(|cause| match checkpoint {
        Some(after) => Failure::Verification { after, cause },
        None => cause.into(),
    })?;
    connection.close().await.map_err(DatabaseError::Connect).map_err(StartError::from)?;
    postgres.close()?;
    let Progress { cards, movements, authorizations, .. } = read;
    let summary = format!("{cards} cards, {movements} movements and {authorizations} authorizations read, {drifts} drifts found");
    printed = printed.and_then(|()| print(&summary));
    printed.or_else(|failure| if failure.is_closed_pipe() { Ok(()) } else { Err(failure) })?;
    Ok(if drifts == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
