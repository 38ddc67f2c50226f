//! Tenants are isolated: the ids of another account are answered like unknown ones.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Actor, Reply, World, payments::card_uuid};

/// The answers to every request that can name a card or a customer.
async fn every_request_naming(actor: &Actor, card: &str, customer: &str, own_card: &str) -> Vec<Reply> {
    let post = |path, body: Value| actor.post(path, body);
    vec![
        actor.get(&format!("/cards/{card}")).await,
        actor.get(&format!("/cards/{card}/movements")).await,
        actor.get(&format!("/cards/{card}/movements?limit=1")).await,
        actor.get(&format!("/balances/{card}")).await,
        actor.get(&format!("/customers/{customer}")).await,
        actor.get(&format!("/cards?customerId={customer}")).await,
        post("/cards/assign", json!({"cardId": card, "customerId": customer})).await,
        post("/cards/assign", json!({"cardId": own_card, "customerId": customer})).await,
        actor.patch("/cards/status", json!({"cardId": card, "status": "active"})).await,
        post("/balances/add", json!({"cardId": card, "amount": 1})).await,
        post("/sandbox/purchases", json!({"cardId": card, "amount": 1, "description": "x"})).await,
        post("/sandbox/refunds", json!({"cardId": card, "amount": 1, "description": "x"})).await,
        actor.get(&format!("/cards/{card}/controls")).await,
        actor.change_controls(card, json!({"maxPayments": 1})).await,
        actor.get(&format!("/cards/{card}/limits")).await,
        actor.limit_card(card, json!({"interval": "day", "amount": 1})).await,
        actor.get(&format!("/customers/{customer}/limits")).await,
        actor.limit_customer(customer, json!({"interval": "day", "amount": 1})).await,
        post(&format!("/cards/{card}/authorizations/preview"), json!({"amount": 1})).await,
    ]
}

#[tokio::test]
async fn another_account_s_id_is_answered_exactly_like_an_unknown_one() {
    let (_world, mine, theirs) = World::with_two_accounts().await;
    let (card, customer) = (theirs.given_card_with(json!(7)).await, theirs.given_customer().await);
    theirs.assign(&card, &customer).await.ok();
    let own_card = mine.given_card().await;
    let foreign = every_request_naming(&mine, &card, &customer, &own_card).await;
    let swap = |id: &str| id.strip_suffix('0').map_or_else(|| format!("{}0", &id[..id.len() - 1]), |stem| format!("{stem}1"));
    for (unknown_card, unknown_customer) in
        [(swap(&card), swap(&customer)), ("card_001".into(), "cus_001".into()), ("💳".into(), "nobody".into())]
    {
        let unknown = every_request_naming(&mine, &unknown_card, &unknown_customer, &own_card).await;
        for (foreign, unknown) in foreign.iter().zip(&unknown) {
            assert_eq!((foreign.status, unknown.status), (404, 404), "{foreign:?} {unknown:?}");
            assert_eq!(foreign.without_request_id(), unknown.without_request_id());
        }
    }
    let untouched = theirs.card(&card).await;
    assert_eq!((&untouched["balance"], &untouched["status"]), (&json!(7), &json!("active")));
    assert_eq!((&theirs.controls(&card).await["version"], theirs.customer_limits(&customer).await.len()), (&json!(0), 0));
    assert_eq!(mine.card(&own_card).await["customerId"], Value::Null);
}

