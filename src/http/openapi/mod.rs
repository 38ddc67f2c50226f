//! The OpenAPI 3.1 document, made from the table that the router is made from.
//!
//! [`signature`] reads a handler's parameters, [`operation`] holds the words above it, [`answers`]
//! says what comes back, [`described`] what a body is read for, and [`schema`] what single values look like.

mod answers;
mod described;
mod operation;
pub(super) mod schema;
mod signature;

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

use self::answers::Problems;
pub(super) use self::{
    described::Described,
    operation::{Filter, Operation, Tag},
    signature::{Inputs, Signature},
};
use super::routes::Entry;

const ABOUT: &str = "\
The Core API provides a simple and minimal interface to manage customers, virtual cards, balances, and authentication.

**Authentication.** Log in at `POST /auth/login` and send the token as `Authorization: Bearer <token>`.

**Money** is a JSON number with at most two decimals, exact to the cent up to 90071992547409.91.

**Ids** are TypeIDs: a prefix and 26 characters. An id that names nothing in the account, whatever it looks like, is a 404.

**Lists** without `limit` hold everything. With `limit` they also hold `nextCursor`, which `after` takes and which carries the filters.

**Once per key.** A `POST` or `PATCH` that takes an `Idempotency-Key` is done once: the same request under the same key gets the same \
answer again, with `Idempotent-Replayed: true`. Keys are the account's own and kept for at least 24 hours.

**Rate limit.** Each account has a number of requests per clock hour. Every answer to an authenticated request says where it stands.

**Errors** are `application/problem+json` (RFC 9457). Switch on `code`, which never changes. Their `type` leads to what the code means and \
what to do about it. A path at which there is nothing is a 404 `route_not_found`, a method that a path does not take a 405 \
`method_not_allowed`; `GET` routes take `HEAD` as well.

Every answer has `X-Request-Id`, the client's own if it sent a plain one, and `Cache-Control: no-store`. Unknown fields and parameters are ignored.";

/// The document of everything in the table.
pub(super) fn document<'a>(entries: impl Iterator<Item = &'a Entry>) -> Value {
    let mut generator = generator();
    let mut problems = Problems::default();
    let mut paths: Map<String, Value> = Map::new();
    for entry in entries {
        let operation = operation(entry, &mut generator, &mut problems);
        let path = paths.entry(entry.path).or_insert_with(|| json!({}));
        path[entry.method.as_str().to_lowercase()] = operation;
    }
    let problem = schema::of_problem(&mut generator);
    let mut components: Map<String, Value> = generator.take_definitions(true);
    components.insert("Problem".to_owned(), problem.into());
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Core API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/", "description": "The server that this document comes from"}],
        "tags": Tag::ALL.map(|tag| json!({"name": tag.name(), "description": tag.description()})),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The `token` of `POST /auth/login` or `POST /auth/refresh`."},
            },
            "schemas": components,
            "responses": problems.into_components(),
            "headers": answers::headers(),
            "examples": answers::examples(),
        },
    })
}

fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.transforms.push(Box::new(RecursiveTransform(close)));
    settings.into_generator()
}

/// What is answered has the members that are documented and no others.
fn close(schema: &mut Schema) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
}

fn operation(entry: &Entry, generator: &mut SchemaGenerator, problems: &mut Problems) -> Value {
    let words = entry.operation;
    let mut operation = json!({"operationId": words.id, "tags": [words.tag.name()], "summary": words.summary});
    if !words.about.is_empty() {
        operation["description"] = words.about.into();
    }
    operation["security"] = if entry.inputs.authenticated { json!([{"token": []}]) } else { json!([]) };
    let parameters = parameters(entry, generator);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = entry.inputs.body {
        let mut content = json!({"schema": schema(generator)});
        if let Some(example) = words.request {
            content["example"] = example_of(example);
        }
        operation["requestBody"] = json!({"required": true, "content": {"application/json": content}});
    }
    operation["responses"] = answers::responses(entry, generator, problems).into();
    operation
}

fn parameters(entry: &Entry, generator: &mut SchemaGenerator) -> Vec<Value> {
    let (words, inputs) = (entry.operation, &entry.inputs);
    let mut parameters = Vec::new();
    let name = entry.path.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(name, _)| name);
    if let (Some(name), Some(schema)) = (name, inputs.path_id) {
        parameters.push(json!({"name": name, "in": "path", "required": true, "schema": schema(generator)}));
    }
    for filter in words.filters {
        parameters.push(json!({"name": filter.name, "in": "query", "description": filter.about, "schema": (filter.schema)(generator)}));
    }
    if matches!(words.answer, operation::Answer::List(..)) {
        parameters.extend(schema::of_pages());
    }
    if inputs.once_per_key {
        parameters.push(schema::of_idempotency_key());
    }
    parameters
}

/// An example is JSON in the source; the tests hold each against its schema.
fn example_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
