//! Bounded work: past so many requests at once the rest is turned away at once, which costs nothing
//! and lets those that are under way finish.

use tokio::sync::SemaphorePermit;

use crate::{
    http::{App, error::Error},
    service::error::Error as ServiceError,
};

/// A place among the requests under way, until it is dropped.
///
/// # Errors
/// All are taken.
pub(in crate::http) fn enter(app: &App) -> Result<SemaphorePermit<'_>, Error> {
    app.in_flight.try_acquire().map_err(|_| ServiceError::Overloaded.into())
}
