//! The OpenAPI document matches what the server serves.

use std::collections::{BTreeSet, HashMap};

use core_api::{config::Environment, http};
use serde_json::{Map, Value, json};

use crate::support::{
    World,
    binary::core_api,
    contract::{resolved, schema_errors},
};

/// Codes that no endpoint answers with: the first belongs to the command line, the second to unsupported methods, the others
/// to requests that violate HTTP.
const OF_NO_ENDPOINT: [&str; 4] = ["account_not_found", "method_not_allowed", "invalid_request", "unsupported_transfer_coding"];

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
            let codes = resolved(&response["content"]["application/problem+json"]["schema"])["properties"]["code"]["enum"].as_array();
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
fn every_operation_has_a_unique_id_a_summary_a_description_and_a_declared_tag() {
    let document = document(Environment::Sandbox);
    let mut names = BTreeSet::new();
    let tags: Vec<&str> = document["tags"].as_array().expect("tags").iter().filter_map(|tag| tag["name"].as_str()).collect();
    for operation in operations(&document) {
        assert!(names.insert(operation["operationId"].as_str().expect("an id")), "{}", operation["operationId"]);
        for text in ["summary", "description"] {
            assert!(operation[text].as_str().is_some_and(|text| !text.is_empty()), "{} has no {text}", operation["operationId"]);
        }
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

/// Calls `visit` with each object inside a value, and its JSON pointer.
fn each_object(value: &Value, place: &str, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            visit(place, members);
            members.iter().for_each(|(name, member)| each_object(member, &format!("{place}/{}", name.replace('/', "~1")), visit));
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| each_object(item, &format!("{place}/{index}"), visit)),
        _ => {}
    }
}

/// The places of a document that a check objects to.
fn places(document: &Value, check: impl Fn(&str, &Map<String, Value>) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    each_object(document, "", &mut |place, object| {
        // The values of examples and properties are not schemas.
        if !place.contains("/example") && !place.ends_with("/properties") && check(place, object) {
            found.push(place.to_owned());
        }
    });
    found
}

/// The number that a JSON text holds.
fn number(text: &str) -> Value {
    serde_json::from_str(text).expect("a number")
}

#[test]
fn every_cent_is_valid_by_the_schemas_up_to_the_bounds() {
    let refused = |name: &str, text: &str| {
        let (schema, value) = match name.strip_suffix("Request") {
            Some(_) => (name, json!({"cardId": "card_001", "amount": number(text), "description": "Books"})),
            None => (name, number(text)),
        };
        !schema_errors(schema, &json!({"$ref": format!("#/components/schemas/{schema}")}), &value).is_empty()
    };
    let amounts = ["Amount", "AddBalanceRequest", "PurchaseRequest", "RefundRequest"];
    for cents in 1..=20_000 {
        let text = format!("{}.{:02}", cents / 100, cents % 100);
        for name in amounts {
            assert!(!refused(name, &text), "{name} refuses {text}");
        }
        assert!(!refused("Money", &text) && !refused("Money", &format!("-{text}")), "Money refuses {text}");
    }
    for text in ["167772.17", "1234567.89", "12345678901234.56", "70368744177664.00", "90071992547409.90", "90071992547409.91"] {
        for name in amounts {
            assert!(!refused(name, text), "{name} refuses {text}");
        }
        assert!(!refused("Money", text) && !refused("Money", &format!("-{text}")), "Money refuses {text}");
    }
    for text in ["0", "-0.01", "90071992547409.92", "1e300"] {
        assert!(amounts.iter().all(|name| refused(name, text)), "{text} is accepted as an amount");
    }
    for text in ["90071992547409.92", "-90071992547409.92"] {
        assert!(refused("Money", text), "{text} is accepted as money");
    }
}

