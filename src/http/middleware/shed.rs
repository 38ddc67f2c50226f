//! Load shedding: beyond `server.max_in_flight`, requests are refused immediately. That costs almost
//! nothing and lets the requests in flight finish.

use tokio::sync::SemaphorePermit;

use crate::{
    http::{App, error::Error},
    service::error::Error as ServiceError,
};

/// Counts a request as in flight until the permit is dropped.
///
/// # Errors
/// The limit is reached.
pub(in crate::http) fn admit_in_flight(app: &App) -> Result<SemaphorePermit<'_>, Error> {
    app.in_flight.try_acquire().map_err(|_| ServiceError::Overloaded.into())
}
