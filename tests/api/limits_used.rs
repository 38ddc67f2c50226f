//! What was spent of limits: a limit that is created later counts the same as one that was there before, whoever the card is
//! assigned to and when.

use core_api::domain::id::AuthorizationId;
use futures_util::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Actor, World, patient,
    payments::{id, with},
    spending::used,
    without_quota,
};

/// Limits of every kind that refuse nothing here. Twice as many are as many as a card may have.
fn definitions() -> [Value; 10] {
    let shop = json!(["M1"]);
    [
        json!({"interval": "lifetime"}),
        json!({"interval": "lifetime", "restoreOnRefund": true}),
        json!({"interval": "year", "merchants": shop}),
        json!({"interval": "lifetime", "merchants": shop, "restoreOnRefund": true}),
        json!({"interval": "day", "categories": ["7011", "4511"], "timeZone": "America/Bogota"}),
        json!({"interval": "month", "countries": ["CO"]}),
        json!({"interval": "week", "categories": ["5734"], "countries": ["CO"], "merchants": ["M1", "M9"]}),
        json!({"interval": "lifetime", "categories": ["5734"], "countries": ["US"]}),
        json!({"interval": "week", "weekStart": "sunday", "restoreOnRefund": true, "status": "paused"}),
        json!({"interval": "day", "restoreOnRefund": true}),
    ]
    .map(|members| with(json!({"amount": 1_000_000, "count": 1_000_000}), members))
}

fn shop() -> Value {
    json!({"merchant": {"id": "M1", "mcc": "5734", "country": "CO"}})
}

fn hotel() -> Value {
    json!({"merchant": {"id": "M2", "mcc": "7011", "country": "US"}})
}

async fn hold(admin: &Actor, card: &str, amount: i64, members: Value) -> String {
    id(&admin.authorize_with(card, json!(amount), members).await.ok()["authorization"])
}

/// Pays with a card in every way, and lets everything come back that can.
async fn pay(admin: &Actor, card: &str) {
    let reverse_capture = async |movement: &Value, amount: i64| {
        admin.network(&format!("captures/{}/reversals", id(movement)), json!({"amount": amount})).await.ok()
    };
    // At the shop: 100 held, 30 of 50, 5 of 55 that were captured of 40, 13 captured in parts, 9, and 60 that the network had approved.
    hold(admin, card, 100, shop()).await;
    let partly = hold(admin, card, 50, shop()).await;
    admin.step(&partly, "reversals", json!({"amount": 20})).await.ok();
    let exceeded = hold(admin, card, 40, shop()).await;
    let captured = admin.capture(&exceeded, json!(55)).await.ok();
    reverse_capture(&captured["movement"], 50).await;
    let in_parts = hold(admin, card, 20, shop()).await;
    for amount in [5, 5] {
        admin.step(&in_parts, "captures", json!({"amount": amount, "final": false})).await.ok();
    }
    admin.capture(&in_parts, json!(3)).await.ok();
    let bought = admin.network("purchases", with(json!({"cardId": card, "amount": 9}), shop())).await.ok();
    admin.network_refund(card, json!(3), json!({"movementId": id(&bought["movement"])})).await.ok();
    hold(admin, card, 60, with(shop(), json!({"standIn": true}))).await;
    // At the hotel: 30, of which 6 were refunded, 12 after the hold of 10 had expired, 18 held, and 5 of 7 without a hold.
    let refunded = hold(admin, card, 30, hotel()).await;
    admin.capture(&refunded, json!(30)).await.ok();
    let refund = admin.network_refund(card, json!(10), json!({"authorizationId": refunded})).await.ok();
    admin.network(&format!("refunds/{}/reversals", id(&refund["movement"])), json!({"amount": 4})).await.ok();
    let late = hold(admin, card, 10, hotel()).await;
    admin.expire(&late).await.ok();
    admin.capture(&late, json!(12)).await.ok();
    let adjusted = hold(admin, card, 15, hotel()).await;
    admin.step(&adjusted, "increments", json!({"amount": 10})).await.ok();
    admin.step(&adjusted, "adjustments", json!({"amount": 18})).await.ok();
    let forced = with(json!({"cardId": card, "amount": 7, "description": "Minibar"}), hotel());
    let forced = admin.network("captures", forced).await.ok();
    reverse_capture(&forced["movement"], 2).await;
    // Nowhere in particular: 8, of which 2 were refunded, and a payment that was taken back whole.
    let bought = admin.purchase(card, json!(8)).await.ok();
    let refund = json!({"cardId": card, "amount": 2, "description": "Refund", "movementId": id(&bought["movement"])});
    admin.post("/sandbox/refunds", refund).await.ok();
    let undone = hold(admin, card, 5, json!({})).await;
    let captured = admin.capture(&undone, json!(5)).await.ok();
    reverse_capture(&captured["movement"], 5).await;
    // Nothing: a hold that ended, a decline, a verification, a refund of something else, and money that moves.
    let ended = hold(admin, card, 25, shop()).await;
    admin.step(&ended, "reversals", json!({})).await.ok();
    admin.authorize_with(card, json!(9_000_000), shop()).await.ok();
    admin.authorize_with(card, json!(0), with(shop(), json!({"kind": "verification"}))).await.ok();
    admin.network_refund(card, json!(6), shop()).await.ok();
    admin.withdraw(card, json!(1)).await.ok();
    admin.add(card, json!(1)).await.ok();
}

