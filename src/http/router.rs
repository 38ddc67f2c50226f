//! The whole API: one line per endpoint.

use axum::{
    Extension, Router,
    middleware::{from_fn, from_fn_with_state},
};
use serde_json::Value;

use super::{
    App, api_keys, audit_events, auth, authorizations, balances, card_details, cards, controls, customers, docs,
    document::{self, Document},
    error::Error,
    events, explanations, health, limits,
    middleware::{self, cors},
    movements, network, openapi,
    routes::{Entry, Routes},
    sandbox, sessions, statements, transfers, users,
    webhooks::{self, deliveries},
};
use crate::config::Environment;

/// Every endpoint, by the layers around it.
pub(super) struct Table {
    /// No token; load is limited.
    open: Routes,
    /// Needs a token and remaining quota; load is limited.
    authenticated: Routes,
    /// The same. Their handlers may wait for long.
    waiting: Routes,
    /// No token and no load limit.
    unlimited: Routes,
    has_sandbox_routes: bool,
}

impl Table {
    /// The endpoints of an environment.
    pub(super) fn new(has_sandbox_routes: bool) -> Self {
        let open = Routes::default()
            // These issue tokens.
            .post("/auth/login", auth::login, auth::LOGIN)
            .post("/auth/refresh", auth::refresh, auth::REFRESH);

        let mut authenticated = Routes::default()
            .post("/auth/logout", auth::logout, auth::LOGOUT)
            .post("/auth/password", auth::change_password, auth::CHANGE_PASSWORD)
            .get("/auth/sessions", sessions::list, sessions::LIST)
            .delete("/auth/sessions/{sessionId}", sessions::end, sessions::END)
            .post("/users", users::create, users::CREATE)
            .get("/users", users::list, users::LIST)
            .get("/users/{userId}", users::get, users::GET)
            .patch("/users/{userId}", users::change, users::CHANGE)
            .post("/api-keys", api_keys::create, api_keys::CREATE)
            .get("/api-keys", api_keys::list, api_keys::LIST)
            .get("/api-keys/{apiKeyId}", api_keys::get, api_keys::GET)
            .delete("/api-keys/{apiKeyId}", api_keys::revoke, api_keys::REVOKE)
            .post("/api-keys/{apiKeyId}/roll", api_keys::roll, api_keys::ROLL)
            .get("/audit-events", audit_events::list, audit_events::LIST)
            .get("/events/settings", events::get_settings, events::GET_SETTINGS)
            .put("/events/settings", events::change_settings, events::CHANGE_SETTINGS)
            .get("/events/{eventId}", events::get, events::GET)
            .get("/events/{eventId}/deliveries", deliveries::of_event, deliveries::OF_EVENT)
            .post("/events/{eventId}/resend", deliveries::resend, deliveries::RESEND)
            .get("/webhook-endpoints", webhooks::list, webhooks::LIST)
            .get("/webhook-endpoints/{webhookEndpointId}", webhooks::get, webhooks::GET)
            .delete("/webhook-endpoints/{webhookEndpointId}", webhooks::delete, webhooks::DELETE)
            .get("/webhook-endpoints/{webhookEndpointId}/secret", webhooks::get_secret, webhooks::GET_SECRET)
            .post("/webhook-endpoints/{webhookEndpointId}/secret/rotate", webhooks::rotate, webhooks::ROTATE)
            .get("/webhook-endpoints/{webhookEndpointId}/deliveries", deliveries::list, deliveries::LIST)
            .get("/webhook-endpoints/{webhookEndpointId}/attempts", deliveries::attempts, deliveries::ATTEMPTS)
            .post("/webhook-endpoints/{webhookEndpointId}/replay", deliveries::replay, deliveries::REPLAY)
            .get("/deliveries/{deliveryId}/attempts", deliveries::of_delivery, deliveries::OF_DELIVERY)
            .post("/customers", customers::create, customers::CREATE)
            .get("/customers", customers::list, customers::LIST)
            .get("/customers/{customerId}", customers::get, customers::GET)
            .delete("/customers/{customerId}", customers::erase, customers::ERASE)
            .patch("/customers/{customerId}", customers::change, customers::CHANGE)
            .post("/cards", cards::create, cards::CREATE)
            .get("/cards", cards::list, cards::LIST)
            .post("/cards/assign", cards::assign, cards::ASSIGN)
            .patch("/cards/status", cards::change_status, cards::CHANGE_STATUS)
            .get("/cards/{cardId}", cards::get, cards::GET)
            .patch("/cards/{cardId}", card_details::change, card_details::CHANGE)
            .get("/cards/{cardId}/status-history", card_details::history, card_details::HISTORY)
            .post("/cards/{cardId}/replace", cards::replace, cards::REPLACE)
            .get("/cards/{cardId}/movements", movements::list, movements::LIST)
            .get("/cards/{cardId}/statement", statements::get, statements::GET)
            .get("/cards/{cardId}/controls", controls::get, controls::GET)
            .patch("/cards/{cardId}/controls", controls::change, controls::CHANGE)
            .get("/cards/{cardId}/limits", limits::of_card, limits::OF_CARD)
            .post("/cards/{cardId}/limits", limits::create_of_card, limits::CREATE_OF_CARD)
            .get("/customers/{customerId}/limits", limits::of_customer, limits::OF_CUSTOMER)
            .post("/customers/{customerId}/limits", limits::create_of_customer, limits::CREATE_OF_CUSTOMER)
            .patch("/limits/{limitId}", limits::change, limits::CHANGE)
            .delete("/limits/{limitId}", limits::delete, limits::DELETE)
            .post("/cards/{cardId}/authorizations/preview", network::preview::preview, network::preview::PREVIEW)
            .post("/balances/add", balances::add, balances::ADD)
            .post("/balances/withdraw", balances::withdraw, balances::WITHDRAW)
            .get("/balances/{cardId}", balances::get, balances::GET)
            .post("/transfers", transfers::create, transfers::CREATE)
            .get("/transfers/{transferId}", transfers::get, transfers::GET)
            .get("/authorizations", authorizations::list, authorizations::LIST)
            .get("/authorizations/{authorizationId}", authorizations::get, authorizations::GET)
            .post("/authorizations/{authorizationId}/release", authorizations::release, authorizations::RELEASE);
        authenticated = network_routes(authenticated, has_sandbox_routes);
        if has_sandbox_routes {
            authenticated = authenticated
                // These simulate merchants, and the clock.
                .post("/sandbox/purchases", sandbox::purchase, sandbox::PURCHASE)
                .post("/sandbox/refunds", sandbox::refund, sandbox::REFUND)
                .post("/sandbox/authorizations/{authorizationId}/expire", sandbox::expire, sandbox::EXPIRE);
        }

        let waiting = Routes::default()
            .get("/events", events::list, events::LIST)
            .post("/webhook-endpoints", webhooks::create, webhooks::CREATE)
            .patch("/webhook-endpoints/{webhookEndpointId}", webhooks::change, webhooks::CHANGE)
            .post("/webhook-endpoints/{webhookEndpointId}/test", deliveries::test, deliveries::TEST);

        let unlimited = Routes::default()
            // These must also respond under overload.
            .get("/health/live", health::live, health::LIVE)
            .get("/health/ready", health::ready, health::READY)
            .get("/openapi.json", document::get, document::GET)
            .get("/errors", explanations::list, explanations::LIST)
            .get("/errors/{code}", explanations::get, explanations::GET);

        Self { open, authenticated, waiting, unlimited, has_sandbox_routes }
    }

