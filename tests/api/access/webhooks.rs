//! The cells of webhooks.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Cell, Ids, Name, Who, cell, events::EVENT, plain};
use crate::support::Actor;

/// The ids that belong to webhooks.
#[derive(Clone, Debug)]
pub(super) struct Webhooks {
    pub(super) endpoint: String,
    pub(super) delivery: String,
}

const ENDPOINT: Name = (|ids| &mut ids.webhooks.endpoint, "webhook_endpoint_not_found");
const DELIVERY: Name = (|ids| &mut ids.webhooks.delivery, "delivery_not_found");

/// An endpoint of the account that nobody listens at, and a delivery to it with two attempts. An account can have few
/// endpoints, so those of an earlier call are taken again.
pub(super) async fn of_each_kind(admin: &Actor, event: &str) -> Webhooks {
    let list = admin.get("/webhook-endpoints").await.ok();
    if let Some(endpoint) = list["webhookEndpoints"][0]["webhookEndpointId"].as_str() {
        let deliveries = admin.deliveries(endpoint, "").await;
        let resent = deliveries.iter().find(|delivery| delivery["eventType"] != "webhook.test").expect("the delivery of the first call");
        return Webhooks { endpoint: endpoint.to_owned(), delivery: resent["deliveryId"].as_str().expect("an id").to_owned() };
    }
    let url = format!("http://{}/hooks", TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address"));
    // Of types that do not happen here, so that only what is asked for is sent.
    let endpoint = admin.given_endpoint(&url, json!({"eventTypes": ["webhook_endpoint.*"]})).await;
    admin.given_endpoint(&url, json!({"eventTypes": ["webhook_endpoint.*"]})).await;
    admin.post(&format!("/webhook-endpoints/{endpoint}/test"), json!({})).await.ok();
    for made in 1..=2 {
        let scheduled = admin.post(&format!("/events/{event}/resend"), json!({"webhookEndpointId": endpoint})).await.ok();
        assert_eq!(scheduled, json!({"scheduled": 1}));
        loop {
            let attempts = admin.get(&format!("/webhook-endpoints/{endpoint}/attempts")).await.ok();
            if attempts["attempts"].as_array().expect("a list").len() > made {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let deliveries = admin.get(&format!("/events/{event}/deliveries")).await.ok();
    Webhooks { endpoint, delivery: deliveries["deliveries"][0]["deliveryId"].as_str().expect("an id").to_owned() }
}

pub(super) fn cells(method: &str, path: &str) -> Vec<Cell> {
    let one = |names, request: fn(&Ids) -> (String, Option<Value>)| vec![cell(Who::Admins, names, request)];
    match (method, path) {
        ("POST", "/webhook-endpoints") => one(&[], |_| ("/webhook-endpoints".into(), Some(json!({})))),
        ("GET", "/webhook-endpoints") => one(&[], |_| plain("/webhook-endpoints")),
        ("GET", "/webhook-endpoints/{webhookEndpointId}") => one(&[ENDPOINT], |ids| plain(&of(ids, ""))),
        ("PATCH", "/webhook-endpoints/{webhookEndpointId}") => one(&[ENDPOINT], |ids| (of(ids, ""), Some(json!({"maxConcurrency": 5})))),
        ("DELETE", "/webhook-endpoints/{webhookEndpointId}") => one(&[ENDPOINT], |ids| plain(&of(ids, ""))),
        ("GET", "/webhook-endpoints/{webhookEndpointId}/secret") => one(&[ENDPOINT], |ids| plain(&of(ids, "/secret"))),
        ("POST", "/webhook-endpoints/{webhookEndpointId}/secret/rotate") => {
            one(&[ENDPOINT], |ids| (of(ids, "/secret/rotate"), Some(json!({}))))
        }
        ("POST", "/webhook-endpoints/{webhookEndpointId}/test") => one(&[ENDPOINT], |ids| (of(ids, "/test"), Some(json!({})))),
        ("GET", "/webhook-endpoints/{webhookEndpointId}/deliveries") => one(&[ENDPOINT], |ids| plain(&of(ids, "/deliveries"))),
        ("GET", "/webhook-endpoints/{webhookEndpointId}/attempts") => one(&[ENDPOINT], |ids| plain(&of(ids, "/attempts"))),
        ("POST", "/webhook-endpoints/{webhookEndpointId}/replay") => one(&[ENDPOINT], |ids| {
            (of(ids, "/replay"), Some(json!({"from": "2025-02-10", "to": "2025-02-11", "only": "failed", "dryRun": true})))
        }),
        ("GET", "/events/{eventId}/deliveries") => one(&[EVENT], |ids| plain(&format!("/events/{}/deliveries", ids.event))),
        ("POST", "/events/{eventId}/resend") => one(&[EVENT, ENDPOINT], |ids| {
            (format!("/events/{}/resend", ids.event), Some(json!({"webhookEndpointId": ids.webhooks.endpoint})))
        }),
        ("GET", "/deliveries/{deliveryId}/attempts") => {
            one(&[DELIVERY], |ids| plain(&format!("/deliveries/{}/attempts", ids.webhooks.delivery)))
        }
        _ => Vec::new(),
    }
}

fn of(ids: &Ids, rest: &str) -> String {
    format!("/webhook-endpoints/{}{rest}", ids.webhooks.endpoint)
}