/// What [`pay`] spends of each definition.
const PAID: [&str; 10] =
    ["290 in 12", "279 in 12", "217 in 6", "214 in 6", "65 in 4", "217 in 6", "217 in 6", "0 in 0", "279 in 12", "279 in 12"];

async fn given_limits(admin: &Actor, card: &str) {
    for members in definitions() {
        admin.limit_card(card, members).await.ok();
    }
}

/// What was spent of the limits of a card, oldest first.
async fn spent(admin: &Actor, card: &str) -> Vec<String> {
    admin.card_limits(card).await["limits"].as_array().expect("a list").iter().map(used).collect()
}

#[tokio::test]
async fn a_limit_counts_what_was_spent_before_it_was_created_as_if_it_had_been_there() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(1000)).await;
    given_limits(&admin, &card).await;
    pay(&admin, &card).await;
    assert_eq!(spent(&admin, &card).await, PAID);
    given_limits(&admin, &card).await;
    assert_eq!(spent(&admin, &card).await, PAID.repeat(2));
    // From then on they are counted alike.
    pay(&admin, &card).await;
    let after = spent(&admin, &card).await;
    assert_eq!(after[..10], after[10..]);
    assert_eq!(after[0], "580 in 24");
    let created = admin.limit_card(&admin.given_card().await, definitions()[0].clone()).await.ok();
    assert_eq!(used(&created), "0 in 0", "of another card");
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn assigning_a_card_brings_what_it_spent_to_the_limits_of_the_customer() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    let (customer, other) = (admin.given_customer().await, admin.given_customer().await);
    let euros = admin.post("/cards", json!({"currency": "EUR"})).await.ok()["cardId"].as_str().expect("an id").to_owned();
    admin.set_status(&euros, "active").await.ok();
    admin.add(&euros, json!(100)).await.ok();
    admin.given_hold(&euros, json!(50)).await;
    let of_euros = admin.limit_customer(&customer, json!({"currency": "EUR", "interval": "lifetime", "count": 5})).await.ok();
    for members in definitions() {
        admin.limit_customer(&customer, members).await.ok();
    }
    let told = async || -> Vec<String> { admin.customer_limits(&customer).await.iter().map(used).collect() };
    let times = |number: i64| -> Vec<String> {
        let multiple = |text: &&str| {
            let (amount, count) = text.split_once(" in ").expect("both");
            let [amount, count] = [amount, count].map(|number| number.parse::<i64>().expect("a number"));
            format!("{} in {}", amount * number, count * number)
        };
        PAID.iter().map(multiple).collect()
    };
    let mut paid = 0;
    for pays_before in [true, false, true] {
        let card = admin.given_card_with(json!(1000)).await;
        if pays_before {
            pay(&admin, &card).await;
        }
        assert_eq!(told().await[1..], times(paid));
        admin.assign(&card, &customer).await.ok();
        admin.assign(&card, &customer).await.ok();
        if !pays_before {
            pay(&admin, &card).await;
        }
        paid += 1;
        assert_eq!(told().await[1..], times(paid));
    }
    // Cards of others and in other currencies are not counted.
    let stranger = admin.given_card_with(json!(1000)).await;
    pay(&admin, &stranger).await;
    admin.assign(&stranger, &other).await.ok();
    admin.assign(&euros, &customer).await.ok();
    let told = told().await;
    assert_eq!((told[0].as_str(), &told[1..]), ("50 in 1", &times(paid)[..]));
    assert_eq!(admin.card_limits(&euros).await["limits"][0]["limitId"], of_euros["limitId"]);
    // A limit that is created now counts them all alike.
    let twin = admin.limit_customer(&customer, definitions()[1].clone()).await.ok();
    assert_eq!(used(&twin), times(paid)[1]);
    world.assert_ledger_is_clean().await;
}

