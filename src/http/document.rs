//! The OpenAPI document: `GET /openapi.json`.

use axum::{
    Extension,
    body::Bytes,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    extract::NoQuery,
    openapi::{Operation, Tag},
};

/// The serialised document, built once.
#[derive(Clone, Debug)]
pub(super) struct Document(pub(super) Bytes);

/// `GET /openapi.json`
pub(super) const GET: Operation =
    Operation::new("getOpenApi", Tag::Service, "This document").about("OpenAPI 3.1, generated from the code that serves the API.");

/// `GET /openapi.json`
pub(super) async fn get(_: NoQuery, Extension(Document(text)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}
