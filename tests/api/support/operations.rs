//! The operations of the OpenAPI document, as requests that a test can send.

use core_api::{config::Environment, http};
use reqwest::Method;
use serde_json::{Value, json};

use super::contract::resolved;

/// One documented operation.
#[derive(Clone, Debug)]
pub struct Operation {
    pub method: Method,
    /// The path with its parameters in braces.
    pub template: String,
    /// The names of the query parameters.
    pub query: Vec<String>,
    /// The example of the request's body.
    pub body: Option<Value>,
    pub needs_token: bool,
}

impl Operation {
    /// The path with this id in place of every parameter.
    pub fn path(&self, id: &str) -> String {
        let parts = self.template.split('/').map(|part| if part.starts_with('{') { id } else { part });
        parts.collect::<Vec<_>>().join("/")
    }

    /// The fields of the body.
    pub fn fields(&self) -> Vec<String> {
        self.body.iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys).cloned().collect()
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}

/// Every operation of the sandbox's document.
pub fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&http::openapi(Environment::Sandbox)).expect("JSON");
    let mut operations = Vec::new();
    for (template, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters = operation["parameters"].as_array().into_iter().flatten().map(resolved);
            let query = parameters.filter(|parameter| parameter["in"] == "query");
            let content = &operation["requestBody"]["content"]["application/json"];
            operations.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                template: template.clone(),
                query: query.map(|parameter| parameter["name"].as_str().expect("a name").to_owned()).collect(),
                body: content.get("schema").map(|_| example(content)),
                needs_token: operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty()),
            });
        }
    }
    assert!(operations.len() >= 28, "only {} operations", operations.len());
    operations
}

fn example(content: &Value) -> Value {
    let first = || content["examples"].as_object()?.values().next().map(|example| resolved(example)["value"].clone());
    content.get("example").cloned().or_else(first).unwrap_or_else(|| json!({}))
}
