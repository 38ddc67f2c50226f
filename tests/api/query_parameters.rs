//! Query parameters at every operation of the document: unknown and repeated ones are refused.

use reqwest::Method;
use serde_json::Value;

use crate::support::{
    Actor, Reply, World,
    operations::{Operation, operations},
    without_quota,
};

/// The operations that refuse unknown parameters: all but the health checks, whose callers add their own.
fn strict_operations() -> impl Iterator<Item = Operation> {
    operations().into_iter().filter(|operation| !operation.template.starts_with("/health/"))
}

/// Sends the example of an operation with a query.
async fn send(actor: &Actor, operation: &Operation, query: &str) -> Reply {
    let request = actor.request(operation.method.clone(), &format!("{}?{query}", operation.path("none")));
    Reply::of(match &operation.body {
        Some(body) => request.json(body),
        None => request,
    })
    .await
}

/// The field, code and sentence of each fault, but for parameters that are required and that no test here sends.
fn faults(reply: Reply) -> Vec<[String; 3]> {
    let body = reply.problem(400, "validation_failed");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let faults = body["errors"].as_array().expect("errors").iter().filter(|fault| fault["code"] != "required");
    faults.map(|fault| ["field", "code", "detail"].map(|name| text(&fault[name]))).collect()
}

#[tokio::test]
async fn every_operation_refuses_an_unknown_parameter_by_its_name() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    for operation in strict_operations() {
        let takes = match operation.query.as_slice() {
            [] => "it takes none".to_owned(),
            _ => "it takes: ".to_owned(),
        };
        for query in ["qwxyz=1", "qwxyz", "qwxyz=&qwxyz=2"] {
            let found = faults(send(&admin, &operation, query).await);
            let [field, code, detail] = &found[0];
            assert_eq!((found.len(), field.as_str(), code.as_str()), (1, "qwxyz", "unknown_parameter"), "{operation}: {found:?}");
            assert!(detail.starts_with(&format!("qwxyz is not a query parameter of this request; {takes}")), "{operation}: {detail}");
            assert!(operation.query.iter().all(|name| detail.contains(name.as_str())), "{operation}: {detail}");
        }
        let found = faults(send(&admin, &operation, "a%20b=1&%FF=1").await);
        assert!(found.len() == 2 && found.iter().all(|[field, ..]| field == "query"), "{operation}: {found:?}");
        let flood: Vec<String> = (0..500).map(|number| format!("qwxyz{number}")).collect();
        assert_eq!(faults(send(&admin, &operation, &flood.join("&")).await).len(), 10, "{operation}");
        if operation.needs_token {
            send(&world.anonymous(), &operation, "qwxyz=1").await.problem(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn a_mistyped_parameter_is_told_the_known_one_and_a_repeated_one_is_refused() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    let mut typos = 0;
    for operation in strict_operations() {
        for name in &operation.query {
            // Two letters swapped, in upper case, and in snake case.
            let swapped: String = name.chars().skip(1).take(1).chain(name.chars().take(1)).chain(name.chars().skip(2)).collect();
            let snake: String =
                name.chars().map(|letter| if letter.is_uppercase() { format!("_{letter}") } else { letter.into() }).collect();
            for typo in [swapped, name.to_uppercase(), format!("{snake}_").to_lowercase()] {
                if name.len() < 3 {
                    continue;
                }
                let found = faults(send(&admin, &operation, &format!("{typo}=1")).await);
                let [field, code, detail] = &found[0];
                assert_eq!((field, code.as_str()), (&typo, "unknown_parameter"), "{operation}: {found:?}");
                assert!(detail.contains(&format!("(did you mean {name}?)")), "{operation}: {detail}");
                typos += 1;
            }
            for twice in [format!("{name}=1&{name}=1"), format!("{name}&{name}")] {
                let found = faults(send(&admin, &operation, &twice).await);
                assert!(found.iter().any(|[field, code, _]| field == name && code == "duplicate"), "{operation}: {found:?}");
            }
        }
    }
    assert!(typos >= 50, "only {typos} typos were tried");
}

#[tokio::test]
async fn faults_in_the_query_and_in_the_body_are_reported_together() {
    let (_world, admin) = World::with_admin().await;
    let reply = admin.send(Method::POST, "/customers?dryRun=true", "{\"name\":5,\"email\":\"juan@email.com\"}").await;
    assert_eq!(reply.field_errors(), ["dryRun: unknown_parameter", "name: wrong_type"]);
    let reply = admin.get("/cards?customer_id=cus_1&limit=0&status=activ").await;
    assert_eq!(reply.field_errors(), ["status: unknown_value", "limit: out_of_range", "customer_id: unknown_parameter"]);
}

#[tokio::test]
async fn health_checks_and_pages_ignore_the_query() {
    let world = World::new().await;
    for path in ["/health/live", "/health/ready", "/docs", "/docs/docs.css", "/docs/swagger-ui.css"] {
        assert_eq!(world.anonymous().get(&format!("{path}?v=1&probe=balancer")).await.status, 200, "{path}");
    }
    for path in ["/openapi.json?", "/errors?", "/cards?", "/cards?&"] {
        assert_eq!(world.admin().await.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_plus_sign_that_can_only_be_one_needs_no_encoding() {
    let (_world, admin) = World::with_admin().await;
    for email in ["juan+tag@example.com", "juan+a+b@example.com"] {
        admin.post("/customers", serde_json::json!({"name": "Juan", "email": email})).await.ok();
        for written in [email.to_owned(), email.replace('+', "%2B"), email.to_uppercase(), format!("%20{email}%09")] {
            let found = admin.get(&format!("/customers?email={written}")).await.ok();
            assert_eq!(found["customers"][0]["email"], email, "{written}");
        }
    }
    let card = admin.given_card_with(serde_json::json!(1)).await;
    let count = async |query: &str| admin.get(&format!("/cards/{card}/movements?{query}")).await.ok()["movements"].as_array().map(Vec::len);
    assert_eq!(count("from=2025-02-01T00:00:00+02:00").await, Some(1));
    assert_eq!(count("from=2025-02-01T00:00:00%2B02:00").await, Some(1));
    assert_eq!(count("to=2025-02-01T00:00:00+02:00").await, Some(0));
    let invalid = [
        "2025- 2- 1",
        "2025-+2-+1",
        "2025-02-01+00:00:00Z",
        "2025-02-01T00:00:00++2:00",
        "2025-02-01T00:00:00+02:00+",
        "+2025-02-01",
        "2025-02-01+",
        "2025-2-1",
        "2025-02-01T00:00:00",
        "2025-02-01%2000:00:00Z",
        "2025-02-01T00:00:00%E2%88%9202:00",
    ];
    for name in ["from", "to"] {
        for text in invalid {
            let errors = admin.get(&format!("/cards/{card}/movements?{name}={text}")).await.field_errors();
            assert_eq!(errors, [format!("{name}: invalid_date")], "{text}");
        }
    }
}
