//! What customers and cards carry, how it changes, and what happens when several change it at once.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    concurrency::three_replicas,
    support::{Actor, World, feed::sequences, payments::with},
};

/// Creates a customer with these members beside the name and the email.
async fn customer(admin: &Actor, email: &str, members: Value) -> Value {
    admin.post("/customers", with(json!({"name": "Juan Perez", "email": email}), members)).await.ok()
}

async fn card(admin: &Actor, members: Value) -> Value {
    admin.post("/cards", with(json!({"currency": "USD"}), members)).await.ok()
}

fn path_of(thing: &Value) -> String {
    match (thing["cardId"].as_str(), thing["customerId"].as_str()) {
        (Some(card), _) => format!("/cards/{card}"),
        (None, Some(customer)) => format!("/customers/{customer}"),
        (None, None) => panic!("no id in {thing}"),
    }
}

/// The metadata with this many members.
fn members(count: usize) -> Value {
    (0..count).map(|number| (format!("key{number:02}"), json!("value"))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn a_customer_carries_what_it_was_created_with_and_every_answer_shows_it() {
    let (_world, admin) = World::with_admin().await;
    let carried = json!({"externalId": "crm-4711", "metadata": {"z": "1", "a": "é \"2\""}});
    let created = customer(&admin, "juan@email.com", with(carried.clone(), json!({"externalId": " crm-4711\t"}))).await;
    let expected = json!({"customerId": created["customerId"], "name": "Juan Perez", "email": "juan@email.com", "erasedAt": null});
    assert_eq!(created, with(expected, carried));
    let got = admin.get(&path_of(&created)).await;
    assert!(got.text.contains(r#""metadata":{"z":"1","a":"é \"2\""}"#), "in the caller's order: {}", got.text);
    assert_eq!(got.ok(), created);
    assert_eq!(admin.get("/customers").await.ok(), json!({"customers": [created]}));
}

#[tokio::test]
async fn a_card_carries_what_it_was_created_with_and_every_answer_shows_it() {
    let (_world, admin) = World::with_admin().await;
    let carried = json!({"label": "Travel", "externalId": "erp-1", "metadata": {"costCenter": "42"}});
    let created = card(&admin, carried.clone()).await;
    let expected = json!({"cardId": created["cardId"], "status": "inactive", "currency": "USD"});
    assert_eq!(created, with(expected, carried.clone()));
    let shown = admin.get(&path_of(&created)).await.ok();
    assert_eq!(with(shown.clone(), carried), shown);
    assert_eq!(admin.get("/cards").await.ok(), json!({"cards": [shown]}));
}

#[tokio::test]
async fn what_is_carried_is_bounded() {
    let (world, admin) = World::with_admin().await;
    for (given, fault) in [
        (json!({"metadata": members(21)}), "metadata: too_many"),
        (json!({"metadata": {"k".repeat(41): "v"}}), "metadata: too_long"),
        (json!({"metadata": {"": "v"}}), "metadata: too_long"),
        (json!({"metadata": {"k": "v".repeat(501)}}), "metadata: too_long"),
        (json!({"metadata": {"k": 1}}), "metadata: wrong_type"),
        (json!({"metadata": ["k"]}), "metadata: wrong_type"),
        (json!({"metadata": {"k": "a\u{7}"}}), "metadata: control_character"),
        (json!({"externalId": ""}), "externalId: blank"),
        (json!({"externalId": "x".repeat(101)}), "externalId: too_long"),
        (json!({"externalId": 5}), "externalId: wrong_type"),
        (json!({"externalId": "\u{202e}x"}), "externalId: bidirectional_control"),
    ] {
        let new = with(json!({"name": "Juan", "email": "juan@email.com"}), given.clone());
        assert_eq!(admin.post("/customers", new).await.field_errors(), [fault], "{given}");
        assert_eq!(admin.post("/cards", with(json!({"currency": "USD"}), given.clone())).await.field_errors(), [fault], "{given}");
    }
    for (label, fault) in [(json!("x".repeat(101)), "label: too_long"), (json!(" "), "label: blank"), (json!(true), "label: wrong_type")] {
        assert_eq!(admin.post("/cards", json!({"currency": "USD", "label": label})).await.field_errors(), [fault]);
    }
    assert_eq!(world.database.rows().await, 0);
    let longest = json!({"metadata": with(members(19), json!({"é".repeat(40): "é".repeat(500)})), "externalId": "é".repeat(100)});
    customer(&admin, "juan@email.com", longest.clone()).await;
    let created = card(&admin, with(longest, json!({"label": "é".repeat(100)}))).await;
    for (given, fault) in [
        (json!({"metadata": {"k".repeat(41): "v"}}), "metadata: too_long"),
        (json!({"metadata": {"k": []}}), "metadata: wrong_type"),
        (json!({"metadata": members(21)}), "metadata: too_many"),
        (json!({"label": ""}), "label: blank"),
        (json!({"externalId": "x".repeat(101)}), "externalId: too_long"),
    ] {
        assert_eq!(admin.patch(&path_of(&created), given.clone()).await.field_errors(), [fault], "{given}");
    }
    // With what there is already it would be 21.
    admin.patch(&path_of(&created), json!({"metadata": {"another": "v"}})).await.problem(409, "too_much_metadata");
    let changed = admin.patch(&path_of(&created), json!({"metadata": {"another": "v", "key00": null}})).await.ok();
    assert_eq!(changed["metadata"].as_object().map(serde_json::Map::len), Some(20));
}

#[tokio::test]
async fn a_change_of_a_customer_sets_what_it_names_and_leaves_the_rest() {
    let (_world, admin) = World::with_admin().await;
    let created = customer(&admin, "juan@email.com", json!({"externalId": "a", "metadata": {"keep": "1", "go": "2"}})).await;
    let (path, mut expected) = (path_of(&created), created);
    for (change, shown) in [
        (json!({"name": " Juana Perez "}), json!({"name": "Juana Perez"})),
        (json!({"email": "Juana@email.com"}), json!({"email": "Juana@email.com"})),
        // Only the case of it.
        (json!({"email": "juana@EMAIL.com"}), json!({"email": "juana@EMAIL.com"})),
        (json!({"metadata": {"go": null, "new": "3", "keep": "4"}}), json!({"metadata": {"keep": "4", "new": "3"}})),
        (json!({"externalId": "b"}), json!({"externalId": "b"})),
        (json!({"externalId": null, "name": null, "email": null, "metadata": null}), json!({"externalId": null})),
        (json!({"metadata": {"keep": null, "new": null}}), json!({"metadata": {}})),
    ] {
        expected = with(expected, shown);
        assert_eq!(admin.patch(&path, change.clone()).await.ok(), expected, "{change}");
        assert_eq!(admin.get(&path).await.ok(), expected, "{change}");
    }
    assert_eq!(admin.patch(&path, json!({"name": "", "email": "x"})).await.field_errors(), ["name: blank", "email: invalid_email"]);
}

#[tokio::test]
async fn a_change_of_a_card_sets_what_it_names_and_leaves_the_rest_also_once_it_is_cancelled() {
    let (_world, admin) = World::with_admin().await;
    let created = card(&admin, json!({"label": "Travel", "externalId": "a", "metadata": {"keep": "1", "go": "2"}})).await;
    let path = path_of(&created);
    let mut expected = admin.get(&path).await.ok();
    for (change, shown) in [
        (json!({"label": "Trips"}), json!({"label": "Trips"})),
        (json!({"metadata": {"go": null, "new": "3"}}), json!({"metadata": {"keep": "1", "new": "3"}})),
        (json!({"label": null, "externalId": null}), json!({"label": null, "externalId": null})),
        (json!({"externalId": "b", "label": "L"}), json!({"externalId": "b", "label": "L"})),
    ] {
        expected = with(expected, shown);
        assert_eq!(admin.patch(&path, change.clone()).await.ok(), expected, "{change}");
    }
    admin.patch("/cards/status", json!({"cardId": created["cardId"], "status": "cancelled"})).await.ok();
    expected = with(expected, json!({"status": "cancelled", "label": "Old"}));
    assert_eq!(admin.patch(&path, json!({"label": "Old"})).await.ok(), expected);
}

#[tokio::test]
async fn an_external_id_is_unique_per_account_and_kind_and_filters_find_it() {
    let (_world, admin, other) = World::with_two_accounts().await;
    let first = customer(&admin, "a@email.com", json!({"externalId": "x 1&é"})).await;
    let second = customer(&admin, "b@email.com", json!({"externalId": "y"})).await;
    let (one, two) = (card(&admin, json!({"externalId": "x 1&é"})).await, card(&admin, json!({})).await);
    customer(&other, "a@email.com", json!({"externalId": "x 1&é"})).await;
    card(&other, json!({"externalId": "x 1&é"})).await;
    let taken = json!({"externalId": "x 1&é"});
    let refused = admin.post("/customers", with(json!({"name": "C", "email": "c@email.com"}), taken.clone())).await;
    assert!(!refused.problem(409, "duplicate_external_id").to_string().contains("x 1&é"));
    admin.post("/cards", with(json!({"currency": "EUR"}), taken.clone())).await.problem(409, "duplicate_external_id");
    admin.patch(&path_of(&second), taken.clone()).await.problem(409, "duplicate_external_id");
    admin.patch(&path_of(&two), taken.clone()).await.problem(409, "duplicate_external_id");
    // An email in use is told first.
    let both = json!({"name": "C", "email": "A@email.com", "externalId": "x 1&é"});
    admin.post("/customers", both.clone()).await.problem(409, "duplicate_email");
    admin.patch(&path_of(&second), both).await.problem(409, "duplicate_email");
    assert_eq!(admin.get(&path_of(&second)).await.ok(), second, "a refused change changes nothing");

    let query = "externalId=x+1%26%C3%A9";
    assert_eq!(admin.get(&format!("/customers?{query}")).await.ok(), json!({"customers": [first]}));
    assert_eq!(admin.get(&format!("/customers?{query}&email=a@email.com&q=juan")).await.ok(), json!({"customers": [first]}));
    assert_eq!(admin.get(&format!("/customers?{query}&email=b@email.com")).await.ok(), json!({"customers": []}));
    let shown = admin.get(&path_of(&one)).await.ok();
    assert_eq!(admin.get(&format!("/cards?{query}&currency=USD")).await.ok(), json!({"cards": [shown]}));
    assert_eq!(admin.get(&format!("/cards?{query}&currency=EUR")).await.ok(), json!({"cards": []}));
    for nothing in ["X+1%26%C3%A9", "x"] {
        assert_eq!(admin.get(&format!("/cards?externalId={nothing}")).await.ok(), json!({"cards": []}), "it is exact");
    }
    for list in ["/customers", "/cards"] {
        assert_eq!(admin.get(&format!("{list}?externalId=")).await.field_errors(), ["externalId: blank"]);
        assert_eq!(admin.get(&format!("{list}?externalId={}", "x".repeat(101))).await.field_errors(), ["externalId: too_long"]);
    }

    // What is taken away is free again.
    admin.patch(&path_of(&first), json!({"externalId": null})).await.ok();
    assert_eq!(admin.patch(&path_of(&second), taken.clone()).await.ok()["externalId"], "x 1&é");
    admin.patch(&path_of(&one), json!({"externalId": null})).await.ok();
    assert_eq!(admin.patch(&path_of(&two), taken).await.ok()["externalId"], "x 1&é");
}

#[tokio::test]
async fn a_change_is_made_once_per_key() {
    let (_world, admin) = World::with_admin().await;
    let created = customer(&admin, "juan@email.com", json!({"metadata": {"a": "1"}})).await;
    let (path, change) = (path_of(&created), json!({"metadata": {"a": null, "b": "2"}}));
    let first = admin.keyed("one", Method::PATCH, &path, &change).await.ok();
    admin.patch(&path, json!({"metadata": {"a": "3"}})).await.ok();
    let again = admin.keyed("one", Method::PATCH, &path, &change).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok(), first);
    assert_eq!(admin.get(&path).await.ok()["metadata"], json!({"a": "3", "b": "2"}));
    admin.keyed("one", Method::PATCH, &path, &json!({"name": "x"})).await.problem(422, "idempotency_key_reused");

    let held = card(&admin, json!({"externalId": "x"})).await;
    let wanting = path_of(&card(&admin, json!({})).await);
    let taken = json!({"externalId": "x"});
    admin.keyed("two", Method::PATCH, &wanting, &taken).await.problem(409, "duplicate_external_id");
    admin.patch(&path_of(&held), json!({"externalId": null})).await.ok();
    let again = admin.keyed("two", Method::PATCH, &wanting, &taken).await;
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("duplicate_external_id")), "a refusal is kept too");
    assert_eq!(admin.keyed("three", Method::PATCH, &wanting, &taken).await.ok()["externalId"], "x");
    admin.keyed("four", Method::PATCH, "/cards/card_001", &taken).await.problem(404, "card_not_found");
}

#[tokio::test]
async fn the_audit_log_and_the_feed_tell_which_members_changed_and_no_values() {
    let (world, admin) = World::with_admin().await;
    let admin = admin.with_feed().await;
    let person = customer(&admin, "secret.person@email.com", json!({})).await;
    let thing = card(&admin, json!({"label": "Secret"})).await;
    let (id, card_id) = (person["customerId"].as_str().expect("an id"), thing["cardId"].as_str().expect("an id"));
    let all = json!({"name": "Secret", "email": "secret@email.com", "metadata": {"secret": "secret"}, "externalId": "secret"});
    admin.patch(&path_of(&person), all.clone()).await.ok();
    admin.patch(&path_of(&person), json!({"name": "Other", "email": "secret@email.com"})).await.ok();
    admin.patch(&path_of(&thing), json!({"label": null, "metadata": {"secret": "secret"}, "externalId": "secret"})).await.ok();
    admin.patch(&path_of(&thing), json!({"label": "Secret"})).await.ok();
    let written = "select (select count(*) from audit_events) + (select count(*) from events) + (select sum(event_seq) from cards)
        + (select count(updated_at) from customers)";
    let before = world.database.number(&format!("select ({written})::bigint")).await;
    // None of these changes anything.
    for same in [json!({}), json!({"unknown": 1}), json!({"metadata": {"secret": "secret", "none": null}}), json!({"externalId": "secret"})]
    {
        admin.patch(&path_of(&person), same.clone()).await.ok();
        admin.patch(&path_of(&thing), same).await.ok();
    }
    admin.patch(&path_of(&person), json!({"email": "x"})).await.field_errors();
    assert_eq!(world.database.number(&format!("select ({written})::bigint")).await, before, "what changes nothing writes nothing");

    let changed = |names: Value| json!({"changed": names});
    let expected = [
        ("customer_changed", changed(json!(["name", "email", "metadata", "externalId"]))),
        ("customer_changed", changed(json!(["name"]))),
        ("card_changed", changed(json!(["label", "metadata", "externalId"]))),
        ("card_changed", changed(json!(["label"]))),
    ];
    let logged = admin.logged_of(&[id, card_id]).await;
    let logged = logged.iter().filter(|(name, ..)| name.ends_with("_changed")).map(|(name, _, after)| (&**name, after.clone()));
    assert_eq!(logged.collect::<Vec<_>>(), expected);
    let told = admin.events("types=customer.updated,card.updated").await;
    let data: Vec<_> = told.iter().map(|event| (event["type"].clone(), event["data"].clone())).collect();
    let of = |thing: Value, (_, names): &(&str, Value)| with(thing, names.clone());
    assert_eq!(
        data,
        [
            (json!("customer.updated"), of(json!({"customer": {"customerId": id}}), &expected[0])),
            (json!("customer.updated"), of(json!({"customer": {"customerId": id}}), &expected[1])),
            (json!("card.updated"), of(json!({"card": {"cardId": card_id}}), &expected[2])),
            (json!("card.updated"), of(json!({"card": {"cardId": card_id}}), &expected[3])),
        ]
    );
    assert_eq!(sequences(&told, card_id), [2, 3]);
    let texts = admin.get("/audit-events").await.text + &admin.get("/events").await.text;
    assert!(!texts.to_lowercase().contains("secret"), "it may be a person's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_creations_and_changes_with_one_external_id_at_once_one_succeeds() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    for round in 0..6 {
        let wanted = json!({"externalId": format!("x{round}")});
        let given = join_all((0..4).map(|number| {
            let admin = &admin;
            async move {
                let person = customer(admin, &format!("{round}.{number}@email.com"), json!({})).await;
                [path_of(&person), path_of(&card(admin, json!({})).await)]
            }
        }))
        .await;
        let requests = (0..12).map(|number| {
            let actor = world.at(number % 3, &admin);
            let email = format!("new.{round}.{number}@email.com");
            let (method, path, body) = match number {
                0..2 => (Method::POST, "/customers".to_owned(), with(json!({"name": "N", "email": email}), wanted.clone())),
                2..4 => (Method::POST, "/cards".to_owned(), with(json!({"currency": "USD"}), wanted.clone())),
                4..8 => (Method::PATCH, given[number - 4][0].clone(), wanted.clone()),
                _ => (Method::PATCH, given[number - 8][1].clone(), wanted.clone()),
            };
            async move {
                let key = format!("{round} {number}").replace(' ', "-");
                (path.starts_with("/cards"), actor.keyed(&key, method, &path, &body).await)
            }
        });
        let replies = join_all(requests).await;
        for of_cards in [false, true] {
            let (done, refused): (Vec<_>, Vec<_>) =
                replies.iter().filter(|(is_card, _)| *is_card == of_cards).partition(|(_, reply)| reply.status == 200);
            assert_eq!(done.len(), 1, "{replies:?}");
            for (_, reply) in refused {
                assert_eq!((reply.status, &reply.json()["code"]), (409, &json!("duplicate_external_id")), "{reply:?}");
            }
        }
        let found = admin.get(&format!("/customers?externalId=x{round}")).await.ok();
        assert_eq!(found["customers"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_at_once_all_take_effect() {
    let world = three_replicas().await;
    let admin = world.admin().await.with_feed().await;
    let (person, thing) = (customer(&admin, "juan@email.com", json!({})).await, card(&admin, json!({})).await);
    for path in [path_of(&person), path_of(&thing)] {
        let changes = (0..18).map(|number| {
            let (actor, path) = (world.at(number % 3, &admin), path.clone());
            async move { actor.patch(&path, json!({"metadata": {format!("key{number:02}"): "value"}})).await.ok() }
        });
        join_all(changes).await;
        assert_eq!(admin.get(&path).await.ok()["metadata"], members(18));
    }
    let told = admin.events("types=card.updated").await;
    assert_eq!(sequences(&told, thing["cardId"].as_str().expect("an id")), (2..20).collect::<Vec<i64>>());
}
