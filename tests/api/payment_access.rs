//! Who may pay with a card: the gateway's key, the sandbox's people, and nobody of another account.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use core_api::{config::Environment, domain::role::Role};
use serde_json::{Value, json};

use crate::support::{
    Actor, Database, Reply, World,
    payments::{id, sums},
};

/// Ids that requests can name.
struct Ids {
    card: String,
    customer: String,
    hold: String,
    capture: String,
    refund: String,
}

impl Ids {
    /// A card with a hold, a capture and a refund.
    async fn given(actor: &Actor) -> Self {
        let (card, customer) = (actor.given_card_with(json!(500)).await, actor.given_customer().await);
        let captured = actor.given_hold(&card, json!(10)).await;
        let capture = id(&actor.capture(&captured, json!(10)).await.ok()["movement"]);
        let refund = id(&actor.network_refund(&card, json!(5), json!({})).await.ok()["movement"]);
        let hold = actor.given_hold(&card, json!(50)).await;
        Self { card, customer, hold, capture, refund }
    }
}

/// The answers to every request that can name them. `own` is a card of the caller.
async fn every_request_naming(actor: &Actor, ids: &Ids, own: &str) -> Vec<Reply> {
    let Ids { card, customer, hold, capture, refund } = ids;
    let linked = |link: Value| actor.network_refund(own, json!(1), link);
    let simulated =
        |link: &'static str, id: &str| actor.post("/sandbox/refunds", json!({"cardId": own, "amount": 1, "description": "x", link: id}));
    vec![
        actor.authorize(card, json!(1)).await,
        actor.network("purchases", json!({"cardId": card, "amount": 1})).await,
        actor.step(hold, "increments", json!({"amount": 1})).await,
        actor.step(hold, "adjustments", json!({"amount": 1})).await,
        actor.step(hold, "reversals", json!({})).await,
        actor.step(hold, "captures", json!({})).await,
        actor.force_post(card, json!(1)).await,
        actor.network(&format!("captures/{capture}/reversals"), json!({})).await,
        actor.network_refund(card, json!(1), json!({})).await,
        linked(json!({"authorizationId": hold})).await,
        linked(json!({"movementId": capture})).await,
        actor.network(&format!("refunds/{refund}/reversals"), json!({})).await,
        actor.get(&format!("/authorizations/{hold}")).await,
        actor.get(&format!("/authorizations?cardId={card}")).await,
        actor.get(&format!("/authorizations?customerId={customer}&limit=1")).await,
        actor.post(&format!("/authorizations/{hold}/release"), json!({"reason": "x"})).await,
        actor.expire(hold).await,
        actor.withdraw(card, json!(1)).await,
        simulated("authorizationId", hold).await,
        simulated("movementId", capture).await,
    ]
}

#[tokio::test]
async fn another_account_s_payment_is_answered_exactly_like_an_unknown_one() {
    let (_world, mine, theirs) = World::with_two_accounts().await;
    let ids = Ids::given(&theirs).await;
    let before = (theirs.position(&ids.card).await, theirs.authorization(&ids.hold).await, theirs.movements(&ids.card).await);
    let own = mine.given_card_with(json!(500)).await;
    let foreign = every_request_naming(&mine, &ids, &own).await;
    let swap = |id: &str| id.strip_suffix('0').map_or_else(|| format!("{}0", &id[..id.len() - 1]), |stem| format!("{stem}1"));
    let Ids { card, customer, hold, capture, refund } = &ids;
    for unknown in [
        Ids { card: swap(card), customer: swap(customer), hold: swap(hold), capture: swap(capture), refund: swap(refund) },
        Ids { card: "card_1".into(), customer: "cus_1".into(), hold: "auth_1".into(), capture: "mov_1".into(), refund: "mov_1".into() },
        // Ids of another kind name nothing either.
        Ids { card: hold.clone(), customer: card.clone(), hold: capture.clone(), capture: hold.clone(), refund: card.clone() },
    ] {
        let unknown = every_request_naming(&mine, &unknown, &own).await;
        for (number, (foreign, unknown)) in foreign.iter().zip(&unknown).enumerate() {
            assert_eq!((foreign.status, unknown.status), (404, 404), "{number}: {foreign:?} {unknown:?}");
            assert_eq!(foreign.without_request_id(), unknown.without_request_id(), "{number}");
        }
    }
    let after = (theirs.position(&ids.card).await, theirs.authorization(&ids.hold).await, theirs.movements(&ids.card).await);
    assert_eq!(after, before);
    assert_eq!(mine.position(&own).await, "500 0 500");
    assert_eq!(mine.authorizations("").await, Vec::<Value>::new());
    // The name that their network gave a payment means nothing here.
    theirs.authorize_with(&ids.card, json!(1), json!({"networkTransactionId": "theirs"})).await.ok();
    for path in ["captures", "refunds"] {
        let body = json!({"cardId": own, "amount": 1, "description": "x", "networkTransactionId": "theirs"});
        assert_eq!(mine.network(path, body).await.ok()["authorization"], Value::Null);
    }
}

