//! The document and what is served are the same thing.

use std::collections::BTreeSet;

use core_api::{config::Environment, http};
use serde_json::Value;

fn document(environment: Environment) -> Value {
    serde_json::from_str(&http::openapi(environment)).expect("JSON")
}

/// Every method and path of a document.
fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            found.insert((method.to_uppercase(), path.clone()));
        }
    }
    found
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    for environment in [Environment::Sandbox, Environment::Production] {
        let routes = http::routes(environment);
        let served: BTreeSet<_> = routes.iter().map(|(method, path)| (method.to_string(), (*path).to_owned())).collect();
        assert_eq!(served.len(), routes.len(), "a route twice");
        assert_eq!(documented(&document(environment)), served);
        assert_eq!(served.iter().any(|(_, path)| path.starts_with("/sandbox/")), environment == Environment::Sandbox);
    }
}