/// Moves everything that a card has done to a time so many days ago, past the API.
async fn move_back(world: &World, days: i64) {
    let tables = ["authorizations", "authorization_entries", "movements"];
    let moves = tables.map(|table| format!("update {table} set created_at = created_at - interval '{days} days';"));
    world
        .database
        .execute(&format!("set session_replication_role = replica; {} set session_replication_role = origin", moves.concat()))
        .await;
}

#[tokio::test]
async fn a_window_has_what_was_authorized_in_it_and_what_was_posted_in_it_beyond_the_holds() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(1000)).await;
    let mut holds = Vec::new();
    for amount in [100, 50, 40, 10, 30] {
        holds.push(admin.given_hold(&card, json!(amount)).await);
    }
    admin.expire(&holds[3]).await.ok();
    let (bought, forced) = (admin.purchase(&card, json!(8)).await.ok(), admin.force_post(&card, json!(7)).await.ok());
    move_back(&world, 400).await;
    let definitions = ["day", "week", "month", "year", "lifetime"]
        .map(|interval| [false, true].map(|restore| json!({"interval": interval, "amount": 1_000_000, "restoreOnRefund": restore})))
        .concat();
    for members in &definitions {
        admin.limit_card(&card, members.clone()).await.ok();
    }
    let windows = |of_window: &str, in_all: [&str; 2]| [vec![of_window.to_owned(); 8], in_all.map(str::to_owned).to_vec()].concat();
    assert_eq!(spent(&admin, &card).await, windows("0 in 0", ["235 in 6"; 2]));

    // What comes back of old payments comes back to their window, and only what exceeds the holds is spent now.
    admin.step(&holds[0], "reversals", json!({"amount": 60})).await.ok();
    admin.step(&holds[1], "increments", json!({"amount": 5})).await.ok();
    let exceeded = admin.capture(&holds[2], json!(55)).await.ok();
    admin.capture(&holds[3], json!(12)).await.ok();
    admin.capture(&holds[4], json!(30)).await.ok();
    admin.network_refund(&card, json!(10), json!({"authorizationId": holds[4]})).await.ok();
    let refund = json!({"cardId": card, "amount": 2, "description": "Refund", "movementId": id(&bought["movement"])});
    admin.post("/sandbox/refunds", refund).await.ok();
    admin.network(&format!("captures/{}/reversals", id(&forced["movement"])), json!({"amount": 3})).await.ok();
    let posted_now = windows("27 in 1", ["204 in 7", "192 in 7"]);
    assert_eq!(spent(&admin, &card).await, posted_now);
    // What is given back beyond the hold of 40 comes back to the excess of now.
    admin.network(&format!("captures/{}/reversals", id(&exceeded["movement"])), json!({"amount": 46})).await.ok();
    let given_back = windows("21 in 1", ["158 in 7", "146 in 7"]);
    assert_eq!(spent(&admin, &card).await, given_back);
    for members in &definitions {
        admin.limit_card(&card, members.clone()).await.ok();
    }
    assert_eq!(spent(&admin, &card).await, [given_back.clone(), given_back].concat());
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_newer_excess_is_given_back_first() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    let card = admin.given_card_with(json!(1000)).await;
    let hold = admin.given_hold(&card, json!(10)).await;
    admin.capture(&hold, json!(30)).await.ok();
    move_back(&world, 400).await;
    let of_day = json!({"interval": "day", "amount": 1000});
    admin.limit_card(&card, of_day.clone()).await.ok();
    let second = admin.capture(&hold, json!(25)).await.ok();
    assert_eq!(spent(&admin, &card).await, ["25 in 0"]);
    admin.network(&format!("captures/{}/reversals", id(&second["movement"])), json!({"amount": 22})).await.ok();
    // 10 of the hold, and 12 of the newest excess.
    assert_eq!(spent(&admin, &card).await, ["13 in 0"]);
    admin.limit_card(&card, of_day).await.ok();
    admin.limit_card(&card, json!({"interval": "lifetime", "amount": 1000})).await.ok();
    assert_eq!(spent(&admin, &card).await, ["13 in 0", "13 in 0", "33 in 1"]);
}