#[tokio::test]
async fn a_bad_query_gets_the_same_answer_for_any_id() {
    let (_world, mine, theirs) = World::with_two_accounts().await;
    let (own, foreign) = (mine.given_card().await, theirs.given_card().await);
    for query in ["limit=0", "limit=1&after=x", "limit=1&limit=1"] {
        let mut answers = Vec::new();
        for card in [own.as_str(), foreign.as_str(), "card_001"] {
            let reply = mine.get(&format!("/cards/{card}/movements?{query}")).await;
            assert_eq!(reply.status, 400, "{card} {query}");
            answers.push(reply.without_request_id());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
}

#[tokio::test]
async fn a_list_contains_only_the_account_s_own_rows() {
    let (_world, mine, theirs) = World::with_two_accounts().await;
    theirs.given_card_with(json!(7)).await;
    theirs.given_customer().await;
    assert_eq!(mine.get("/cards").await.ok(), json!({"cards": []}));
    assert_eq!(mine.get("/customers").await.ok(), json!({"customers": []}));
}

#[tokio::test]
async fn another_account_s_cursor_reveals_nothing() {
    let (_world, mine, theirs) = World::with_two_accounts().await;
    let customer = theirs.given_customer().await;
    for _ in 0..3 {
        let card = theirs.given_card().await;
        theirs.assign(&card, &customer).await.ok();
    }
    let page = theirs.get(&format!("/cards?limit=1&customerId={customer}")).await.ok();
    let cursor = page["nextCursor"].as_str().expect("a next page");
    Reply::of(mine.request(Method::GET, &format!("/cards?limit=1&after={cursor}"))).await.problem(404, "customer_not_found");
    let page = theirs.get("/cards?limit=1").await.ok();
    let cursor = page["nextCursor"].as_str().expect("a next page");
    assert_eq!(mine.get(&format!("/cards?limit=1&after={cursor}")).await.ok(), json!({"cards": [], "nextCursor": null}));
}

/// Ids do not collide by chance. Even if two did, every statement selects by account as well.
#[tokio::test]
async fn two_accounts_with_the_same_card_id_stay_separate() {
    let (world, mine, theirs) = World::with_two_accounts().await;
    let card = theirs.given_card().await;
    world
        .database
        .execute(&format!(
            "insert into cards (account_id, id, number, currency)
             select account_id, '{}', 1, 'EUR' from accounts
             where not exists (select from cards where cards.account_id = accounts.account_id)",
            card_uuid(&card)
        ))
        .await;
    theirs.set_status(&card, "active").await.ok();
    theirs.add(&card, json!(7)).await.ok();
    theirs.change_controls(&card, json!({"maxPayments": 5})).await.ok();
    theirs.given_limit(&card, json!({"interval": "lifetime", "amount": 5})).await;
    theirs.purchase(&card, json!(2)).await.ok();
    theirs.assign(&card, &theirs.given_customer().await).await.ok();
    let untouched = mine.card(&card).await;
    assert_eq!((&untouched["status"], &untouched["balance"], &untouched["customerId"]), (&json!("inactive"), &json!(0), &Value::Null));
    assert_eq!((&untouched["currency"], mine.movements(&card).await), (&json!("EUR"), Vec::new()));
    assert_eq!((&mine.controls(&card).await["version"], &mine.card_limits(&card).await["limits"]), (&json!(0), &json!([])));
    let limit = mine.limit_card(&card, json!({"interval": "lifetime", "amount": 5})).await.ok();
    assert_eq!((&limit["used"], &theirs.card_limits(&card).await["limits"][0]["used"]), (&json!(0), &json!(2)));
    mine.add(&card, json!(100)).await.ok();
    mine.delete(&format!("/limits/{}", limit["limitId"].as_str().expect("an id"))).await.ok();
    assert_eq!(theirs.card_limits(&card).await["limits"].as_array().map(Vec::len), Some(1));
    let (own, other) = (mine.movements(&card).await, theirs.movements(&card).await);
    assert_eq!((own.len(), &own[0]["amount"]), (1, &json!(100)));
    assert_eq!((other.len(), &theirs.card(&card).await["balance"]), (2, &json!(5)));
    let listed = mine.get("/cards").await.ok();
    assert_eq!((listed["cards"].as_array().map(Vec::len), &listed["cards"][0]["balance"]), (Some(1), &json!(100)));
}
