//! Sees every answer that any test gets: nothing may come back that the document does not have, and
//! what it says of a body is what the server makes of it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use core_api::{config::Environment, http};
use jsonschema::{Draft, Validator};
use reqwest::{Method, Request};
use serde_json::{Value, json};

use super::Reply;

/// Whether a header says nothing of this API.
fn is_plain(name: &str) -> bool {
    PLAIN.contains(&name) || name.starts_with("access-control-")
}

const PLAIN: [&str; 10] = [
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

static WITNESS: LazyLock<Witness> = LazyLock::new(|| Witness {
    document: serde_json::from_str(&http::openapi(Environment::Sandbox)).expect("JSON"),
    validators: Mutex::default(),
});

struct Witness {
    document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// What was asked.
pub struct Sent {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
}

impl Sent {
    pub fn of(request: &Request) -> Self {
        let body = request.body().and_then(|body| body.as_bytes()).map(<[u8]>::to_vec);
        Self { method: request.method().clone(), path: request.url().path().to_owned(), body }
    }

    /// Holds what came back against the document.
    pub fn was_answered(&self, reply: &Reply) {
        // The page for people is not in it, nor is what that loads; what else is asked there is a failure like any other.
        if (self.path == "/docs" || self.path.starts_with("/docs/")) && reply.status == 200 {
            return;
        }
        if let Err(why) = WITNESS.judge(self, reply) {
            panic!("{} {} was answered with what the document does not have: {why}\n{reply:?}", self.method, self.path);
        }
    }
}

/// What is wrong with a value by its schema; `name` tells schemas apart.
pub fn faults(name: &str, schema: &Value, value: &Value) -> Vec<String> {
    WITNESS.validator(name, schema).iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// What a reference leads to, or the value itself.
pub fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => WITNESS.document.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")),
        None => value,
    }
}

impl Witness {
    fn validator(&self, name: &str, schema: &Value) -> Arc<Validator> {
        let mut validators = self.validators.lock().expect("no test ends in here");
        let validator = validators.entry(name.to_owned()).or_insert_with(|| {
            let whole = json!({"allOf": [schema], "components": self.document["components"]});
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
            Arc::new(options.build(&whole).unwrap_or_else(|error| panic!("{name}: {error}")))
        });
        Arc::clone(validator)
    }

    /// The path as the document has it, of two that fit the one without parameters.
    fn path(&self, path: &str) -> Option<&str> {
        let fits = |template: &str| {
            let (left, right) = (template.split('/'), path.split('/'));
            template.split('/').count() == path.split('/').count()
                && left.zip(right).all(|(template, part)| template == part || (template.starts_with('{') && !part.is_empty()))
        };
        let paths = self.document["paths"].as_object().expect("paths");
        paths.keys().map(String::as_str).filter(|template| fits(template)).min_by_key(|template| template.matches('{').count())
    }

    fn judge(&self, sent: &Sent, reply: &Reply) -> Result<(), String> {
        let code = serde_json::from_str::<Value>(&reply.text).ok().and_then(|body| body["code"].as_str().map(str::to_owned));
        let is = |status: u16, wanted: &str| (reply.status == status && code.as_deref() == Some(wanted)).then_some(());
        if sent.method == Method::OPTIONS && reply.status == 200 && reply.headers.contains_key("access-control-allow-methods") {
            return Ok(()); // a browser that asks whether it may ask
        }
        let Some(path) = self.path(&sent.path) else {
            return is(404, "route_not_found").ok_or_else(|| "there is no such path".to_owned());
        };
        if path.starts_with("/sandbox/") && is(404, "route_not_found").is_some() {
            return Ok(()); // production
        }
        if sent.method == Method::OPTIONS && reply.status == 200 {
            return Ok(()); // a browser's question, whether a page may call
        }
        let is_head = sent.method == Method::HEAD;
        let method = if is_head { "get".to_owned() } else { sent.method.as_str().to_lowercase() };
        let Some(operation) = self.document["paths"][path].get(&method) else {
            return is(405, "method_not_allowed").ok_or_else(|| "the path has no such method".to_owned());
        };
        let status = reply.status.to_string();
        let response = operation["responses"].get(&status).map(resolved).ok_or_else(|| format!("it has no {status}"))?;
        Self::judge_headers(response, reply)?;
        let media_type = reply.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let content = response["content"].get(media_type).ok_or_else(|| format!("{status} is never {media_type:?}"))?;
        if is_head {
            return Ok(());
        }
        let name = format!("{method} {path} {status} {media_type}");
        if media_type.ends_with("json") {
            let body: Value = serde_json::from_str(&reply.text).map_err(|error| error.to_string())?;
            let faults = faults(&name, &content["schema"], &body);
            if !faults.is_empty() {
                return Err(faults.join("; "));
            }
        }
        Self::judge_request(sent, reply, operation, &format!("{method} {path}"))
    }

    fn judge_headers(response: &Value, reply: &Reply) -> Result<(), String> {
        let documented = response["headers"].as_object().ok_or("no headers")?;
        let named = |name: &str| documented.iter().find(|(documented, _)| documented.eq_ignore_ascii_case(name));
        if let Some(name) = reply.headers.keys().find(|name| !is_plain(name.as_str()) && named(name.as_str()).is_none()) {
            return Err(format!("a header {name}"));
        }
        for (name, header) in documented {
            let header = resolved(header);
            let Some(text) = reply.header(name) else {
                if header["required"] == json!(true) {
                    return Err(format!("no header {name}"));
                }
                continue;
            };
            let value = if header["schema"]["type"] == "integer" {
                text.parse().map_or(json!(text), |number: u64| json!(number))
            } else {
                json!(text)
            };
            let faults = faults(&format!("header {name}"), &header["schema"], &value);
            if !faults.is_empty() {
                return Err(format!("header {name}: {}", faults.join("; ")));
            }
        }
        Ok(())
    }

    /// A body that was taken is one by its schema, and one that was refused for its fields is none.
    fn judge_request(sent: &Sent, reply: &Reply, operation: &Value, name: &str) -> Result<(), String> {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        // Some numbers are JSON and yet too large for a program to hold.
        let Some(body) = sent.body.as_deref().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok()) else { return Ok(()) };
        if schema.is_null() {
            return Ok(());
        }
        if reply.status == 200 {
            // Space around an email is taken as well, though no client should be told to send it.
            let faults = faults(name, schema, &trimmed(&body));
            let why = || format!("the body was taken, and by its schema is none: {}", faults.join("; "));
            return if faults.is_empty() { Ok(()) } else { Err(why()) };
        }
        let told: Value = serde_json::from_str(&reply.text).unwrap_or_default();
        let fields: Vec<&str> = told["errors"].as_array().into_iter().flatten().filter_map(|fault| fault["field"].as_str()).collect();
        if let Some(unknown) = fields.iter().find(|field| **field != "Idempotency-Key" && schema["properties"].get(**field).is_none()) {
            return Err(format!("its schema knows no {unknown}"));
        }
        if fields.iter().any(|field| *field != "Idempotency-Key") && faults(name, schema, &body).is_empty() {
            return Err("the body was refused for its fields, and by its schema is one".to_owned());
        }
        Ok(())
    }
}

fn trimmed(body: &Value) -> Value {
    let mut body = body.clone();
    for value in body.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(text) = value.as_str() {
            *value = json!(text.trim());
        }
    }
    body
}
