//! Writes the bodies of failures, which carry the request's id.

use axum::{
    Extension, Json,
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::request_id::RequestId;
use crate::http::error::{FieldFault, Problem};

/// RFC 9457, with `code`, `requestId` and `errors` beside its own members.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemBody<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldFault],
}

pub(in crate::http) async fn write(Extension(id): Extension<RequestId>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>() else {
        return response;
    };
    let body = Json(ProblemBody {
        r#type: format!("/errors/{}", problem.code.name()),
        title: problem.code.title(),
        status: response.status().as_u16(),
        detail: &problem.detail,
        code: problem.code.name(),
        request_id: id.as_str(),
        errors: &problem.faults,
    })
    .into_response()
    .into_body();
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}
