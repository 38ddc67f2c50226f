//! Explanations of errors: the page that a problem's `type` links to, and the detail for each field.

use core_api::domain::card::CardStatus;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Actor, Reply, World};

async fn page(actor: &Actor, path: &str) -> Reply {
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    Reply::of(actor.request(Method::GET, path).header("accept", accept)).await
}

#[tokio::test]
async fn the_type_of_a_problem_links_to_the_explanation_of_its_code() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_in(CardStatus::Cancelled).await;
    let problem = admin.add(&card, json!(5)).await.problem(409, "card_cancelled");
    let explained = world.anonymous().get(problem["type"].as_str().expect("a path")).await.ok();
    for member in ["code", "status", "title"] {
        assert_eq!(explained[member], problem[member]);
    }
    assert_eq!(explained["whatToDo"], "Create a new card instead. POST /balances/withdraw and POST /transfers empty a cancelled card.");
}

#[tokio::test]
async fn every_code_is_explained_as_json_and_as_html_without_a_token() {
    let world = World::new().await;
    let client = world.anonymous();
    let all = client.get("/errors").await.ok();
    let all = all["errors"].as_array().expect("a list");
    assert!(all.len() > 30, "only {} codes", all.len());
    let list = page(&client, "/errors").await;
    for explained in all {
        let path = format!("/errors/{}", explained["code"].as_str().expect("a code"));
        assert_eq!(client.get(&path).await.ok(), *explained);
        assert!(list.text.contains(&format!("href=\"{path}\"")), "{path}");
        let page = page(&client, &path).await;
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        for member in ["code", "title", "meaning", "whatToDo"] {
            let text = explained[member].as_str().expect("text");
            assert!(text.len() > 5 && page.text.contains(text), "{member} of {path}");
        }
    }
}

