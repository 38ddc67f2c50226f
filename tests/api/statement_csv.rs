//! Statements as CSV.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Actor, Reply, World};

async fn with_accept(actor: &Actor, path: &str, accept: &str) -> Reply {
    Reply::of(actor.request(Method::GET, path).header("accept", accept)).await
}

#[tokio::test]
async fn a_spreadsheet_gets_a_line_for_each_movement_and_both_balances() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(1_000)).await;
    for (amount, description) in [(json!(20.5), "Café \"Ñandú\", table 5"), (json!(1), "=HYPERLINK(\"http://x\",\"y\")"), (json!(2), "-5")]
    {
        let body = json!({"cardId": card, "amount": amount, "description": description});
        admin.post("/sandbox/purchases", body).await.ok();
    }
    let merchant = json!({"merchant": {"id": "1", "name": "@SUM(A1), Inc."}});
    let hold = admin.authorize_with(&card, json!(30), merchant).await.ok()["authorization"]["id"].clone();
    let captured = admin.capture(hold.as_str().expect("an id"), json!(30)).await.ok()["movement"]["id"].clone();
    let reversal = format!("captures/{}/reversals", captured.as_str().expect("an id"));
    admin.network(&reversal, json!({"amount": 10})).await.ok();

    let path = format!("/cards/{card}/statement?from=2025-01-01&to=2125-01-01T00:30:00Z&timeZone=America/Bogota");
    let reply = with_accept(&admin, &path, "text/csv").await;
    assert_eq!(reply.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let name = format!("attachment; filename=\"statement-{card}-2025-01-01-2125-01-01T003000Z.csv\"");
    assert_eq!((reply.header("content-disposition"), reply.header("vary")), (Some(name.as_str()), Some("accept")));

    let mut movements = admin.movements(&card).await;
    movements.reverse();
    let rows = [
        ("top_up,1000,1000,Balance top-up", ""),
        ("purchase,-20.50,979.50,\"Café \"\"Ñandú\"\", table 5\"", ""),
        ("purchase,-1,978.50,\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"", ""),
        ("purchase,-2,976.50,-5", ""),
        ("capture,-30,946.50,\"'@SUM(A1), Inc.\"", "\"'@SUM(A1), Inc.\""),
        ("capture_reversal,10,956.50,\"'@SUM(A1), Inc.\"", "\"'@SUM(A1), Inc.\""),
    ];
    assert_eq!((movements.len(), &movements[5]["relatedMovementId"]), (rows.len(), &captured));
    let line = |movement: &Value, (row, merchant): (&str, &str)| {
        let text = |name: &str| movement[name].as_str().unwrap_or_default().to_owned();
        let ids = [text("date"), text("authorizationId"), text("relatedMovementId")].join(",");
        format!("{},{row},{ids},{merchant}", text("id"))
    };
    let lines = movements.iter().zip(rows).map(|(movement, row)| line(movement, row));
    let before = [
        "movementId,type,amount,balanceAfter,description,createdAt,authorizationId,relatedMovementId,merchantName".to_owned(),
        ",opening_balance,,0,Opening balance,2025-01-01T05:00:00.000Z,,,".to_owned(),
    ];
    let after = [",closing_balance,,956.50,Closing balance,2125-01-01T00:30:00.000Z,,,".to_owned(), String::new()];
    assert_eq!(reply.text.split("\r\n").collect::<Vec<_>>(), before.into_iter().chain(lines).chain(after).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_accept_header_chooses_the_format() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(1)).await;
    let path = format!("/cards/{card}/statement?from=2025-01-01&to=2125-01-01");
    for (accept, format) in [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("text/csv, */*;q=0.1", "text/csv; charset=utf-8; header=present"),
        ("TEXT/*", "text/csv; charset=utf-8; header=present"),
        ("application/json;q=0.1, text/csv;q=0.2", "text/csv; charset=utf-8; header=present"),
    ] {
        let reply = with_accept(&admin, &path, accept).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(format)), "{accept}");
        assert_eq!(reply.header("content-disposition").is_some(), format != "application/json", "{accept}");
    }
    for accept in ["text/html", "application/pdf, image/*", "text/csv;q=0, application/json;q=0", "*/*;q=0"] {
        let problem = with_accept(&admin, &path, accept).await.problem(406, "not_acceptable");
        assert_eq!(problem["detail"], "Send an Accept header that allows one of: application/json, text/csv.");
    }
    // The query counts before the header, and the header before the id.
    with_accept(&admin, &format!("/cards/{card}/statement"), "text/html").await.problem(400, "validation_failed");
    with_accept(&admin, &path.replace(&card, "card_001"), "text/html").await.problem(406, "not_acceptable");
    with_accept(&admin, &path.replace(&card, "card_001"), "text/csv").await.problem(404, "card_not_found");
}
