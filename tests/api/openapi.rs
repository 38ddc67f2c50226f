//! The OpenAPI document matches what the server serves.

use std::collections::BTreeSet;

use core_api::{config::Environment, http};
use serde_json::Value;

use crate::support::{
    World,
    binary::core_api,
    contract::{resolved, schema_errors},
};

/// Codes that no endpoint answers with: the first belongs to the command line, the second to unsupported methods, the others
/// to requests that violate HTTP.
const OF_NO_ENDPOINT: [&str; 4] = ["account_not_found", "method_not_allowed", "invalid_host", "unsupported_transfer_coding"];

fn document(environment: Environment) -> Value {
    serde_json::from_str(&http::openapi(environment)).expect("JSON")
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    document["paths"].as_object().expect("paths").values().flat_map(|methods| methods.as_object().expect("methods").values())
}

/// Every method and path of the document.
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
fn the_document_lists_exactly_the_served_routes() {
    for environment in [Environment::Sandbox, Environment::Production] {
        let routes = http::routes(environment);
        let served: BTreeSet<_> = routes.iter().map(|(method, path)| (method.to_string(), (*path).to_owned())).collect();
        assert_eq!(served.len(), routes.len(), "a duplicate route");
        assert_eq!(documented(&document(environment)), served);
        assert_eq!(served.iter().any(|(_, path)| path.starts_with("/sandbox/")), environment == Environment::Sandbox);
    }
}

#[test]
fn every_error_code_is_documented_for_some_endpoint() {
    let document = document(Environment::Sandbox);
    let all = document["components"]["schemas"]["Code"]["enum"].as_array().expect("codes");
    let mut documented: BTreeSet<&str> = OF_NO_ENDPOINT.into();
    for operation in operations(&document) {
        for response in operation["responses"].as_object().expect("responses").values().map(resolved) {
            let codes = response["content"]["application/problem+json"]["schema"]["properties"]["code"]["enum"].as_array();
            documented.extend(codes.into_iter().flatten().filter_map(Value::as_str));
        }
    }
    assert_eq!(documented, all.iter().filter_map(Value::as_str).collect());
}

#[test]
fn every_example_is_valid_by_its_schema() {
    let document = document(Environment::Sandbox);
    let check = |place: &str, content: &Value| {
        for media in content.as_object().into_iter().flat_map(serde_json::Map::values) {
            let examples = media["examples"].as_object().into_iter().flat_map(serde_json::Map::values).map(|each| &resolved(each)["value"]);
            for example in examples.chain(media.get("example")) {
                let name = format!("{place}: {}", media["schema"]);
                assert_eq!(schema_errors(&name, &media["schema"], example), Vec::<String>::new(), "{place}: {example}");
            }
        }
    };
    for operation in operations(&document) {
        let id = operation["operationId"].as_str().expect("an id");
        let request = &operation["requestBody"]["content"];
        assert!(request.is_null() || !request["application/json"]["example"].is_null(), "{id} has no example body");
        check(&format!("{id} request"), request);
        for (status, response) in operation["responses"].as_object().expect("responses") {
            check(&format!("{id} {status}"), &resolved(response)["content"]);
        }
    }
}

#[test]
fn every_operation_has_a_unique_id_a_summary_and_a_declared_tag() {
    let document = document(Environment::Sandbox);
    let mut names = BTreeSet::new();
    let tags: Vec<&str> = document["tags"].as_array().expect("tags").iter().filter_map(|tag| tag["name"].as_str()).collect();
    for operation in operations(&document) {
        assert!(names.insert(operation["operationId"].as_str().expect("an id")), "{}", operation["operationId"]);
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{}", operation["operationId"]);
        assert!(tags.contains(&operation["tags"][0].as_str().expect("a tag")), "{}", operation["tags"]);
    }
}

#[tokio::test]
async fn the_document_is_served_without_a_token_and_printed_without_a_database() {
    let world = World::new().await;
    assert_eq!(world.anonymous().get("/openapi.json").await.ok(), document(Environment::Sandbox));
    for environment in [Environment::Sandbox, Environment::Production] {
        let output = core_api().arg("openapi").env("CORE_API_ENV", environment.name()).output().expect("the command runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), http::openapi(environment));
    }
}

#[test]
fn the_committed_document_is_up_to_date() {
    let committed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json")).expect("openapi.json");
    assert!(committed == http::openapi(Environment::Sandbox), "openapi.json is out of date: run `make openapi` and commit it");
}
