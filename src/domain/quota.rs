//! An account's hourly quota, as responses report it.

use std::time::Duration;

/// An account's quota for the current clock hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaSnapshot {
    /// Requests per hour.
    pub limit: u32,
    /// Requests that remain after this one.
    pub remaining: u32,
    /// The start of the next hour in epoch seconds, by the database's clock.
    pub reset: i64,
    /// The time until then.
    pub retry_after: Duration,
}
