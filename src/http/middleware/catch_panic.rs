//! Turns a panic, which is a bug, into an internal error.

use std::panic::AssertUnwindSafe;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;

use crate::{http::error::Error, service};

pub(in crate::http) fn run(answered: impl Future<Output = Response>) -> impl Future<Output = Response> {
    // Unwind-safe: a handler leaves no half-changed state behind, since its transaction is rolled back.
    AssertUnwindSafe(answered).catch_unwind().map(|answered| {
        answered.unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
            Error::Service(service::error::Error::internal("a handler panicked", message.unwrap_or_default())).into_response()
        })
    })
}