#[test]
fn the_document_does_not_depend_on_binary_floats() {
    let document = document(Environment::Sandbox);
    assert_eq!(places(&document, |_, schema| schema.contains_key("multipleOf")), Vec::<String>::new());
    // Without a format, generators choose a type of 32 bits for Go, which holds 1234567.89 as 1234567.9.
    let is_coarse = |_: &str, schema: &Map<String, Value>| {
        schema.get("type") == Some(&json!("number")) && schema.get("format") != Some(&json!("double"))
    };
    assert_eq!(places(&document, is_coarse), Vec::<String>::new());
    for name in ["Money", "Amount"] {
        let description = document["components"]["schemas"][name]["description"].as_str().expect("a description");
        assert!(description.contains("at most two decimals") && description.contains("70368744177664.00 (2^46)"), "{description}");
    }
}

/// What the description promises of clients that read binary floats of 64 bits.
#[test]
fn a_64_bit_float_distinguishes_every_cent_up_to_two_to_the_46() {
    let double = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100).parse::<f64>().expect("a number");
    let limit = 2_u64.pow(46) * 100;
    let are_distinct = |range: std::ops::Range<u64>| range.clone().zip(range.skip(1)).all(|(one, next)| double(one) < double(next));
    // Doubles are as far apart just below the limit as in all of the half below it, and closer together before.
    assert!(are_distinct(limit - 20_000..limit + 1) && are_distinct(limit / 2..limit / 2 + 20_000));
    assert!(!are_distinct(limit..limit + 20_000));
    let max = 2_u64.pow(53) - 1;
    for cents in (limit..limit + 20_000).chain(max - 20_000..=max) {
        let shown: u64 = format!("{:.2}", double(cents)).replace('.', "").parse().expect("digits");
        assert!(shown.abs_diff(cents) <= 1, "{cents} is shown as {shown}");
    }
}

#[test]
fn every_body_has_a_named_schema() {
    let document = document(Environment::Sandbox);
    // Generators number schemas without a name, and one more would rename the others.
    let is_anonymous = |place: &str, media: &Map<String, Value>| {
        (place.ends_with("json") && place.contains("/content/")) && media.get("schema").is_some_and(|schema| schema["$ref"].is_null())
    };
    assert_eq!(places(&document, is_anonymous), ["/paths/~1openapi.json/get/responses/200/content/application~1json"]);
    let nested = |place: &str, schema: &Map<String, Value>| {
        place.starts_with("/components/schemas/") && place.matches('/').count() > 3 && schema.contains_key("properties")
    };
    assert_eq!(places(&document, nested), Vec::<String>::new());
    let schemas = &document["components"]["schemas"];
    for (id, schema) in [("purchase", "PurchaseRequest"), ("refund", "RefundRequest")] {
        let operation = operations(&document).find(|operation| operation["operationId"] == id).expect("an operation");
        let reference = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(*reference, json!(format!("#/components/schemas/{schema}")));
        assert_eq!(schemas[schema]["required"], json!(["cardId", "amount", "description"]));
    }
}

#[test]
fn every_constant_and_enum_has_a_type() {
    let untyped = |_: &str, schema: &Map<String, Value>| {
        (schema.contains_key("const") || schema.contains_key("enum")) && !schema.contains_key("type")
    };
    assert_eq!(places(&document(Environment::Sandbox), untyped), Vec::<String>::new());
}

#[test]
fn named_enums_have_no_value_in_common() {
    // The constants of all named enums share one namespace in Go. Make the smaller one inline.
    let document = document(Environment::Sandbox);
    let mut named: HashMap<&str, &str> = HashMap::new();
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        for value in schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert_eq!(named.insert(value, name), None, "{value} is in {name} too");
        }
    }
    assert!(named.contains_key("cancelled"));
}

#[test]
fn a_date_has_no_pattern_and_no_string_has_alternative_formats() {
    let document = document(Environment::Sandbox);
    // Clients hold a date as a date, and compare it with the pattern.
    let patterned = |_: &str, schema: &Map<String, Value>| {
        schema.contains_key("pattern")
            && schema.get("format").is_some_and(|format| format.as_str().is_some_and(|format| format.starts_with("date")))
    };
    assert_eq!(places(&document, patterned), Vec::<String>::new());
    let alternative = |_: &str, schema: &Map<String, Value>| {
        let alternatives = schema.get("anyOf").or(schema.get("oneOf")).and_then(Value::as_array);
        alternatives.is_some_and(|each| each.iter().filter(|one| resolved(one)["type"] == "string").count() > 1)
    };
    assert_eq!(places(&document, alternative), Vec::<String>::new());
}

