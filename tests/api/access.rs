//! The access grid: every endpoint, by every role and every kind of id.
//!
//! The tests walk the route table, so an endpoint without a cell fails.

mod events;
mod lives;
mod payments;
mod spending;
mod webhooks;

use chrono::{SecondsFormat, TimeDelta, Utc};
use core_api::{
    config::Environment,
    domain::role::{Role, UserRole},
    http,
};
use reqwest::Method;
use serde_json::{Value, json};

use self::{payments::Payments, webhooks::Webhooks};
use crate::support::{Actor, PASSWORD, Reply, World, payments::fresh_key, without_quota};

/// Who may call an endpoint. `LoggedIn`: every user, and no API key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Anybody,
    LoggedIn,
    Viewers,
    Operators,
    Admins,
    /// Gateways, and in the sandbox whoever changes money.
    Gateways,
    /// Everybody, gateways too.
    AuthorizationReaders,
}

impl Who {
    fn includes(self, role: Role) -> bool {
        match (self, role) {
            (Self::Anybody | Self::LoggedIn | Self::AuthorizationReaders, _)
            | (Self::Viewers, Role::Admin | Role::Operator | Role::Viewer)
            | (Self::Operators, Role::Admin | Role::Operator)
            | (Self::Gateways, Role::Admin | Role::Operator | Role::Network)
            | (Self::Admins, Role::Admin) => true,
            (Self::Viewers, Role::Network)
            | (Self::Operators, Role::Viewer | Role::Network)
            | (Self::Gateways, Role::Viewer)
            | (Self::Admins, Role::Operator | Role::Viewer | Role::Network) => false,
        }
    }
}

/// The ids of one account that requests can name.
#[derive(Clone, Debug)]
struct Ids {
    card: String,
    customer: String,
    user: String,
    session: String,
    api_key: String,
    event: String,
    limit: String,
    payments: Payments,
    webhooks: Webhooks,
}

