//! Checks every answer that any test gets against the OpenAPI document. The document must list the answer, and the
//! server must accept and refuse bodies as their schema says.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use core_api::{config::Environment, http};
use jsonschema::{Draft, Validator};
use reqwest::{Method, Request};
use serde_json::{Value, json};

use super::Reply;

/// Whether a header is common to all of HTTP, so that the document need not list it.
fn is_generic(name: &str) -> bool {
    GENERIC.contains(&name) || name.starts_with("access-control-")
}

const GENERIC: [&str; 10] = [
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
];

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(&http::openapi(Environment::Sandbox)).expect("JSON");
    Contract { components: closed(&document), document, validators: Mutex::default() }
});

struct Contract {
    document: Value,
    /// The document's components, with closed schemas of responses.
    components: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// The kinds of id and their prefixes. The document says no more than that, since clients must not check ids.
const IDS: [(&str, &str); 10] = [
    ("AccountId", "acc"),
    ("AuthorizationId", "auth"),
    ("CardId", "card"),
    ("CustomerId", "cus"),
    ("EntryId", "ent"),
    ("EventId", "evt"),
    ("LimitId", "lim"),
    ("MovementId", "mov"),
    ("SessionId", "ses"),
    ("UserId", "usr"),
];

/// The components of a document, with what the document leaves open for later versions and this version never does: an
/// undocumented member in a response, an id in another form, a time in another form.
fn closed(document: &Value) -> Value {
    let mut components = document["components"].clone();
    let schemas = components["schemas"].as_object_mut().expect("schemas");
    for (name, schema) in schemas.iter_mut().filter(|(name, _)| !name.ends_with("Request")) {
        if let Some((_, prefix)) = IDS.iter().find(|(id, _)| id == name) {
            schema["pattern"] = json!(format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"));
        } else if name == "Timestamp" {
            schema["pattern"] = json!("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$");
        } else if schema.get("properties").is_some() {
            schema["unevaluatedProperties"] = json!(false);
        }
    }
    components
}

/// What the contract needs to know of a request.
pub struct SentRequest {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
}

impl SentRequest {
    pub fn of(request: &Request) -> Self {
        let body = request.body().and_then(|body| body.as_bytes()).map(<[u8]>::to_vec);
        Self { method: request.method().clone(), path: request.url().path().to_owned(), body }
    }

    /// Asserts that the document allows this answer.
    pub fn assert_documented(&self, reply: &Reply) {
        // The document leaves out the pages for people and the files they load. Any other answer there is a documented failure.
        let is_page = ["/", "/docs"].contains(&self.path.as_str()) || self.path.starts_with("/docs/");
        if is_page && matches!(reply.status, 200 | 304) {
            return;
        }
        if let Err(reason) = CONTRACT.check(self, reply) {
            panic!("{} {}: the document does not allow the answer: {reason}\n{reply:?}", self.method, self.path);
        }
    }
}

/// The errors of a value by its schema. `name` is the key of the cached schema.
pub fn schema_errors(name: &str, schema: &Value, value: &Value) -> Vec<String> {
    CONTRACT.validator(name, schema).iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The target of a reference, or the value itself.
pub fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => CONTRACT.document.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")),
        None => value,
    }
}

impl Contract {
    fn validator(&self, name: &str, schema: &Value) -> Arc<Validator> {
        let mut validators = self.validators.lock().expect("no panic while locked");
        let validator = validators.entry(name.to_owned()).or_insert_with(|| {
            let whole = json!({"allOf": [schema], "components": self.components});
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
            Arc::new(options.build(&whole).unwrap_or_else(|error| panic!("{name}: {error}")))
        });
        Arc::clone(validator)
    }

    /// The documented path that matches, preferring the one with fewer parameters.
    fn path(&self, path: &str) -> Option<&str> {
        let fits = |template: &str| {
            let (left, right) = (template.split('/'), path.split('/'));
            template.split('/').count() == path.split('/').count()
                && left.zip(right).all(|(template, part)| template == part || (template.starts_with('{') && !part.is_empty()))
        };
        let paths = self.document["paths"].as_object().expect("paths");
        paths.keys().map(String::as_str).filter(|template| fits(template)).min_by_key(|template| template.matches('{').count())
    }

    fn check(&self, sent: &SentRequest, reply: &Reply) -> Result<(), String> {
        let code = serde_json::from_str::<Value>(&reply.text).ok().and_then(|body| body["code"].as_str().map(str::to_owned));
        let is = |status: u16, wanted: &str| (reply.status == status && code.as_deref() == Some(wanted)).then_some(());
        if sent.method == Method::OPTIONS && reply.status == 200 && reply.headers.contains_key("access-control-allow-methods") {
            return Ok(()); // a CORS preflight
        }
        let Some(path) = self.path(&sent.path) else {
            return is(404, "route_not_found").ok_or_else(|| "the document has no such path".to_owned());
        };
        if path.starts_with("/sandbox/") && is(404, "route_not_found").is_some() {
            return Ok(()); // production
        }
        let is_head = sent.method == Method::HEAD;
        let method = if is_head { "get".to_owned() } else { sent.method.as_str().to_lowercase() };
        let Some(operation) = self.document["paths"][path].get(&method) else {
            return is(405, "method_not_allowed").ok_or_else(|| "the path has no such method".to_owned());
        };
        let status = reply.status.to_string();
        let response = operation["responses"].get(&status).map(resolved).ok_or_else(|| format!("the operation has no status {status}"))?;
        Self::check_headers(response, reply)?;
        let media_type = reply.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let content = response["content"].get(media_type).ok_or_else(|| format!("a {status} has no media type {media_type:?}"))?;
        if is_head {
            return Ok(());
        }
        let name = format!("{method} {path} {status} {media_type}");
        if media_type.ends_with("json") {
            let body: Value = serde_json::from_str(&reply.text).map_err(|error| error.to_string())?;
            let errors = schema_errors(&name, &content["schema"], &body);
            if !errors.is_empty() {
                return Err(errors.join("; "));
            }
        }
        Self::check_request(sent, reply, operation, &format!("{method} {path}"))
    }

