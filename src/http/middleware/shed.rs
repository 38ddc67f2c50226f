//! Bounded work: past so many requests at once the rest is turned away at once, which costs nothing
//! and lets those that are under way finish.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    http::{App, error::Error},
    service::error::Error as ServiceError,
};

pub(in crate::http) async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.in_flight.try_acquire() {
        Ok(_until_answered) => next.run(request).await,
        Err(_) => Error::from(ServiceError::Overloaded).into_response(),
    }
}
