//! Writes the bodies of error responses, which contain the request's id.

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};

use super::request_id::RequestId;
use crate::http::error::Problem;

pub(in crate::http) fn write(id: &RequestId, response: Response) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else {
        return response;
    };
    let body = Body::from(problem.to_json(id));
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}