    fn check_headers(response: &Value, reply: &Reply) -> Result<(), String> {
        let documented = response["headers"].as_object().ok_or("the response documents no headers")?;
        let named = |name: &str| documented.iter().find(|(documented, _)| documented.eq_ignore_ascii_case(name));
        if let Some(name) = reply.headers.keys().find(|name| !is_generic(name.as_str()) && named(name.as_str()).is_none()) {
            return Err(format!("undocumented header {name}"));
        }
        for (name, header) in documented {
            let header = resolved(header);
            let Some(text) = reply.header(name) else {
                if header["required"] == json!(true) {
                    return Err(format!("missing header {name}"));
                }
                continue;
            };
            let value = if header["schema"]["type"] == "integer" {
                text.parse().map_or(json!(text), |number: u64| json!(number))
            } else {
                json!(text)
            };
            let errors = schema_errors(&format!("header {name}"), &header["schema"], &value);
            if !errors.is_empty() {
                return Err(format!("header {name}: {}", errors.join("; ")));
            }
        }
        Ok(())
    }

    /// An accepted body must match its schema, and a body refused for its fields must not.
    fn check_request(sent: &SentRequest, reply: &Reply, operation: &Value, name: &str) -> Result<(), String> {
        let schema = resolved(&operation["requestBody"]["content"]["application/json"]["schema"]);
        // JSON allows numbers that are too large to parse.
        let Some(body) = sent.body.as_deref().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok()) else { return Ok(()) };
        if schema.is_null() {
            return Ok(());
        }
        if reply.status == 200 {
            // The server also accepts space around an email, which the document does not advertise.
            let errors = schema_errors(name, schema, &trimmed(&body));
            let reason = || format!("an accepted body does not match its schema: {}", errors.join("; "));
            return if errors.is_empty() { Ok(()) } else { Err(reason()) };
        }
        let problem: Value = serde_json::from_str(&reply.text).unwrap_or_default();
        let faults = problem["errors"].as_array().into_iter().flatten().filter(|fault| fault["code"] != "unknown_parameter");
        // A field that has to be left out may be one that the request does not take.
        let named = faults.clone().filter(|fault| fault["code"] != "excluded");
        let fields: Vec<&str> = named.filter_map(|fault| fault["field"].as_str()).collect();
        if let Some(unknown) = fields.iter().find(|field| **field != "Idempotency-Key" && !has_field(schema, field)) {
            return Err(format!("the schema has no field {unknown}"));
        }
        // No schema says how many decimals there may be: it would have to divide binary floats. None knows a user's password, the
        // time, or which countries and currencies there are, or that fields need or exclude each other, or how far apart they are.
        // None parses URLs, looks hosts up, knows time zones, or takes one of some words or a time.
        let is_optional = |field: &Value| !schema["required"].as_array().is_some_and(|required| required.contains(field));
        let unsayable = [
            // It is the same as another field.
            ("toCardId", "duplicate"),
            ("url", "invalid_format"),
            ("to", "out_of_range"),
            ("resumeFrom", "invalid_format"),
            ("startFrom", "invalid_format"),
            ("timeZone", "invalid_format"),
            ("countries", "unknown_value"),
            ("allowedCountries", "unknown_value"),
            ("blockedCountries", "unknown_value"),
        ];
        let is_unsayable = |fault: &Value| unsayable.iter().any(|(field, code)| fault["field"] == *field && fault["code"] == *code);
        let is_in_schema = |fault: &Value| {
            let codes = ["wrong_password", "excluded", "invalid_date", "blocked_address", "too_many_decimals"];
            let fields = ["Idempotency-Key", "expiresAt", "merchant.country", "merchantCurrency"];
            let is_optional = fault["code"] == "required" && is_optional(&fault["field"]);
            let is_of = codes.iter().any(|code| fault["code"] == *code) || fields.iter().any(|field| fault["field"] == *field);
            !(is_of || is_optional || is_unsayable(fault))
        };
        if faults.clone().any(is_in_schema) && schema_errors(name, schema, &body).is_empty() {
            return Err("a body refused for its fields matches its schema".to_owned());
        }
        Ok(())
    }
}

/// Whether a body has a field, which a dot leads to inside the object of another.
fn has_field(schema: &Value, field: &str) -> bool {
    let alternatives = schema["anyOf"].as_array().into_iter().flatten().chain([schema]).map(resolved);
    let (name, inner) = field.split_once('.').map_or((field, None), |(name, inner)| (name, Some(inner)));
    let mut found = alternatives.filter_map(|schema| schema["properties"].get(name));
    found.any(|schema| inner.is_none_or(|inner| has_field(schema, inner)))
}

fn trimmed(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(text.trim()),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), trimmed(value))).collect(),
        other => other.clone(),
    }
}
