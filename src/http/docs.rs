//! The pages for people: `GET /docs`, the guide and an interactive reference, served from the binary, and what leads
//! to them. The page is in `docs/`, and Swagger UI renders the reference. Neither loads anything from another host.

use std::{
    io::Read as _,
    sync::{Arc, LazyLock},
};

use axum::{
    Json as JsonBody, Router,
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use flate2::read::GzDecoder;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa_swagger_ui::Config;

use super::{App, error::Error, header_fields};
use crate::service::error::Error as ServiceError;

/// The page may load only its own files. Swagger UI also needs inline styles and `data:` images.
const SELF_ONLY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A client may keep a file, but asks each time whether it is still the current one: paths stay the same over versions.
const REVALIDATE: &str = "no-cache";

/// The pages and their files. The OpenAPI document does not list them, since they are not for programs.
pub(super) fn pages() -> Router<App> {
    let mut router = Router::new().route("/", get(start));
    // A slash at the end is a common slip in an address that people type.
    for (slip, page) in [("/docs/", "/docs"), ("/errors/", "/errors")] {
        router = router.route(slip, get(async move || Redirect::permanent(page)));
    }
    for (path, file) in FILES {
        router = router.route(path, get(async move |headers: HeaderMap| respond(file, &headers)));
    }
    router
}

/// What `GET /` tells a program.
#[derive(Serialize)]
struct Start {
    name: &'static str,
    version: &'static str,
    docs: &'static str,
    openapi: &'static str,
    errors: &'static str,
    health: &'static str,
}

/// `GET /` leads browsers to the guide, and tells programs where to look.
async fn start(headers: HeaderMap) -> Response {
    let start = Start {
        name: "Core API",
        version: env!("CARGO_PKG_VERSION"),
        docs: "/docs",
        openapi: "/openapi.json",
        errors: "/errors",
        health: "/health/live",
    };
    let to_docs = header_fields::prefers_html(&headers);
    let response = if to_docs { Redirect::temporary(start.docs).into_response() } else { JsonBody(start).into_response() };
    ([(header::VARY, "accept")], response).into_response()
}

/// Every file, made when it is first asked for. All responses share its bytes.
static FILES: [(&str, &LazyLock<Option<File>>); 6] = [
    ("/docs", &PAGE),
    ("/docs/docs.css", &STYLE),
    ("/docs/docs.js", &SCRIPT),
    ("/docs/payment.js", &PAYMENT),
    ("/docs/swagger-ui.css", &SWAGGER_UI_STYLE),
    ("/docs/swagger-ui-bundle.js", &SWAGGER_UI),
];
static PAGE: LazyLock<Option<File>> = LazyLock::new(|| Some(File::plain("text/html; charset=utf-8", include_str!("docs/index.html"))));
static STYLE: LazyLock<Option<File>> = LazyLock::new(|| Some(File::plain("text/css; charset=utf-8", include_str!("docs/docs.css"))));
static SCRIPT: LazyLock<Option<File>> = LazyLock::new(|| Some(File::plain("text/javascript; charset=utf-8", include_str!("docs/docs.js"))));
static PAYMENT: LazyLock<Option<File>> =
    LazyLock::new(|| Some(File::plain("text/javascript; charset=utf-8", include_str!("docs/payment.js"))));
static SWAGGER_UI_STYLE: LazyLock<Option<File>> = LazyLock::new(|| File::of_swagger_ui("text/css; charset=utf-8", "swagger-ui.css"));
static SWAGGER_UI: LazyLock<Option<File>> = LazyLock::new(|| File::of_swagger_ui("text/javascript; charset=utf-8", "swagger-ui-bundle.js"));

/// A file in the encodings in which it is served.
struct File {
    content_type: &'static str,
    plain: Encoded,
    gzip: Option<Encoded>,
}

impl File {
    fn plain(content_type: &'static str, text: &'static str) -> Self {
        Self { content_type, plain: Encoded::new(Bytes::from_static(text.as_bytes())), gzip: None }
    }

    /// A file of Swagger UI, which is stored compressed. `None` if there is no such file.
    fn of_swagger_ui(content_type: &'static str, name: &str) -> Option<Self> {
        let stored = utoipa_swagger_ui::serve(name, Arc::new(Config::from("/openapi.json"))).ok()??;
        let bytes = Bytes::from_owner(stored.bytes);
        if !stored.gzpipped {
            return Some(Self { content_type, plain: Encoded::new(bytes), gzip: None });
        }
        let mut plain = Vec::new();
        GzDecoder::new(&*bytes).read_to_end(&mut plain).ok()?;
        Some(Self { content_type, plain: Encoded::new(plain.into()), gzip: Some(Encoded::new(bytes)) })
    }
}

/// The bytes of a file in one encoding, and the entity tag that names them.
struct Encoded {
    bytes: Bytes,
    tag: String,
}

impl Encoded {
    fn new(bytes: Bytes) -> Self {
        let digest = Sha256::digest(&bytes);
        let tag = digest.iter().take(16).fold("\"".to_owned(), |tag, byte| format!("{tag}{byte:02x}")) + "\"";
        Self { bytes, tag }
    }
}

fn respond(file: &LazyLock<Option<File>>, headers: &HeaderMap) -> Response {
    let Some(file) = &**file else {
        return Error::from(ServiceError::internal("reading a file of Swagger UI", "it is missing or damaged")).into_response();
    };
    let (encoded, coding) = match &file.gzip {
        Some(gzip) if header_fields::accepts_gzip(headers) => (gzip, Some("gzip")),
        _ => (&file.plain, None),
    };
    let mut response = if header_fields::has_entity_tag(headers, &encoded.tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let coding = coding.map(|coding| [(header::CONTENT_ENCODING, coding)]);
        ([(header::CONTENT_TYPE, file.content_type)], coding, encoded.bytes.clone()).into_response()
    };
    let common = response.headers_mut();
    common.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SELF_ONLY));
    common.insert(header::CACHE_CONTROL, HeaderValue::from_static(REVALIDATE));
    if file.gzip.is_some() {
        common.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Ok(tag) = HeaderValue::from_str(&encoded.tag) {
        common.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn responses_share_the_bytes_of_a_file() {
        for (path, file) in FILES {
            let mut addresses = Vec::new();
            for _ in 0..2 {
                let body = respond(file, &HeaderMap::new()).into_body();
                let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
                assert!(bytes.len() > 1_000, "{path} has {} bytes", bytes.len());
                addresses.push(bytes.as_ptr());
            }
            assert_eq!(addresses[0], addresses[1], "{path} is copied");
        }
    }
}
