//! The fields of a payment that nothing is decided on: the merchant, its amount, metadata.

use serde_json::{Value, json};

use crate::support::World;

#[tokio::test]
async fn every_fault_of_a_payment_is_named_by_its_path_and_nothing_is_recorded() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let wrong = json!({
        "currency": "usd",
        "merchant": {"id": "x".repeat(17), "mcc": 5734, "country": "UK", "unknown": 1},
        "merchantAmount": 0.5,
        "merchantCurrency": "JPY",
        "metadata": {"a": 1},
        "kind": "preauthorisation",
    });
    let faults = admin.authorize_with(&card, json!(-1), wrong).await.field_errors();
    assert_eq!(
        faults,
        [
            "amount: out_of_range",
            "currency: unknown_value",
            "kind: unknown_value",
            "merchantAmount: too_many_decimals",
            "merchant.id: too_long",
            "merchant.mcc: wrong_type",
            "merchant.country: unknown_value",
            "metadata: wrong_type",
        ]
    );
    for (given, fault) in [("merchantAmount", "merchantCurrency: required"), ("merchantCurrency", "merchantAmount: required")] {
        let value = if given == "merchantAmount" { json!(1) } else { json!("EUR") };
        assert_eq!(admin.authorize_with(&card, json!(1), json!({given: value})).await.field_errors(), [fault]);
    }
    assert_eq!(admin.authorizations("").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_merchant_s_amount_has_the_decimals_of_its_currency() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    for (amount, currency, shown) in [("1500", "JPY", "1500"), ("1.5", "KWD", "1.500"), ("92.5", "EUR", "92.50"), ("0", "USD", "0")] {
        let amount: Value = serde_json::from_str(amount).expect("a number");
        let reply = admin.authorize_with(&card, json!(1), json!({"merchantAmount": amount, "merchantCurrency": currency})).await;
        let shown = format!("\"merchantAmount\":{shown},\"merchantCurrency\":\"{currency}\"");
        assert!(reply.text.contains(&shown), "{shown}: {}", reply.text);
    }
}

#[tokio::test]
async fn a_merchant_and_metadata_are_kept_as_given() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let given = json!({"merchant": {"name": " Café Central ", "country": null}, "metadata": {"z": "1", "a": null, "b": ""}});
    let paid =
        admin.network("purchases", json!({"cardId": card, "amount": 1, "merchant": given["merchant"], "metadata": given["metadata"]}));
    let paid = paid.await.ok();
    let merchant = json!({"id": null, "name": "Café Central", "mcc": null, "city": null, "country": null});
    assert_eq!(paid["authorization"]["merchant"], merchant);
    assert_eq!(paid["authorization"]["metadata"], json!({"z": "1", "b": ""}));
    let movement = &admin.movements(&card).await[0];
    assert_eq!((&movement["merchant"], &movement["description"]), (&merchant, &json!("Café Central")));
    let none = admin.authorize_with(&card, json!(1), json!({"merchant": {}})).await.ok();
    assert_eq!((&none["authorization"]["merchant"], &none["authorization"]["metadata"]), (&Value::Null, &json!({})));
}
