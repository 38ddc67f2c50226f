//! The responses of an endpoint: a success, and for each error status the codes that have it.
//!
//! Every body has a named schema. Client generators number those without a name, and one more would rename the others.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{Method, StatusCode};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::{example_of, operation::SuccessBody, signature::Callers};
use crate::http::{code::Code, routes::Entry};

const QUOTA: [&str; 3] = ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];

/// The error responses of all endpoints, without duplicates: most endpoints share them.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// The responses that operations refer to.
    pub(super) responses: Map<String, Value>,
    /// The schemas of their bodies.
    pub(super) schemas: Map<String, Value>,
    codes: BTreeSet<Code>,
}

impl Problems {
    /// One example for each code that an endpoint answers with.
    pub(super) fn examples(&self) -> Map<String, Value> {
        self.codes.iter().map(|code| (code.name().to_owned(), example(*code))).collect()
    }

    fn reference(&mut self, entry: &Entry, status: StatusCode, codes: &[Code]) -> Value {
        let schema = schema_name(entry, status, codes);
        let mut name = schema.clone();
        if !entry.inputs.authenticated {
            name.push_str(".open");
        }
        if entry.inputs.callers == Callers::Gateways {
            name.push_str(".gateway");
        }
        if is_replayable(entry, status) {
            name.push_str(".replayable");
        }
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        self.responses.insert(name, problem(entry, status, codes, &schema));
        self.schemas.insert(schema, problem_schema(status, codes));
        self.codes.extend(codes);
        reference
    }
}

/// The name of a problem's schema. A new code of an endpoint does not change the names of others, nor of its own problems
/// that have several codes.
fn schema_name(entry: &Entry, status: StatusCode, codes: &[Code]) -> String {
    let is_own = codes.iter().any(|code| entry.operation.refusals.contains(code));
    if codes.len() > 1 && is_own {
        let reason = status.canonical_reason().unwrap_or_default().replace(' ', "");
        return format!("{}{reason}Problem", capitalised(entry.operation.id));
    }
    let names: Vec<String> = codes.iter().map(|code| code.name().split('_').map(capitalised).collect()).collect();
    format!("{}Problem", names.join("Or"))
}

/// A word that starts with a capital letter.
pub(super) fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at_checked(1).unwrap_or_default();
    first.to_uppercase() + rest
}

/// The responses of an endpoint, by status.
pub(super) fn responses(entry: &Entry, generator: &mut SchemaGenerator, problems: &mut Problems) -> Map<String, Value> {
    let operation = entry.operation;
    let schema = match operation.body {
        SuccessBody::Body(schema) => schema(generator).into(),
        SuccessBody::List(name, row) => list(name, &row(generator).into(), generator),
    };
    let mut content = json!({"schema": schema});
    if !operation.example.is_empty() {
        content["example"] = example_of(operation.example);
    }
    let mut content = json!({"application/json": content});
    if operation.or_html {
        content["text/html"] = json!({"schema": {"type": "string"}});
    }
    if let Some(example) = operation.csv {
        content["text/csv"] = json!({"schema": {"type": "string"}, "example": example});
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

/// A reference to the schema of a list, named after its rows.
fn list(name: &str, row: &Value, generator: &mut SchemaGenerator) -> Value {
    let reference = format!("{}List", row["$ref"].as_str().unwrap_or_default());
    let schema = json!({
        "description": "A list: all of it, or the page that was asked for.",
        "type": "object",
        "properties": {
            name: {"type": "array", "items": row},
            "nextCursor": {
                "description": "Only in a page, which is the answer to a `limit` or an `after`: the `after` of the next page, or null \
                    if this is the last one. A list without it is complete.",
                "type": ["string", "null"],
            },
        },
        "required": [name],
    });
    generator.definitions_mut().insert(reference.rsplit('/').next().unwrap_or_default().to_owned(), schema);
    json!({"$ref": reference})
}

fn problem(entry: &Entry, status: StatusCode, codes: &[Code], schema: &str) -> Value {
    let reference = |code: &Code| (code.name().to_owned(), json!({"$ref": format!("#/components/examples/{}", code.name())}));
    json!({
        "description": titles(codes),
        "headers": headers_of(entry, status, codes),
        "content": {"application/problem+json": {
            "schema": {"$ref": format!("#/components/schemas/{schema}")},
            "examples": codes.iter().map(reference).collect::<Map<_, _>>(),
        }},
    })
}

/// A problem with one status and some of its codes. A type stands beside each value, since generators do not derive it.
fn problem_schema(status: StatusCode, codes: &[Code]) -> Value {
    let names: Vec<&str> = codes.iter().map(|code| code.name()).collect();
    json!({
        "description": titles(codes),
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "type": "object",
        "properties": {"status": {"type": "integer", "const": status.as_u16()}, "code": {"type": "string", "enum": names}},
    })
}

fn titles(codes: &[Code]) -> String {
    codes.iter().map(|code| format!("`{}`: {}", code.name(), code.title())).collect::<Vec<_>>().join("; ")
}

/// The headers of a response. Headers that only some responses with this status have are optional.
fn headers_of(entry: &Entry, status: StatusCode, codes: &[Code]) -> Map<String, Value> {
    let mut headers = Map::new();
    let mut add = |name: &str, always: bool| {
        let component = if always { name.to_owned() } else { optional(name) };
        headers.insert(name.to_owned(), json!({"$ref": format!("#/components/headers/{component}")}));
    };
    add("X-Request-Id", true);
    // These may be sent before the quota is known: before authentication or counting, or after the session has ended. The
    // requests of gateways are not counted.
    let may_lack_quota = entry.inputs.callers == Callers::Gateways || matches!(status.as_u16(), 401 | 403 | 429 | 500 | 503);
    for name in QUOTA.iter().filter(|_| entry.inputs.authenticated) {
        add(name, !may_lack_quota);
    }
    if is_replayable(entry, status) {
        add("Idempotent-Replayed", false);
    }
    if status == StatusCode::OK && entry.operation.csv.is_some() {
        add("Content-Disposition", false);
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
        "Content-Disposition" => {
            ("The name of a file. Only of CSV.", json!({"type": "string", "pattern": "^attachment; filename=\"[A-Za-z0-9_.-]+\"$"}))
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
    let sometimes = QUOTA.into_iter().chain(["Retry-After", "Idempotent-Replayed", "Content-Disposition"]);
    let always = always.map(|name| (name.to_owned(), header(name, true)));
    always.chain(sometimes.map(|name| (optional(name), header(name, false)))).collect()
}

/// An example problem with a code.
fn example(code: Code) -> Value {
    let mut value = json!({
        "type": format!("/errors/{}", code.name()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "detail": code.meaning(),
        "code": code.name(),
        "requestId": "01a20446-86b3-74d8-81b9-818324052b45",
    });
    if code == Code::ValidationFailed {
        value["errors"] = json!([{"field": "amount", "code": "wrong_type", "detail": "amount must be a JSON number, not a string."}]);
    }
    json!({"summary": code.title(), "value": value})
}
