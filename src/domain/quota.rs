//! The account's hourly quota, as an answer reports it.

use std::time::Duration;

/// What is left of an account's clock hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaSnapshot {
    /// Requests per hour.
    pub limit: u32,
    /// How many requests are left after this one.
    pub remaining: u32,
    /// Epoch second at which the next hour begins, by the database's clock.
    pub reset: i64,
    /// The time until then.
    pub retry_after: Duration,
}