    /// Every endpoint.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        [&self.open, &self.authenticated, &self.waiting, &self.unlimited].into_iter().flat_map(|routes| &routes.entries)
    }

    /// The OpenAPI document of all endpoints.
    pub(super) fn document(&self) -> Value {
        openapi::document(self.entries(), self.has_sandbox_routes)
    }
}

/// What a card network's gateway calls.
fn network_routes(routes: Routes, is_sandbox: bool) -> Routes {
    let (authorize, purchase) = ("/network/authorizations", "/network/purchases");
    // Only the sandbox can be asked to decline.
    let routes = if is_sandbox {
        routes.post(authorize, network::authorize::<true>, network::AUTHORIZE).post(purchase, network::purchase::<true>, network::PURCHASE)
    } else {
        routes.post(authorize, network::authorize::<false>, network::AUTHORIZE).post(
            purchase,
            network::purchase::<false>,
            network::PURCHASE,
        )
    };
    routes
        .post("/network/authorizations/{authorizationId}/increments", network::steps::increment, network::steps::INCREMENT)
        .post("/network/authorizations/{authorizationId}/adjustments", network::steps::adjust, network::steps::ADJUST)
        .post("/network/authorizations/{authorizationId}/reversals", network::steps::reverse, network::steps::REVERSE)
        .post("/network/authorizations/{authorizationId}/captures", network::steps::capture, network::steps::CAPTURE)
        .post("/network/captures", network::postings::capture, network::postings::CAPTURE)
        .post("/network/captures/{movementId}/reversals", network::postings::reverse_capture, network::postings::REVERSE_CAPTURE)
        .post("/network/refunds", network::postings::refund, network::postings::REFUND)
        .post("/network/refunds/{movementId}/reversals", network::postings::reverse_refund, network::postings::REVERSE_REFUND)
}

/// The router of the API.
pub fn router(app: App) -> Router {
    let table = Table::new(app.environment == Environment::Sandbox);
    let document = Document(table.document().to_string().into());
    let Table { open, authenticated, waiting, unlimited, .. } = table;
    let open = open.router.route_layer(from_fn_with_state(app.clone(), middleware::limited));
    let authenticated = authenticated.router.route_layer(from_fn_with_state(app.clone(), middleware::authenticated));
    let waiting = waiting.router.route_layer(from_fn_with_state(app.clone(), middleware::authenticated_waiting));
    let unlimited = unlimited.router.layer(Extension(document)).merge(docs::pages()).route_layer(from_fn(middleware::unlimited));

    let mut router = open
        .merge(authenticated)
        .merge(waiting)
        .merge(unlimited)
        .fallback(async || Error::RouteNotFound)
        .method_not_allowed_fallback(middleware::method_not_allowed);
    if let Some(cors) = cors::layer(&app.allowed_origins) {
        router = router.layer(cors);
    }
    router.with_state(app)
}
