//! The responses of an endpoint: a success, and for each error status the codes that have it.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::{example_of, operation::SuccessBody};
use crate::http::{code::Code, routes::Entry};

const QUOTA: [&str; 3] = ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];

/// The error responses of all endpoints, without duplicates: most endpoints share them.
#[derive(Debug, Default)]
pub(super) struct Problems(Map<String, Value>);

impl Problems {
    /// The responses that operations refer to.
    pub(super) fn into_components(self) -> Map<String, Value> {
        self.0
    }

    fn reference(&mut self, entry: &Entry, status: StatusCode, codes: &[Code]) -> Value {
        let response = problem(entry, status, codes);
        let mut name = codes.iter().map(|code| code.name()).collect::<Vec<_>>().join(".");
        if !entry.inputs.authenticated {
            name.push_str(".open");
        }
        if is_replayable(entry, status) {
            name.push_str(".replayable");
        }
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        self.0.insert(name, response);
        reference
    }
}

/// The responses of an endpoint, by status.
pub(super) fn responses(entry: &Entry, generator: &mut SchemaGenerator, problems: &mut Problems) -> Map<String, Value> {
    let operation = entry.operation;
    let schema = match operation.body {
        SuccessBody::Body(schema) => schema(generator).into(),
        SuccessBody::List(name, row) => list(name, &row(generator).into()),
    };
    let mut content = json!({"schema": schema});
    if !operation.example.is_empty() {
        content["example"] = example_of(operation.example);
    }
    let mut content = json!({"application/json": content});
    if operation.or_html {
        content["text/html"] = json!({"schema": {"type": "string"}});
    }
    let success = json!({
        "description": "Done",
        "headers": headers_of(entry, StatusCode::OK, &[]),
        "content": content,
    });
    let mut responses = Map::from_iter([("200".to_owned(), success)]);
    let mut by_status: BTreeMap<StatusCode, Vec<Code>> = BTreeMap::new();
    for code in codes(entry) {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        responses.insert(status.as_str().to_owned(), problems.reference(entry, status, &codes));
    }
    responses
}

/// Whether a response with this status may be a replayed one.
fn is_replayable(entry: &Entry, status: StatusCode) -> bool {
    entry.inputs.idempotent && matches!(status.as_u16(), 200 | 404 | 409)
}

/// The error codes of an endpoint, in the order of [`Code::ALL`].
fn codes(entry: &Entry) -> Vec<Code> {
    let mut codes = entry.inputs.codes.clone();
    codes.extend(entry.operation.refusals);
    codes.push(Code::InternalError);
    if entry.method != Method::GET {
        codes.push(Code::OutcomeUnknown);
    }
    codes.retain(|code| !entry.operation.exceptions.contains(code));
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn list(name: &str, row: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {
            name: {"type": "array", "items": row},
            "nextCursor": {
                "type": ["string", "null"],
                "description": "The value of `after` for the next page, or null at the end. Present if `limit` or `after` was given.",
            },
        },
        "required": [name],
        "additionalProperties": false,
    })
}

fn problem(entry: &Entry, status: StatusCode, codes: &[Code]) -> Value {
    let mut names: Vec<Value> = Vec::new();
    let mut titles: Vec<String> = Vec::new();
    let mut examples = Map::new();
    for code in codes {
        names.push(code.name().into());
        titles.push(format!("`{}`: {}", code.name(), code.title()));
        examples.insert(code.name().to_owned(), json!({"$ref": format!("#/components/examples/{}", code.name())}));
    }
    json!({
        "description": titles.join("; "),
        "headers": headers_of(entry, status, codes),
        "content": {"application/problem+json": {
            "schema": {
                "allOf": [{"$ref": "#/components/schemas/Problem"}],
                "properties": {"status": {"const": status.as_u16()}, "code": {"enum": names}},
            },
            "examples": examples,
        }},
    })
}

/// The headers of a response. Headers that only some responses with this status have are optional.
fn headers_of(entry: &Entry, status: StatusCode, codes: &[Code]) -> Map<String, Value> {
    let mut headers = Map::new();
    let mut add = |name: &str, always: bool| {
        let component = if always { name.to_owned() } else { optional(name) };
        headers.insert(name.to_owned(), json!({"$ref": format!("#/components/headers/{component}")}));
    };
    add("X-Request-Id", true);
    // These may be sent before the quota is known: before authentication or counting, or after the session has ended.
    let may_lack_quota = matches!(status.as_u16(), 401 | 403 | 429 | 500 | 503);
    for name in QUOTA.iter().filter(|_| entry.inputs.authenticated) {
        add(name, !may_lack_quota);
    }
    if is_replayable(entry, status) {
        add("Idempotent-Replayed", false);
    }
    match status {
        StatusCode::UNAUTHORIZED => add("WWW-Authenticate", true),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => add("Retry-After", true),
        StatusCode::CONFLICT if codes.contains(&Code::IdempotencyKeyInUse) => add("Retry-After", codes.len() == 1),
        _ => {}
    }
    headers
}

fn header(name: &str, required: bool) -> Value {
    let (description, schema) = match name {
        "X-RateLimit-Limit" => ("Requests that the account has per clock hour.", json!({"type": "integer", "minimum": 1})),
        "X-RateLimit-Remaining" => ("Requests that remain in this hour.", json!({"type": "integer", "minimum": 0})),
        "X-RateLimit-Reset" => ("The start of the next hour in epoch seconds.", json!({"type": "integer", "minimum": 0})),
        "Idempotent-Replayed" => {
            ("The response is the stored one of an earlier, equal request.", json!({"type": "string", "const": "true"}))
        }
        "Retry-After" => ("Seconds to wait before a retry.", json!({"type": "integer", "minimum": 1})),
        "WWW-Authenticate" => ("The authentication scheme.", json!({"type": "string", "const": "Bearer"})),
        _ => ("The request's id, for support.", json!({"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"})),
    };
    json!({"description": description, "required": required, "schema": schema})
}

/// The component name of an optional header.
fn optional(name: &str) -> String {
    format!("{name}.optional")
}

/// The header components that responses refer to.
pub(super) fn headers() -> Map<String, Value> {
    let always = QUOTA.into_iter().chain(["Retry-After", "WWW-Authenticate", "X-Request-Id"]);
    let sometimes = QUOTA.into_iter().chain(["Retry-After", "Idempotent-Replayed"]);
    let always = always.map(|name| (name.to_owned(), header(name, true)));
    always.chain(sometimes.map(|name| (optional(name), header(name, false)))).collect()
}

/// One example problem for each code.
pub(super) fn examples() -> Map<String, Value> {
    let example = |code: &Code| {
        let mut value = json!({
            "type": format!("/errors/{}", code.name()),
            "title": code.title(),
            "status": code.status().as_u16(),
            "detail": code.meaning(),
            "code": code.name(),
            "requestId": "01a20446-86b3-74d8-81b9-818324052b45",
        });
        if *code == Code::ValidationFailed {
            value["errors"] = json!([{"field": "amount", "code": "wrong_type", "detail": "amount must be a JSON number, not a string."}]);
        }
        (code.name().to_owned(), json!({"summary": code.title(), "value": value}))
    };
    Code::ALL.iter().map(example).collect()
}
