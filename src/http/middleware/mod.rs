//! The layers around every handler, from the outside in:
//!
//! 1. `request_id`: everything further in can name the request.
//! 2. `origin`: the client's address, for what is counted by it and for the trail.
//! 3. `run_to_end`: from here in, a client that hangs up changes nothing.
//! 4. `access_log`: sees the answer as the client will.
//! 5. `problem`: writes the body of a failure, whoever failed.
//! 6. `cors`, if settings allow any web page: answers its browser's questions. A layer of the router.
//! 7. `catch_panic`: makes a failure of a panic.
//! 8. `body`, on everything but health: reads it, before anything is taken for the request.
//! 9. `shed`, there too: how many at once.
//! 10. `authenticate`, on routes that need a token: who calls, and whether the hour has room for it.
//!
//! `rate_limit` holds what `authenticate` and the login count by address.
//!
//! What goes around everything is called around the router, and of the rest the router is told as one layer: each that it
//! knows of it copies for every request, with all that is further in.

pub(super) mod access_log;
pub(super) mod authenticate;
pub(super) mod body;
pub(super) mod catch_panic;
pub(super) mod cors;
pub(super) mod origin;
pub(super) mod problem;
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

/// 1 to 5: around the router.
pub(super) async fn answer(app: &App, router: Router, peer: SocketAddr, mut request: Request) -> Response {
    let id = request_id::set(&mut request);
    origin::find(app, peer, &id, &mut request);
    let mut response = run_to_end::run(access_log::write(id.clone(), router, request)).await;
    let headers = response.headers_mut();
    request_id::tell(headers, id);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 7: around what is to be had whatever is going on.
pub(super) async fn always(route: MatchedPath, request: Request, next: Next) -> Response {
    of(route, catch_panic::answer(next.run(request)).await)
}

/// 7 to 9: around what anybody may ask for.
pub(super) async fn bounded(State(app): State<App>, route: MatchedPath, request: Request, next: Next) -> Response {
    let answered = async {
        let request = body::read(&app, request).await;
        match shed::enter(&app) {
            Ok(_until_answered) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    of(route, catch_panic::answer(answered).await)
}

/// 7 to 10: around what needs a token.
pub(super) async fn authenticated(State(app): State<App>, route: MatchedPath, request: Request, next: Next) -> Response {
    let answered = async {
        let request = body::read(&app, request).await;
        match shed::enter(&app) {
            Ok(_until_answered) => authenticate::require(&app, request, next).await,
            Err(error) => error.into_response(),
        }
    };
    of(route, catch_panic::answer(answered).await)
}

/// 7 to 10 are not around it: a wrong method takes no part in anything, and the log is told all the same which route it was.
pub(super) async fn method_not_allowed(route: MatchedPath) -> Response {
    of(route, Error::MethodNotAllowed.into_response())
}

/// Tells the log which route it was.
fn of(route: MatchedPath, mut response: Response) -> Response {
    response.extensions_mut().insert(route);
    response
}