/// Does something at random with a card and its authorisations. What is refused does not count.
async fn act(admin: &Actor, random: &mut StdRng, card: &str, holds: &mut Vec<String>, movements: &mut Vec<String>) {
    let members = [shop(), hotel(), json!({})][random.random_range(0..3)].clone();
    let amount = json!(random.random_range(1..40));
    let pick = |of: &[String], random: &mut StdRng| of.get(random.random_range(0..of.len().max(1))).cloned();
    let (hold, movement) = (pick(holds, random), pick(movements, random));
    let step = async |step: &str, body: Value| match &hold {
        Some(hold) => admin.step(hold, step, body).await.json(),
        None => Value::Null,
    };
    let answer = match random.random_range(0..12) {
        0..=2 => admin.authorize_with(card, amount, members).await.ok(),
        3 => admin.network("purchases", with(json!({"cardId": card, "amount": amount}), members)).await.ok(),
        4 => admin.network("captures", with(json!({"cardId": card, "amount": amount, "description": "x"}), members)).await.ok(),
        5 => step("increments", json!({"amount": amount})).await,
        6 => step("adjustments", json!({"amount": amount})).await,
        7 => step("reversals", json!({})).await,
        8 | 9 => step("captures", json!({"amount": amount, "final": random.random_bool(0.5)})).await,
        10 => match movement {
            Some(movement) => {
                let kind = if random.random_bool(0.7) { "captures" } else { "refunds" };
                admin.network(&format!("{kind}/{movement}/reversals"), json!({"amount": amount})).await.json()
            }
            None => Value::Null,
        },
        _ => match movement {
            Some(movement) => admin.network_refund(card, amount, json!({"movementId": movement})).await.json(),
            None => Value::Null,
        },
    };
    if let Some(hold) = answer["authorization"]["id"].as_str().filter(|hold| !holds.iter().any(|known| known == hold)) {
        holds.push(hold.to_owned());
    }
    if let Some(movement) = answer["movement"]["id"].as_str() {
        movements.push(movement.to_owned());
    }
}

#[tokio::test]
async fn whatever_a_card_does_a_later_limit_counts_the_same() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let card = admin.given_card_with(json!(2000)).await;
        given_limits(&admin, &card).await;
        let (mut holds, mut movements) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            act(&admin, &mut random, &card, &mut holds, &mut movements).await;
        }
        given_limits(&admin, &card).await;
        let spent = spent(&admin, &card).await;
        assert_eq!(spent[..10], spent[10..], "seed {seed}");
    }
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn payments_while_a_limit_is_created_or_a_card_is_assigned_are_counted_once() {
    let world = World::of_replicas(2, |settings| {
        without_quota(settings);
        patient(settings);
    })
    .await;
    let admin = world.admin().await;
    let elsewhere = world.at(1, &admin);
    let plain = || json!({"interval": "lifetime", "amount": 1_000_000});
    for _ in 0..4 {
        let (customer, mut cards) = (admin.given_customer().await, Vec::new());
        for _ in 0..3 {
            cards.push(admin.given_card_with(json!(1000)).await);
        }
        admin.assign(&cards[0], &customer).await.ok();
        let early = admin.given_customer_limit(&customer, plain()).await;
        let pay = |number: usize| {
            let (admin, card) = (if number.is_multiple_of(2) { &admin } else { &elsewhere }, &cards[number % 3]);
            async move { drop(id(&admin.authorize(card, json!(1)).await.ok()["authorization"])) }
        };
        let changes = async {
            for card in &cards[1..] {
                admin.assign(card, &customer).await.ok();
                admin.given_limit(card, plain()).await;
                elsewhere.given_customer_limit(&customer, plain()).await;
            }
        };
        let unpaused = async {
            for status in ["paused", "active", "paused", "active"] {
                elsewhere.change_limit(&early, json!({"status": status})).await.ok();
            }
        };
        tokio::join!(join_all((0..45).map(pay)), changes, unpaused);
        for card in &cards[1..] {
            assert_eq!(spent(&admin, card).await, ["15 in 15", "45 in 45", "45 in 45", "45 in 45"]);
        }
        let totals: Vec<String> = admin.customer_limits(&customer).await.iter().map(used).collect();
        assert_eq!(totals, ["45 in 45"; 3]);
    }
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn what_comes_back_after_a_limit_was_created_comes_back_to_it() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    let hold = admin.given_hold(&card, json!(40)).await;
    admin.given_limit(&card, json!({"interval": "day", "amount": 100})).await;
    assert_eq!(spent(&admin, &card).await, ["40 in 1"]);
    world.make_due(&hold).await;
    let due = Uuid::from(hold.parse::<AuthorizationId>().expect("an id"));
    world.database.wait_for(1, &format!("select count(*) from authorizations where id = '{due}' and status = 'expired'")).await;
    assert_eq!(spent(&admin, &card).await, ["0 in 0"]);
}
