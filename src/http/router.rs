//! The whole API: one line per endpoint.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use tower_http::set_header::SetResponseHeaderLayer;

use super::{
    App,
    address::Source,
    auth, balances, cards, customers,
    error::Error,
    health,
    middleware::{access_log, authenticate, catch_panic, problem, request_id, run_to_end, shed},
    movements,
    routes::{Entry, Routes},
    sandbox,
};

/// Every endpoint, by the layers that it stands behind.
pub(super) struct Table {
    /// No token, bounded work.
    open: Routes,
    /// A token, an hour with room for it, bounded work.
    authenticated: Routes,
    /// Whatever is going on.
    always: Routes,
}

impl Table {
    /// The table of an environment.
    pub(super) fn new(has_sandbox_routes: bool) -> Self {
        let open = Routes::default().post("/auth/login", auth::login, auth::LOGIN).post("/auth/refresh", auth::refresh, auth::REFRESH);

        let mut authenticated = Routes::default()
            .post("/auth/logout", auth::logout, auth::LOGOUT)
            .post("/customers", customers::create, customers::CREATE)
            .get("/customers", customers::list, customers::LIST)
            .get("/customers/{customerId}", customers::get, customers::GET)
            .post("/cards", cards::create, cards::CREATE)
            .get("/cards", cards::list, cards::LIST)
            .post("/cards/assign", cards::assign, cards::ASSIGN)
            .patch("/cards/status", cards::change_status, cards::CHANGE_STATUS)
            .get("/cards/{cardId}", cards::get, cards::GET)
            .get("/cards/{cardId}/movements", movements::list, movements::LIST)
            .post("/balances/add", balances::add, balances::ADD)
            .get("/balances/{cardId}", balances::get, balances::GET);
        if has_sandbox_routes {
            authenticated = authenticated.post("/sandbox/purchases", sandbox::purchase, sandbox::PURCHASE).post(
                "/sandbox/refunds",
                sandbox::refund,
                sandbox::REFUND,
            );
        }

        let always = Routes::default().get("/health/live", health::live, health::LIVE).get("/health/ready", health::ready, health::READY);

        Self { open, authenticated, always }
    }

    /// Every endpoint.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        [&self.open, &self.authenticated, &self.always].into_iter().flat_map(|routes| &routes.entries)
    }
}

/// The API on its services.
pub fn router(app: App) -> Router {
    let Table { open, authenticated, always } = Table::new(app.has_sandbox_routes);
    let bounded = || from_fn_with_state(app.clone(), shed::limit);
    let open = open.router.route_layer(bounded());
    let authenticated = authenticated.router.route_layer(from_fn_with_state(app.clone(), authenticate::require)).route_layer(bounded());

    let header = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    open.merge(authenticated)
        .merge(always.router)
        .fallback(async || Error::RouteNotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(from_fn_with_state(app.clone(), find_source))
        .layer(from_fn(catch_panic::answer))
        .layer(from_fn(problem::write))
        .layer(from_fn(access_log::write))
        .layer(from_fn(run_to_end::run))
        .layer(from_fn(request_id::set))
        .layer(header(header::CACHE_CONTROL, "no-store"))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .with_state(app)
}

async fn find_source(State(app): State<App>, ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    let source = Source::of(peer, request.headers(), app.trusted_hops);
    request.extensions_mut().insert(source);
    next.run(request).await
}
