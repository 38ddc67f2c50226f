//! Where a request comes from: for limits per address, and for the audit trail.

use std::net::SocketAddr;

use axum::{
    Extension,
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};

use super::request_id::RequestId;
use crate::{
    http::{App, address::Source},
    service::audit::Origin,
};

pub(in crate::http) async fn find(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(id): Extension<RequestId>,
    mut request: Request,
    next: Next,
) -> Response {
    let source = Source::of(peer, request.headers(), app.trusted_hops);
    let origin = Origin { request_id: id.as_str().into(), address: source.to_string().into() };
    request.extensions_mut().insert(source);
    request.extensions_mut().insert(origin);
    next.run(request).await
}