/// The ids that a request names, each with the code for an unknown one.
type Names = &'static [Name];
type Name = (fn(&mut Ids) -> &mut String, &'static str);

const CARD: Name = (|ids| &mut ids.card, "card_not_found");
const CUSTOMER: Name = (|ids| &mut ids.customer, "customer_not_found");
const USER: Name = (|ids| &mut ids.user, "user_not_found");
const SESSION: Name = (|ids| &mut ids.session, "session_not_found");
const API_KEY: Name = (|ids| &mut ids.api_key, "api_key_not_found");

struct Cell {
    who: Who,
    names: Names,
    /// The path with the query, and the body.
    request: fn(&Ids) -> (String, Option<Value>),
}

const fn cell(who: Who, names: Names, request: fn(&Ids) -> (String, Option<Value>)) -> Cell {
    Cell { who, names, request }
}

fn plain(path: &str) -> (String, Option<Value>) {
    (path.to_owned(), None)
}

/// A moment that is past, and after everything that a test has done so far, but for the last milliseconds.
fn just_now() -> String {
    (Utc::now() - TimeDelta::milliseconds(1)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The cells of an endpoint: several if it can name ids in several ways.
fn cells(method: &Method, path: &str) -> Vec<Cell> {
    use Who::{Admins, Anybody, LoggedIn, Operators, Viewers};
    match (method.as_str(), path) {
        ("POST", "/auth/login") => vec![cell(Anybody, &[], |_| ("/auth/login".into(), Some(json!({}))))],
        ("POST", "/auth/refresh") => vec![cell(Anybody, &[], |_| ("/auth/refresh".into(), Some(json!({}))))],
        ("GET", "/health/live") => vec![cell(Anybody, &[], |_| plain("/health/live"))],
        ("GET", "/health/ready") => vec![cell(Anybody, &[], |_| plain("/health/ready"))],
        ("GET", "/openapi.json") => vec![cell(Anybody, &[], |_| plain("/openapi.json"))],
        ("GET", "/errors") => vec![cell(Anybody, &[], |_| plain("/errors"))],
        ("GET", "/errors/{code}") => vec![cell(Anybody, &[], |_| plain("/errors/card_not_found"))],
        ("POST", "/auth/logout") => vec![cell(LoggedIn, &[], |_| plain("/auth/logout"))],
        ("POST", "/auth/password") => vec![cell(LoggedIn, &[], |_| ("/auth/password".into(), Some(json!({}))))],
        ("GET", "/auth/sessions") => vec![cell(LoggedIn, &[], |_| plain("/auth/sessions"))],
        ("DELETE", "/auth/sessions/{sessionId}") => {
            vec![cell(LoggedIn, &[SESSION], |ids| plain(&format!("/auth/sessions/{}", ids.session)))]
        }
        ("POST", "/users") => vec![cell(Admins, &[], |_| ("/users".into(), Some(json!({}))))],
        ("GET", "/users") => vec![cell(Admins, &[], |_| plain("/users"))],
        ("GET", "/users/{userId}") => vec![cell(Admins, &[USER], |ids| plain(&format!("/users/{}", ids.user)))],
        ("PATCH", "/users/{userId}") => {
            vec![cell(Admins, &[USER], |ids| (format!("/users/{}", ids.user), Some(json!({"disabled": false}))))]
        }
        ("GET", "/audit-events") => vec![
            cell(Admins, &[], |_| plain("/audit-events")),
            cell(Admins, &[USER], |ids| plain(&format!("/audit-events?userId={}", ids.user))),
            cell(Admins, &[API_KEY], |ids| plain(&format!("/audit-events?apiKeyId={}", ids.api_key))),
        ],
        ("POST", "/api-keys") => vec![cell(Admins, &[], |_| ("/api-keys".into(), Some(json!({}))))],
        ("GET", "/api-keys") => vec![cell(Admins, &[], |_| plain("/api-keys"))],
        ("GET", "/api-keys/{apiKeyId}") => vec![cell(Admins, &[API_KEY], |ids| plain(&format!("/api-keys/{}", ids.api_key)))],
        ("DELETE", "/api-keys/{apiKeyId}") => vec![cell(Admins, &[API_KEY], |ids| plain(&format!("/api-keys/{}", ids.api_key)))],
        ("POST", "/api-keys/{apiKeyId}/roll") => {
            vec![cell(Admins, &[API_KEY], |ids| (format!("/api-keys/{}/roll", ids.api_key), Some(json!({}))))]
        }
        ("POST", "/customers") => vec![cell(Operators, &[], |_| ("/customers".into(), Some(json!({}))))],
        ("GET", "/customers") => vec![cell(Viewers, &[], |_| plain("/customers"))],
        ("GET", "/customers/{customerId}") => vec![cell(Viewers, &[CUSTOMER], |ids| plain(&format!("/customers/{}", ids.customer)))],
        ("DELETE", "/customers/{customerId}") => {
            vec![cell(Admins, &[CUSTOMER], |ids| plain(&format!("/customers/{}", ids.customer)))]
        }
        ("POST", "/cards") => vec![cell(Operators, &[], |_| ("/cards".into(), Some(json!({}))))],
        ("GET", "/cards") => vec![
            cell(Viewers, &[], |_| plain("/cards")),
            cell(Viewers, &[CUSTOMER], |ids| plain(&format!("/cards?customerId={}", ids.customer))),
        ],
        ("POST", "/cards/assign") => vec![cell(Operators, &[CARD, CUSTOMER], |ids| {
            ("/cards/assign".into(), Some(json!({"cardId": ids.card, "customerId": ids.customer})))
        })],
        ("PATCH", "/cards/status") => {
            vec![cell(Operators, &[CARD], |ids| ("/cards/status".into(), Some(json!({"cardId": ids.card, "status": "active"}))))]
        }
        ("GET", "/cards/{cardId}") => vec![cell(Viewers, &[CARD], |ids| plain(&format!("/cards/{}", ids.card)))],
        ("POST", "/cards/{cardId}/replace") => {
            vec![cell(Operators, &[CARD], |ids| (format!("/cards/{}/replace", ids.card), Some(json!({"reason": "lost"}))))]
        }
        ("GET", "/cards/{cardId}/movements") => vec![
            cell(Viewers, &[CARD], |ids| plain(&format!("/cards/{}/movements", ids.card))),
            cell(Viewers, &[CARD], |ids| plain(&format!("/cards/{}/movements?limit=1", ids.card))),
        ],
        ("GET", "/cards/{cardId}/statement") => {
            vec![cell(Viewers, &[CARD], |ids| plain(&format!("/cards/{}/statement?from=2025-01-01&to=2125-01-01", ids.card)))]
        }
        ("POST", "/balances/add") => {
            vec![cell(Operators, &[CARD], |ids| ("/balances/add".into(), Some(json!({"cardId": ids.card, "amount": 1}))))]
        }
        ("GET", "/balances/{cardId}") => vec![
            cell(Viewers, &[CARD], |ids| plain(&format!("/balances/{}", ids.card))),
            cell(Viewers, &[CARD], |ids| plain(&format!("/balances/{}?at={}", ids.card, just_now()))),
        ],
        ("POST", "/sandbox/purchases") => vec![cell(Operators, &[CARD], |ids| {
            ("/sandbox/purchases".into(), Some(json!({"cardId": ids.card, "amount": 1, "description": "x"})))
        })],
        (method, path) => {
            let cells = [payments::cells, events::cells, lives::cells, spending::cells, webhooks::cells]
                .into_iter()
                .flat_map(|cells| cells(method, path));
            let cells: Vec<Cell> = cells.collect();
            assert!(!cells.is_empty(), "{method} {path} has no cell in the access grid");
            cells
        }
    }
}

/// The cells of all endpoints.
fn grid() -> Vec<(Method, Cell)> {
    let routes = http::routes(Environment::Sandbox);
    assert!(routes.len() >= 20, "only {} routes", routes.len());
    routes.into_iter().flat_map(|(method, path)| cells(&method, path).into_iter().map(move |cell| (method.clone(), cell))).collect()
}

async fn send(actor: &Actor, method: &Method, (path, body): (String, Option<Value>)) -> Reply {
    let request = actor.request(method.clone(), &path);
    let request = if path.starts_with("/network/") { request.header("idempotency-key", fresh_key()) } else { request };
    Reply::of(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

/// Creates one of each in the account of an admin.
async fn one_of_each(admin: &Actor) -> Ids {
    let (card, customer) = (admin.given_card_with(json!(5)).await, admin.given_customer().await);
    admin.assign(&card, &customer).await.ok();
    let first = |list: Value, name: &str, id: &str| list[name][0][id].as_str().expect("an id").to_owned();
    let user = first(admin.get("/users").await.ok(), "users", "userId");
    let session = first(admin.get("/auth/sessions").await.ok(), "sessions", "sessionId");
    let (api_key, program) = admin.given_api_key(Role::Operator).await;
    // So that the events of the key have several pages.
    program.given_card().await;
    program.given_card().await;
    let payments = payments::of_each_kind(admin, &card).await;
    let event = events::an_event(admin).await;
    let limit = spending::a_limit(admin, &card).await;
    let webhooks = webhooks::of_each_kind(admin, &event).await;
    Ids { card, customer, user, session, api_key, event, limit, payments, webhooks }
}

/// A well-formed id that does not exist.
fn unknown(id: &str) -> String {
    let (stem, last) = id.split_at(id.len() - 1);
    format!("{stem}{}", if last == "0" { '1' } else { '0' })
}

#[tokio::test]
async fn another_account_s_id_is_answered_exactly_like_an_unknown_one_at_every_endpoint() {
    let world = World::with(without_quota).await;
    let (admin, other) = (world.admin().await, world.other_admin().await);
    let (mut theirs, mut named) = (one_of_each(&other).await, 0);
    let untouched = other.card(&theirs.card).await;
    for (method, cell) in grid() {
        // Refused requests change nothing, so that one of each is enough.
        let own = one_of_each(&admin).await;
        for (name, code) in cell.names {
            let mut answers = Vec::new();
            let foreign = name(&mut theirs).clone();
            let malformed = ["card_001", "%F0%9F%92%B3", "null", "00000000-0000-0000-0000-000000000000"];
            let tried = [foreign.clone(), unknown(&foreign), foreign.to_uppercase()].into_iter().chain(malformed.map(Into::into));
            for id in tried {
                let mut named = own.clone();
                name(&mut named).clone_from(&id);
                let request = (cell.request)(&named);
                let reply = send(&admin, &method, request).await;
                answers.push((reply.status, reply.without_request_id()));
                reply.problem(404, code);
            }
            answers.dedup();
            assert_eq!(answers.len(), 1, "{method} {answers:?}");
            named += 1;
        }
    }
    assert!(named >= 15, "only {named} ids were tested");
    assert_eq!(other.card(&theirs.card).await, untouched);
    other.get("/auth/sessions").await.ok();
}

#[tokio::test]
async fn every_role_has_exactly_the_access_that_the_grid_grants() {
    let world = World::with(without_quota).await;
    let admin = world.admin().await;
    let ids = one_of_each(&admin).await;
    for role in UserRole::ALL.map(UserRole::role) {
        let email = format!("{}@example.com", role.name());
        world.new_user(&admin, &email, role).await;
        for (method, cell) in grid() {
            let user = world.anonymous().logged_in(&email, PASSWORD).await;
            let reply = send(&user, &method, (cell.request)(&ids)).await;
            let exchange = format!("{role:?}: {method} {:?}: {reply:?}", (cell.request)(&ids));
            if cell.who.includes(role) {
                assert!(!matches!(reply.status, 401 | 403 | 405 | 500..), "{exchange}");
            } else {
                assert_eq!(reply.status, 403, "{exchange}");
                reply.problem(403, "insufficient_permissions");
            }
        }
    }
}

#[tokio::test]
async fn an_api_key_of_every_role_has_exactly_the_access_that_the_grid_grants() {
    let world = World::with(|settings| {
        without_quota(settings);
        settings.api_keys.requests_per_second = 1_000_000.try_into().expect("above zero");
    })
    .await;
    let admin = world.admin().await;
    let ids = one_of_each(&admin).await;
    for role in Role::ALL {
        let (_, program) = admin.given_api_key(role).await;
        for (method, cell) in grid() {
            let reply = send(&program, &method, (cell.request)(&ids)).await;
            let exchange = format!("{role:?}: {method} {:?}: {reply:?}", (cell.request)(&ids));
            if cell.who != Who::LoggedIn && cell.who.includes(role) {
                assert!(!matches!(reply.status, 401 | 403 | 405 | 500..), "{exchange}");
            } else {
                assert_eq!(reply.status, 403, "{exchange}");
                reply.problem(403, "insufficient_permissions");
            }
        }
    }
}

#[tokio::test]
async fn no_protected_endpoint_accepts_a_missing_invalid_or_expired_token() {
    let world = World::with(without_quota).await;
    let short_lived = World::on(world.database.clone(), |settings| settings.auth.token_ttl_seconds = 1).await;
    let admin = world.admin().await;
    let ids = one_of_each(&admin).await;
    let (logged_out, expired) = (world.admin().await, short_lived.admin().await);
    logged_out.post("/auth/logout", json!({})).await.ok();
    let (revoked, program) = admin.given_api_key(Role::Admin).await;
    admin.delete(&format!("/api-keys/{revoked}")).await.ok();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let expired = world.at(0, &expired);
    let mut refusals = Vec::new();
    for (method, cell) in grid() {
        for (actor, status, code) in [
            (world.anonymous(), 401, "unauthenticated"),
            (world.anonymous().with_token("made.up.token"), 401, "unauthenticated"),
            (logged_out.clone(), 401, "unauthenticated"),
            (program.clone(), 401, "unauthenticated"),
            (expired.clone(), 403, "token_expired"),
        ] {
            let request = (cell.request)(&ids);
            // A logout takes an expired token, and ends its session.
            if code == "token_expired" && request.0 == "/auth/logout" {
                continue;
            }
            let reply = send(&actor, &method, request).await;
            if cell.who == Who::Anybody {
                assert!(!matches!(reply.status, 401 | 403), "{method} {reply:?}");
            } else {
                if status == 401 {
                    refusals.push(reply.without_request_id());
                }
                reply.problem(status, code);
            }
        }
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[tokio::test]
async fn another_account_s_cursor_reveals_nothing_in_any_list() {
    let world = World::with(without_quota).await;
    let (admin, other) = (world.admin().await, world.other_admin().await);
    let (own, theirs) = (one_of_each(&admin).await, one_of_each(&other).await);
    let (more, _) = (one_of_each(&other).await, world.other_admin().await);
    other.assign(&other.given_card().await, &theirs.customer).await.ok();
    other.add(&theirs.card, json!(1)).await.ok();
    world.new_user(&other, "ana@example.com", Role::Viewer).await;
    let mut lists = 0;
    for (method, path) in http::routes(Environment::Sandbox) {
        for cell in cells(&method, path) {
            let (with_theirs, with_own) = ((cell.request)(&theirs).0, (cell.request)(&own).0);
            let with = |path: &str, query: &str| format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' });
            if method != Method::GET || with_theirs.contains("limit=") {
                continue;
            }
            let page = other.get(&with(&with_theirs, "limit=1")).await.json();
            let Some(cursor) = page["nextCursor"].as_str() else {
                assert!(page.get("nextCursor").is_none(), "{with_theirs} has too few rows for a second page: {page}");
                continue;
            };
            lists += 1;
            for path in [with(&with_own, &format!("limit=100&after={cursor}")), with(path, &format!("limit=100&after={cursor}"))] {
                let reply = admin.get(&path).await;
                assert!(matches!(reply.status, 200 | 400 | 404), "{path} {reply:?}");
                for foreign in [
                    &theirs.card,
                    &theirs.customer,
                    &theirs.user,
                    &theirs.session,
                    &theirs.api_key,
                    &theirs.payments.authorization,
                    &theirs.event,
                    &theirs.webhooks.endpoint,
                    &theirs.webhooks.delivery,
                    &more.card,
                    &more.customer,
                ] {
                    assert!(!reply.text.contains(foreign.as_str()), "{path} shows {foreign}");
                }
            }
        }
    }
    assert!(lists >= 6, "only {lists} lists were tested");
}
