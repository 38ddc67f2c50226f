//! The target of a problem's `type`: `GET /errors` and `GET /errors/{code}`, as HTML or JSON.

use std::fmt::Write as _;

use axum::{
    Json as JsonBody,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    code::Code,
    error::{Error, Result},
    extract::{NoQuery, PathId},
    header_fields::prefers_html,
    openapi::{Operation, Tag, schema},
};

/// The page loads nothing else.
const NO_LOADING: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:1.1rem/1.6 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}\
    h1{line-height:1.25}code{font-size:.95em;background:#f1f1f1;padding:.1em .3em;border-radius:.2em}a{color:#0b57d0}\
    @media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}code{background:#2a2a2a}a{color:#8ab4f8}}";

/// The explanation of a code.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    #[schemars(with = "Code")]
    code: &'static str,
    /// The HTTP status of the code.
    #[schemars(schema_with = "schema::error_status")]
    status: u16,
    title: &'static str,
    /// When the code is returned.
    meaning: &'static str,
    what_to_do: &'static str,
}

impl From<Code> for Explanation {
    fn from(code: Code) -> Self {
        Self { code: code.name(), status: code.status().as_u16(), title: code.title(), meaning: code.meaning(), what_to_do: code.advice() }
    }
}

/// The explanations of all codes.
#[derive(Serialize, JsonSchema)]
pub(super) struct Explanations {
    errors: Vec<Explanation>,
}

/// `GET /errors`
pub(super) const LIST: Operation = Operation::new("listErrors", Tag::Service, "Every error code")
    .about("The meaning of each code and what to do about it: as HTML for browsers, otherwise as JSON.")
    .response::<Explanations>(
        r#"{"errors": [{"code": "card_cancelled", "status": 409, "title": "The card is cancelled", "meaning": "The card is permanently cancelled: it can neither be funded nor assigned, and only what it has paid can be refunded.", "whatToDo": "Create a new card instead. POST /balances/withdraw and POST /transfers empty a cancelled card."}]}"#,
    )
    .or_html();

/// `GET /errors`
pub(super) async fn list(_: NoQuery, headers: HeaderMap) -> Response {
    if !prefers_html(&headers) {
        return with_vary(JsonBody(Explanations { errors: Code::ALL.iter().map(|code| (*code).into()).collect() }).into_response());
    }
    let mut body = "<h1>Errors of the Core API</h1><p>Switch on <code>code</code>; it never changes.</p><dl>".to_owned();
    for code in Code::ALL {
        let (name, status) = (code.name(), code.status().as_u16());
        // Writing to a string cannot fail.
        let _written =
            write!(body, "<dt><a href=\"/errors/{name}\"><code>{name}</code></a> {status}</dt><dd>{}</dd>", escaped(code.title()));
    }
    body.push_str("</dl>");
    page("Errors", &body)
}

/// `GET /errors/{code}`
pub(super) const GET: Operation = Operation::new("getError", Tag::Service, "What an error code means")
    .about("The target of a problem's `type`: as HTML for browsers, otherwise as JSON.")
    .response::<Explanation>(
        r#"{"code": "card_cancelled", "status": 409, "title": "The card is cancelled", "meaning": "The card is permanently cancelled: it can neither be funded nor assigned, and only what it has paid can be refunded.", "whatToDo": "Create a new card instead. POST /balances/withdraw and POST /transfers empty a cancelled card."}"#,
    )
    .or_html()
    .refusals(&[Code::RouteNotFound]);

/// `GET /errors/{code}`
pub(super) async fn get(_: NoQuery, PathId(code): PathId<Code>, headers: HeaderMap) -> Result<Response> {
    let code = code.map_err(|_| Error::RouteNotFound)?;
    if !prefers_html(&headers) {
        return Ok(with_vary(JsonBody(Explanation::from(code)).into_response()));
    }
    let [title, meaning, advice] = [code.title(), code.meaning(), code.advice()].map(escaped);
    let body = format!(
        "<h1>{title}</h1><p><code>{}</code>, with status {}</p><h2>What it means</h2><p>{meaning}</p><h2>What to do</h2><p>{advice}</p>\
         <p><a href=\"/errors\">All errors</a></p>",
        code.name(),
        code.status().as_u16(),
    );
    Ok(page(&title, &body))
}

fn page(title: &str, body: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><body>{body}</body></html>\n"
    );
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, NO_LOADING)];
    with_vary((headers, page).into_response())
}

fn with_vary(mut response: Response) -> Response {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