/// A card's payment from end to end with the gateway's key.
async fn pay(gateway: &Actor, card: &str) {
    let hold = gateway.given_hold(card, json!(10)).await;
    gateway.step(&hold, "increments", json!({"amount": 5})).await.ok();
    gateway.step(&hold, "adjustments", json!({"amount": 12})).await.ok();
    gateway.step(&hold, "reversals", json!({"amount": 2})).await.ok();
    let capture = id(&gateway.capture(&hold, json!(10)).await.ok()["movement"]);
    gateway.network(&format!("captures/{capture}/reversals"), json!({"amount": 1})).await.ok();
    let refund = id(&gateway.network_refund(card, json!(9), json!({"authorizationId": hold})).await.ok()["movement"]);
    gateway.network(&format!("refunds/{refund}/reversals"), json!({})).await.ok();
    gateway.network("purchases", json!({"cardId": card, "amount": 1})).await.ok();
    gateway.force_post(card, json!(1)).await.ok();
    assert_eq!(sums(&gateway.authorization(&hold).await), "captured 15 0 10 0 5 0 0");
    assert_eq!(gateway.authorizations(&format!("?cardId={card}")).await.len(), 2);
}

#[tokio::test]
async fn a_network_key_pays_and_reads_authorizations_and_nothing_else() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let created = admin.post("/api-keys", json!({"name": "Gateway", "role": "network"})).await.ok();
    let gateway = world.anonymous().with_token(created["key"].as_str().expect("a key"));
    pay(&gateway, &card).await;
    assert_eq!(admin.position(&card).await, "489 0 489");
    let hold = gateway.given_hold(&card, json!(10)).await;
    for path in [
        "/cards",
        "/customers",
        &format!("/cards/{card}"),
        &format!("/cards/{card}/movements"),
        &format!("/balances/{card}"),
        "/users",
        "/api-keys",
        "/audit-events",
    ] {
        gateway.get(path).await.problem(403, "insufficient_permissions");
    }
    for (path, body) in [
        ("/balances/add".to_owned(), json!({"cardId": card, "amount": 1})),
        ("/balances/withdraw".to_owned(), json!({"cardId": card, "amount": 1})),
        ("/transfers".to_owned(), json!({"fromCardId": card, "toCardId": "card_001", "amount": 1})),
        ("/sandbox/purchases".to_owned(), json!({"cardId": card, "amount": 1, "description": "x"})),
        ("/sandbox/refunds".to_owned(), json!({"cardId": card, "amount": 1, "description": "x"})),
        (format!("/sandbox/authorizations/{hold}/expire"), json!({})),
        (format!("/authorizations/{hold}/release"), json!({"reason": "x"})),
    ] {
        gateway.post(&path, body).await.problem(403, "insufficient_permissions");
    }
    // Who did it is kept: the key, and no user.
    let by_key = "select count(*) from authorization_entries where api_key_id is not null and user_id is null";
    assert_eq!(world.database.number(by_key).await, 8);
    assert_eq!(world.database.number("select count(*) from movements where api_key_id is not null and user_id is null").await, 6);
    assert_eq!(world.database.number("select count(*) from movements where api_key_id is not null or user_id is not null").await, 7);
}

#[tokio::test]
async fn a_viewer_reads_authorizations_and_pays_nothing() {
    let (world, admin) = World::with_admin().await;
    let ids = Ids::given(&admin).await;
    let before = world.payment_rows().await;
    let (_, viewer) = world.new_user(&admin, "viewer@example.com", Role::Viewer).await;
    for reply in every_request_naming(&viewer, &ids, &ids.card).await {
        match reply.status {
            200 => drop(reply.ok()),
            _ => drop(reply.problem(403, "insufficient_permissions")),
        }
    }
    assert_eq!(world.payment_rows().await, before);
    let anonymous = world.anonymous();
    for reply in every_request_naming(&anonymous, &ids, &ids.card).await {
        reply.problem(401, "unauthenticated");
    }
    assert_eq!(viewer.authorizations("").await.len(), 2);
    let (_, operator) = world.new_user(&admin, "operator@example.com", Role::Operator).await;
    pay(&operator, &operator.given_card_with(json!(500)).await).await;
}

#[tokio::test]
async fn in_production_only_a_network_key_pays_and_nothing_is_simulated() {
    let world = World::on(Database::empty().await, |settings| {
        settings.environment = Environment::Production;
        settings.auth.signing_keys = Some(format!("k1:{}", STANDARD.encode(rand::random::<[u8; 32]>())).into());
    })
    .await;
    let admin = world.user_in_new_account(Role::Admin, None).await;
    let card = admin.given_card_with(json!(500)).await;
    for (path, body) in [("authorizations", json!({"cardId": card, "amount": 1})), ("purchases", json!({"cardId": card, "amount": 1}))] {
        admin.network(path, body).await.problem(403, "insufficient_permissions");
    }
    admin.force_post(&card, json!(1)).await.problem(403, "insufficient_permissions");
    let created = admin.post("/api-keys", json!({"name": "Gateway", "role": "network"})).await.ok();
    let gateway = world.anonymous().with_token(created["key"].as_str().expect("a key"));
    pay(&gateway, &card).await;
    // A forced decline is a word that production does not know, so it is ignored like any other.
    let given = gateway.authorize_with(&card, json!(1), json!({"forceDecline": "card_blocked"})).await.ok();
    assert_eq!(given["authorization"]["status"], "pending");
    let hold = id(&given["authorization"]);
    admin.expire(&hold).await.problem(404, "route_not_found");
    admin.post(&format!("/authorizations/{hold}/release"), json!({"reason": "test"})).await.ok();
    admin.withdraw(&card, json!(489)).await.ok();
    assert_eq!(admin.position(&card).await, "0 0 0");
}