#[test]
fn ids_in_paths_and_queries_have_no_pattern() {
    // A client would refuse `card_001` itself, where the API answers 404.
    let document = document(Environment::Sandbox);
    let parameters = operations(&document).flat_map(|operation| operation["parameters"].as_array().into_iter().flatten());
    let mut ids = 0;
    // An external id is the caller's own text.
    let of_service = |name: &str| name.ends_with("Id") && name != "externalId";
    for parameter in parameters.filter(|parameter| parameter["name"].as_str().is_some_and(of_service)) {
        assert_eq!(resolved(&parameter["schema"]).get("pattern"), None, "{parameter}");
        ids += 1;
    }
    assert!(ids > 8);
    let card =
        schema_errors("card_001", &json!({"$ref": "#/components/schemas/AddBalanceRequest"}), &json!({"cardId": "card_001", "amount": 1}));
    assert_eq!(card, Vec::<String>::new());
}

#[test]
fn responses_are_open_and_a_status_is_one_of_an_error() {
    let document = document(Environment::Sandbox);
    let closed = |_: &str, schema: &Map<String, Value>| {
        ["additionalProperties", "unevaluatedProperties"].iter().any(|word| schema.get(*word) == Some(&json!(false)))
    };
    assert_eq!(places(&document, closed), Vec::<String>::new());
    for name in ["Problem", "Explanation"] {
        let status = &document["components"]["schemas"][name]["properties"]["status"];
        assert_eq!((&status["type"], &status["minimum"], &status["maximum"]), (&json!("integer"), &json!(400), &json!(599)), "{name}");
    }
}

#[test]
fn lists_have_a_cursor_only_in_pages() {
    let lists = document(Environment::Sandbox)["components"]["schemas"].as_object().expect("schemas").clone();
    let lists: Vec<_> = lists.into_iter().filter(|(name, _)| name.ends_with("List")).collect();
    assert_eq!(lists.len(), 11);
    for (name, list) in lists {
        assert_eq!(list["required"].as_array().map(Vec::len), Some(1), "{name}");
        assert_eq!(list["properties"]["nextCursor"]["type"], json!(["string", "null"]), "{name}");
    }
}

#[test]
fn the_document_says_who_answers_for_it_where_it_is_served_and_what_may_change() {
    for environment in [Environment::Sandbox, Environment::Production] {
        let document = document(environment);
        assert!(document["info"]["contact"]["name"].is_string());
        let description = document["info"]["description"].as_str().expect("a description");
        for word in ["members of responses", "values of enums", "error codes", "without notice", "`deprecated`"] {
            assert!(description.contains(word), "{word}");
        }
        let url = document["servers"][0]["url"].as_str().expect("a server");
        assert!(url.starts_with("http://127.0.0.1:") || url.starts_with("https://"), "{url}");
    }
}

#[test]
fn an_idempotency_key_has_an_example_that_postman_replaces() {
    let document = document(Environment::Sandbox);
    let mut keys = 0;
    for operation in operations(&document) {
        for key in operation["parameters"].as_array().into_iter().flatten().filter(|each| each["name"] == "Idempotency-Key") {
            assert_eq!(key["schema"]["examples"][0], "{{$guid}}");
            assert_eq!(schema_errors("Idempotency-Key", &key["schema"], &key["schema"]["examples"][0]), Vec::<String>::new());
            keys += 1;
        }
    }
    assert_eq!(keys, 37);
}

#[test]
fn every_component_is_used() {
    let document = document(Environment::Sandbox);
    let mut used: BTreeSet<String> = BTreeSet::new();
    each_object(&document, "", &mut |_, object| used.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned)));
    for (kind, components) in document["components"].as_object().expect("components").iter().filter(|(kind, _)| *kind != "securitySchemes")
    {
        for name in components.as_object().expect("components").keys() {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "nothing uses {kind}/{name}");
        }
    }
}
