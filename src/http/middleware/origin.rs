//! Attaches the client's address, for limits per address, and the origin, for the audit log.

use std::net::SocketAddr;

use axum::extract::Request;

use super::request_id::RequestId;
use crate::domain::actor::Origin;
use crate::http::{App, address::ClientAddress};

pub(in crate::http) fn attach(app: &App, peer: SocketAddr, id: &RequestId, request: &mut Request) {
    let source = ClientAddress::of(peer, request.headers(), &app.trusted_proxies);
    let origin = Origin { request_id: id.as_str().into(), address: source.to_string().into() };
    request.extensions_mut().insert(source);
    request.extensions_mut().insert(origin);
}
