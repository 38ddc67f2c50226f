//! A panic is a bug, and an answer like any other failure of ours.

use std::panic::AssertUnwindSafe;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;

use crate::{http::error::Error, service};

pub(in crate::http) fn answer(answered: impl Future<Output = Response>) -> impl Future<Output = Response> {
    // Nothing that a handler may have left half changed outlives it: the database is told to forget.
    AssertUnwindSafe(answered).catch_unwind().map(|answered| {
        answered.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
            Error::Service(service::error::Error::internal("a handler panicked", said.unwrap_or_default())).into_response()
        })
    })
}
