//! The layers around every handler, from the outermost to the innermost:
//!
//! 1. `request_id`: assigns the id of the request.
//! 2. `origin`: finds the client's address, for limits per address and for the audit log.
//! 3. `run_to_end`: a client that disconnects does not cancel the layers within.
//! 4. `access_log`: logs the response that the client receives.
//! 5. `problem`: writes the body of every error response.
//! 6. `protocol`: refuses requests that violate HTTP.
//! 7. `cors`, a layer of the router, if the settings allow any origin: answers preflight requests.
//! 8. `catch_panic`: turns a panic into an error response.
//! 9. `body`, except on unlimited routes: reads the body before the request takes any resource.
//! 10. `shed`, on the same routes: limits the requests in flight.
//! 11. `authenticate`, on routes that need a token: checks the token, the session and the quota.
//!
//! `rate_limit` counts the failures per address of `authenticate` and the login.
//!
//! Layers 1 to 6 call the router as a function, and layers 8 to 11 form a single router layer: axum clones each router
//! layer, with everything inside it, for every request.

pub(super) mod access_log;
pub(super) mod authenticate;
pub(super) mod body;
pub(super) mod catch_panic;
pub(super) mod cors;
pub(super) mod origin;
pub(super) mod problem;
pub(super) mod protocol;
pub(super) mod rate_limit;
pub(super) mod request_id;
pub(super) mod run_to_end;
pub(super) mod shed;

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{App, error::Error};

/// Layers 1 to 6, around the router.
pub(super) async fn handle(app: &App, router: Router, peer: SocketAddr, mut request: Request) -> Response {
    let id = request_id::assign(&mut request);
    origin::attach(app, peer, &id, &mut request);
    let mut response = run_to_end::run(&app.requests, access_log::write(id.clone(), router, request)).await;
    let headers = response.headers_mut();
    request_id::set_header(headers, id);
    // Static files say themselves how they may be cached.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Layer 8, around routes without a load limit.
pub(super) async fn unlimited(route: MatchedPath, request: Request, next: Next) -> Response {
    with_route(route, catch_panic::run(next.run(request)).await)
}

/// Layers 8 to 10, around routes with a load limit but without a token.
pub(super) async fn limited(State(app): State<App>, route: MatchedPath, request: Request, next: Next) -> Response {
    let answered = async {
        let request = body::read(&app, request).await;
        match shed::admit_in_flight(&app) {
            Ok(_until_answered) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    with_route(route, catch_panic::run(answered).await)
}

/// Layers 8 to 11, around routes that need a token.
pub(super) async fn authenticated(State(app): State<App>, route: MatchedPath, request: Request, next: Next) -> Response {
    let answered = async {
        let request = body::read(&app, request).await;
        match shed::admit_in_flight(&app) {
            Ok(_until_answered) => authenticate::require(&app, request, next).await,
            Err(error) => error.into_response(),
        }
    };
    with_route(route, catch_panic::run(answered).await)
}

/// The same, around routes whose handler may wait for long.
pub(super) async fn authenticated_waiting(State(app): State<App>, route: MatchedPath, request: Request, next: Next) -> Response {
    let answered = async {
        let mut request = body::read(&app, request).await;
        match shed::InFlightPlace::admit(&app) {
            Ok(place) => {
                request.extensions_mut().insert(place);
                authenticate::require(&app, request, next).await
            }
            Err(error) => error.into_response(),
        }
    };
    with_route(route, catch_panic::run(answered).await)
}

/// The response to an unsupported method. Layers 8 to 11 do not run, but the access log still gets the route.
pub(super) async fn method_not_allowed(route: MatchedPath) -> Response {
    with_route(route, Error::MethodNotAllowed.into_response())
}

/// Attaches the route for the access log.
fn with_route(route: MatchedPath, mut response: Response) -> Response {
    response.extensions_mut().insert(route);
    response
}
