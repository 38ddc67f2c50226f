//! `GET /docs`: the guide and an interactive reference, served from the binary. The page is in `docs/`, and
//! Swagger UI renders the reference. Neither loads anything from another host.

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use utoipa_swagger_ui::Config;

use super::{
    App,
    error::{Error, Result},
};
use crate::service::error::Error as ServiceError;

/// The page may load only its own files. Swagger UI also needs inline styles and `data:` images.
const SELF_ONLY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its files. The OpenAPI document does not list them, since they are not for programs.
pub(super) fn pages() -> Router<App> {
    Router::new()
        .route("/docs", get(async || ([(header::CONTENT_SECURITY_POLICY, SELF_ONLY)], Html(include_str!("docs/index.html")))))
        .route("/docs/docs.css", get(async || ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("docs/docs.css"))))
        .route("/docs/docs.js", get(async || ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("docs/docs.js"))))
        .route("/docs/swagger-ui.css", get(async || swagger_ui("swagger-ui.css")))
        .route("/docs/swagger-ui-bundle.js", get(async || swagger_ui("swagger-ui-bundle.js")))
}

fn swagger_ui(name: &str) -> Result<Response> {
    let found = utoipa_swagger_ui::serve(name, Arc::new(Config::from("/openapi.json")));
    let found = found.map_err(|error| ServiceError::internal("reading a file of Swagger UI", error.to_string()))?;
    let file = found.ok_or(Error::RouteNotFound)?;
    let mut response = ([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response();
    if file.gzpipped {
        // The file is stored compressed. Every browser accepts gzip.
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
