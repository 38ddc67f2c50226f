//! Load shedding: beyond `server.max_in_flight`, requests are refused immediately. That costs almost
//! nothing and lets the requests in flight finish.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};

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

/// The place in flight of a request that may wait for long. It leaves the place to others meanwhile.
#[derive(Clone, Debug)]
pub(in crate::http) struct InFlightPlace(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl InFlightPlace {
    /// Counts a request as in flight until every copy of the place is dropped, or the request leaves it.
    ///
    /// # Errors
    /// The limit is reached.
    pub(in crate::http) fn admit(app: &App) -> Result<Self, Error> {
        let permit = Arc::clone(&app.in_flight).try_acquire_owned().map_err(|_| ServiceError::Overloaded)?;
        Ok(Self(Arc::new(Mutex::new(Some(permit)))))
    }

    /// Leaves the place.
    pub(in crate::http) fn leave(&self) {
        self.set(None);
    }

    /// Takes a place again, as soon as there is one.
    pub(in crate::http) async fn enter(&self, app: &App) {
        self.set(Arc::clone(&app.in_flight).acquire_owned().await.ok());
    }

    fn set(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}
