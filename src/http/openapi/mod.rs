//! The OpenAPI 3.1 document, built from the same table as the router.
//!
//! [`signature`] derives inputs from a handler's parameters, [`operation`] holds its written description,
//! [`responses`] its responses, [`body_schema`] its request body, and [`schema`] the schemas of single values.

mod body_schema;
mod operation;
pub(super) mod payment_schema;
mod responses;
pub(super) mod schema;
mod signature;

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

pub(super) use self::{
    body_schema::BodySchema,
    operation::{Filter, Operation, Tag},
    signature::{Inputs, Signature},
};
use self::{responses::Problems, signature::Callers};
use super::routes::Entry;

const ABOUT: &str = "\
The Core API provides a simple and minimal interface to manage customers, virtual cards, balances, and authentication.

**Authentication.** Log in at `POST /auth/login` and send the token as `Authorization: Bearer <token>`. A program sends an API key of \
`POST /api-keys` in the same place.

**Money** is a JSON number with at most two decimals, up to 90071992547409.91. The service is exact to the cent. A client that reads it as a \
64-bit binary float is exact up to 70368744177664.00.

**Ids** are TypeIDs: a prefix and 26 characters. An id that does not exist in the account, well-formed or not, is a 404.

**Lists** without `limit` contain everything. With `limit` they also contain `nextCursor`: pass it as `after` to get the next page. It \
includes the filters.

**Idempotency.** A `POST` or `PATCH` with an `Idempotency-Key` is executed once: the same request under the same key gets the same \
response again, with `Idempotent-Replayed: true`. Keys belong to the account and are kept for at least 24 hours.

**Rate limit.** Each account has a quota of requests per clock hour. Every response to an authenticated request reports it. Requests with a \
`network` key are not counted: such a key has a limit of requests per second.

**Errors** are `application/problem+json` (RFC 9457). Switch on `code`, which never changes. Their `type` links to the meaning of the code and \
what to do about it. An unknown path is a 404 `route_not_found`, a method that a path does not accept a 405 \
`method_not_allowed`. `GET` routes also accept `HEAD`. A request over HTTP/1.1 without exactly one valid `Host` is a 400 `invalid_request`, \
and one with a transfer coding other than `chunked` a 501 `unsupported_transfer_coding`.

Every response of an operation of this document has an `X-Request-Id`, the client's own if that is 1 to 64 letters, digits or dashes, and `Cache-Control: no-store`. Unknown fields of a body are ignored; an unknown query parameter is a 400.

**Changes.** New operations, optional parameters, members of responses, values of enums, error codes, headers and event types may be added \
at any time and without notice: ignore what you do not know, and treat an unknown `code` by its status. What is to go is first marked \
`deprecated` in this document, with what replaces it, and goes on working for at least six months.";

/// Builds the document from the table of endpoints.
pub(super) fn document<'a>(entries: impl Iterator<Item = &'a Entry>, has_sandbox_routes: bool) -> Value {
    let mut generator = generator();
    let mut problems = Problems::default();
    let mut paths: Map<String, Value> = Map::new();
    for entry in entries {
        let operation = operation(entry, &mut generator, &mut problems);
        let path = paths.entry(entry.path).or_insert_with(|| json!({}));
        path[entry.method.as_str().to_lowercase()] = operation;
    }
    let problem = schema::problem(&mut generator);
    let mut components: Map<String, Value> = generator.take_definitions(true);
    components.insert("Problem".to_owned(), problem.into());
    let examples = problems.examples();
    components.extend(problems.schemas);
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Core API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "contact": {"name": "Core API support"},
            "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": servers(has_sandbox_routes),
        "tags": Tag::ALL.map(|tag| json!({"name": tag.name(), "description": tag.description()})),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The `token` of `POST /auth/login` or `POST /auth/refresh`."},
                "apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "cak_...", "description": "An API key: the `key` of `POST /api-keys`."},
            },
            "schemas": components,
            "responses": problems.responses,
            "headers": responses::headers(),
            "examples": examples,
        },
    })
}

fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.into_generator()
}

/// The first server is an address, for programs that read the document from a file. The second one is for pages.
fn servers(has_sandbox_routes: bool) -> Value {
    let first = if has_sandbox_routes {
        json!({"url": "http://127.0.0.1:8080", "description": "A sandbox on this machine"})
    } else {
        json!({
            "url": "https://{host}",
            "description": "A deployment",
            "variables": {"host": {"default": "api.example.com", "description": "The host of the deployment"}},
        })
    };
    json!([first, {"url": "/", "description": "The server that this document comes from"}])
}

fn operation(entry: &Entry, generator: &mut SchemaGenerator, problems: &mut Problems) -> Value {
    let text = entry.operation;
    let mut operation = json!({"operationId": text.id, "tags": [text.tag.name()], "summary": text.summary});
    if !text.about.is_empty() {
        operation["description"] = text.about.into();
    }
    operation["security"] = match (entry.inputs.authenticated, entry.inputs.callers) {
        (true, Callers::Roles | Callers::Gateways) => json!([{"token": []}, {"apiKey": []}]),
        (true, Callers::Sessions) => json!([{"token": []}]),
        (false, _) => json!([]),
    };
    let parameters = parameters(entry, generator);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = entry.inputs.body {
        // Named, so that operations with equal bodies have types of their own.
        let name = format!("{}Request", responses::capitalised(text.id));
        let body = schema(generator).into();
        generator.definitions_mut().insert(name.clone(), body);
        let mut content = json!({"schema": {"$ref": format!("#/components/schemas/{name}")}});
        if let Some(example) = text.request {
            content["example"] = example_of(example);
        }
        operation["requestBody"] = json!({"required": true, "content": {"application/json": content}});
    }
    operation["responses"] = responses::responses(entry, generator, problems).into();
    operation
}

fn parameters(entry: &Entry, generator: &mut SchemaGenerator) -> Vec<Value> {
    let (operation, inputs) = (entry.operation, &entry.inputs);
    let mut parameters = Vec::new();
    let name = entry.path.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(name, _)| name);
    if let (Some(name), Some(schema)) = (name, inputs.path_id) {
        parameters.push(json!({"name": name, "in": "path", "required": true, "schema": schema(generator)}));
    }
    for filter in operation.filters {
        let mut parameter = json!({"name": filter.name, "in": "query", "description": filter.about, "schema": (filter.schema)(generator)});
        if filter.is_required {
            parameter["required"] = true.into();
        }
        parameters.push(parameter);
    }
    if operation.is_paged {
        parameters.extend(schema::page_parameters());
    }
    if inputs.idempotent {
        parameters.push(schema::idempotency_key(inputs.key_required));
    }
    parameters
}

/// Parses an example. The tests validate each example against its schema.
fn example_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
