//! Writes the bodies of failures, which carry the request's id.

use axum::{
    Extension,
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};

use super::request_id::RequestId;
use crate::http::error::Problem;

pub(in crate::http) async fn write(Extension(id): Extension<RequestId>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>() else {
        return response;
    };
    let body = Body::from(problem.to_json(&id));
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}