#[tokio::test]
async fn the_accept_header_decides_between_json_and_html() {
    let world = World::new().await;
    let client = world.anonymous();
    for (accept, media_type) in [
        ("text/html", "text/html; charset=utf-8"),
        ("Text/HTML;q=0.8, application/json;q=0.3", "text/html; charset=utf-8"),
        ("text/*", "text/html; charset=utf-8"),
        ("text/html, */*", "text/html; charset=utf-8"),
        ("*/*", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html;q=0, */*", "application/json"),
        ("application/json, text/html;q=0.9", "application/json"),
        ("x/y;z=\"text/html\"", "application/json"),
        ("text/html2", "application/json"),
    ] {
        for path in ["/errors", "/errors/card_blocked"] {
            let reply = Reply::of(client.request(Method::GET, path).header("accept", accept)).await;
            assert_eq!((reply.status, reply.header("content-type")), (200, Some(media_type)), "{path} for {accept}");
            assert_eq!(reply.header("vary"), Some("accept"));
        }
    }
}

#[tokio::test]
async fn an_explanation_page_loads_nothing_else() {
    let world = World::new().await;
    for path in ["/errors", "/errors/card_blocked"] {
        let page = page(&world.anonymous(), path).await;
        assert!(page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
        for outside in ["http:", "https:", "src=", "url(", "@import", "<script"] {
            assert!(!page.text.contains(outside), "{outside} in {path}");
        }
    }
}

#[tokio::test]
async fn an_unknown_code_is_404() {
    let world = World::new().await;
    for path in ["/errors/card_blockd", "/errors/CARD_BLOCKED", "/errors/%20", "/errors/a/b"] {
        world.anonymous().get(path).await.problem(404, "route_not_found");
    }
    world.anonymous().get("/errors/%00").await.problem(400, "invalid_path");
}

#[tokio::test]
async fn every_invalid_field_is_named_with_its_rule() {
    let (_world, admin) = World::with_admin().await;
    let details = |problem: &Value| -> Vec<String> {
        let errors = problem["errors"].as_array().expect("errors").iter();
        errors.map(|error| error["detail"].as_str().expect("text").to_owned()).collect()
    };
    let long = "x".repeat(201);
    for (path, body, expected) in [
        ("/customers", json!({}), vec!["name is required.", "email is required."]),
        (
            "/customers",
            json!({"name": " ", "email": "juan"}),
            vec!["name must not be blank.", "email must be an email address such as juan@email.com."],
        ),
        ("/customers", json!({"name": long, "email": "juan@email.com"}), vec!["name takes at most 200 characters."]),
        (
            "/customers",
            json!({"name": "a\u{0}", "email": 5}),
            vec!["name must not have control characters in it.", "email must be a string, not a number."],
        ),
        ("/customers", json!({"name": "\u{200b}\u{3164}", "email": "juan@email.com"}), vec!["name must have a visible character in it."]),
        (
            "/customers",
            json!({"name": "Juan \u{202e}zereP", "email": ["juan@email.com"]}),
            vec!["name must not have bidirectional control characters in it.", "email must be a string, not an array."],
        ),
        (
            "/balances/add",
            json!({"cardId": true, "amount": {}}),
            vec!["cardId must be a string, not a boolean.", "amount must be a JSON number, not an object."],
        ),
        ("/cards", json!({"currency": "usd"}), vec!["currency must be one of: USD, EUR, COP (did you mean USD?)."]),
        ("/cards", json!({"currency": "GBP"}), vec!["currency must be one of: USD, EUR, COP."]),
        ("/balances/add", json!({"cardId": "card_001", "amount": "100"}), vec!["amount must be a JSON number, not a string."]),
        ("/balances/add", json!({"cardId": "card_001", "amount": 0}), vec!["amount must be above 0."]),
        ("/balances/add", json!({"cardId": "card_001", "amount": 1.005}), vec!["amount takes at most 2 decimals."]),
        ("/balances/add", json!({"cardId": "card_001", "amount": 1e15}), vec!["amount takes at most 90071992547409.91."]),
        (
            "/users",
            json!({"email": "ana@acme.com", "password": "short", "role": "viewr"}),
            vec![
                "password must have 8 to 1024 characters, none of them a control character, and not be a published one.",
                "role must be one of: admin, operator, viewer (did you mean viewer?).",
            ],
        ),
    ] {
        let problem = admin.post(path, body).await.problem(400, "validation_failed");
        assert_eq!(details(&problem), expected);
        assert_eq!(problem["detail"], expected.join(" "));
    }
    let problem = admin.set_status("card_001", "actve").await.problem(400, "validation_failed");
    assert_eq!(details(&problem), ["status must be one of: active, blocked, cancelled (did you mean active?)."]);
    for (query, expected) in [
        ("limit=0", "limit must be a whole number from 1 to 100."),
        ("status=blokced", "status must be one of: inactive, active, blocked, cancelled (did you mean blocked?)."),
        ("after=x", "after must be a nextCursor that this list gave."),
        ("limit=1&limit=2", "limit must be given once."),
        (
            "customer_id=cus_001",
            "customer_id is not a query parameter of this request (did you mean customerId?); it takes: after, customerId, status, currency, externalId, limit.",
        ),
        (
            "pass:word=1",
            "The query has a parameter that this request does not take; it takes: after, customerId, status, currency, externalId, limit.",
        ),
    ] {
        let problem = admin.get(&format!("/cards?{query}")).await.problem(400, "validation_failed");
        assert_eq!(details(&problem), [expected]);
    }
}

#[tokio::test]
async fn a_body_that_is_not_an_object_is_told_why_and_not_repeated() {
    let (_world, admin) = World::with_admin().await;
    for (body, expected) in [
        ("", "The body is empty; it must be a JSON object."),
        ("\u{feff} ", "The body is empty; it must be a JSON object."),
        (r#""{\"name\":\"Juan\"}""#, "The body must be a JSON object, not a string. Was it encoded twice?"),
        ("[{}]", "The body must be a JSON object, not an array."),
        ("17", "The body must be a JSON object, not a number."),
        ("-1", "The body must be a JSON object, not a number."),
        ("true", "The body must be a JSON object, not a boolean."),
        ("null", "The body must be a JSON object, not null."),
        ("hunter2", "The body is not valid JSON: expected value at line 1 column 1."),
        ("{\"name\":\n hunter2}", "The body is not valid JSON: expected value at line 2 column 2."),
        ("{\"name\":\"hunter2", "The body is not valid JSON: EOF while parsing a string at line 1 column 16."),
        (r#"{"name":1,"name":2}"#, "The body is not valid JSON: an object has the same key twice at line 1 column 16."),
        (r#"{"x":{"y":1,"y":2}}"#, "The value of the member x is not valid JSON: an object has the same key twice at line 1 column 10."),
        (
            r#"{"pass word":{"y":1,"y":2}}"#,
            "The value of a member is not valid JSON: an object has the same key twice at line 1 column 10.",
        ),
    ] {
        let problem = admin.send(reqwest::Method::POST, "/customers", body).await.problem(400, "invalid_json");
        assert_eq!(problem["detail"], expected, "{body}");
    }
}
