//! The whole API: one line per endpoint.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::{get, patch, post},
};
use tower_http::set_header::SetResponseHeaderLayer;

use super::{
    App,
    address::Source,
    auth, balances, cards, customers,
    error::Error,
    health,
    middleware::{access_log, authenticate, body, catch_panic, cors, problem, request_id, run_to_end, shed},
    movements, sandbox,
};

/// The API on its services.
pub fn router(app: App) -> Router {
    let open = Router::new()
        .route("/auth/login", post(auth::login))
        .route("/auth/refresh", post(auth::refresh))
        .route_layer(from_fn_with_state(app.clone(), shed::limit))
        .route_layer(from_fn_with_state(app.clone(), body::read))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready));

    let mut authenticated = Router::new()
        .route("/auth/logout", post(auth::logout))
        .route("/customers", post(customers::create).get(customers::list))
        .route("/customers/{customerId}", get(customers::get))
        .route("/cards", post(cards::create).get(cards::list))
        .route("/cards/assign", post(cards::assign))
        .route("/cards/status", patch(cards::change_status))
        .route("/cards/{cardId}", get(cards::get))
        .route("/cards/{cardId}/movements", get(movements::list))
        .route("/balances/add", post(balances::add))
        .route("/balances/{cardId}", get(balances::get));
    if app.has_sandbox_routes {
        authenticated = authenticated.route("/sandbox/purchases", post(sandbox::purchase)).route("/sandbox/refunds", post(sandbox::refund));
    }
    let authenticated = authenticated
        .route_layer(from_fn_with_state(app.clone(), authenticate::require))
        .route_layer(from_fn_with_state(app.clone(), shed::limit))
        .route_layer(from_fn_with_state(app.clone(), body::read));

    let always = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    let mut router = open
        .merge(authenticated)
        .fallback(async || Error::RouteNotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(from_fn_with_state(app.clone(), find_source))
        .layer(from_fn(catch_panic::answer))
        .layer(from_fn(problem::write));
    if let Some(cors) = cors::layer(&app.allowed_origins) {
        router = router.layer(cors);
    }
    router
        .layer(from_fn(access_log::write))
        .layer(from_fn(run_to_end::run))
        .layer(from_fn(request_id::set))
        .layer(always(header::CACHE_CONTROL, "no-store"))
        .layer(always(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .with_state(app)
}

async fn find_source(State(app): State<App>, ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    let source = Source::of(peer, request.headers(), app.trusted_hops);
    request.extensions_mut().insert(source);
    next.run(request).await
}
