//! Authentication and quota. It checks the token in memory first, then the session and the quota.
//!
//! In this order, a forged or expired token never reaches the database.

use std::time::Instant;

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::rate_limit;
use crate::domain::{
    actor::{Actor, Origin, Principal},
    quota::QuotaSnapshot,
};
use crate::{
    http::{App, address::ClientAddress, error::Error},
    service::{
        auth::{Caller, Claims},
        error::{Error as ServiceError, chain},
    },
};

pub(in crate::http) async fn require(app: &App, mut request: Request, next: Next) -> Response {
    let found = (request.extensions().get::<ClientAddress>().copied(), request.extensions().get::<Origin>().cloned());
    let (Some(source), Some(origin)) = found else {
        return Error::Service(ServiceError::internal("authenticating", "the request has no client address or origin")).into_response();
    };
    // A user can always end a session, even when the quota is used up or the token has expired.
    let is_logout = request.uri().path() == "/auth/logout";
    let claims = match read_token(app, source, request.headers(), is_logout) {
        Ok(claims) => claims,
        Err(error) => return Error::from(error).into_response(),
    };
    let (mut response, quota) = match admit(app, source, origin.clone(), &claims, is_logout).await {
        Ok((caller, quota)) => {
            request.extensions_mut().insert(caller);
            (next.run(request).await, Some(quota))
        }
        Err(ServiceError::QuotaExceeded(quota)) => {
            let actor =
                Actor { account: claims.account, principal: Principal::User { user: claims.user, session: claims.session, origin } };
            if let Err(error) = Box::pin(app.services.admission.report_exhausted(&actor, &quota)).await {
                tracing::error!(cause = chain(&error), "the exhausted quota could not be recorded in the audit log");
            }
            (Error::from(ServiceError::QuotaExceeded(quota)).into_response(), Some(quota))
        }
        Err(error) => (Error::from(error).into_response(), None),
    };
    if let Some(quota) = quota {
        rate_limit::set_headers(response.headers_mut(), &quota);
    }
    response
}

fn read_token(app: &App, source: ClientAddress, headers: &HeaderMap, is_logout: bool) -> Result<Claims, ServiceError> {
    let claims = bearer(headers)
        .ok_or(ServiceError::Unauthenticated)
        .and_then(|token| if is_logout { app.services.auth.verify_for_logout(token) } else { app.services.auth.verify(token) });
    claims.map_err(|error| refused(app, source, error))
}

async fn admit(
    app: &App,
    source: ClientAddress,
    origin: Origin,
    claims: &Claims,
    bypass_quota: bool,
) -> Result<(Caller, QuotaSnapshot), ServiceError> {
    app.services.admission.admit(claims, origin, bypass_quota).await.map_err(|error| refused(app, source, error))
}

/// Counts a failed authentication against its address. Past the limit it is answered with 429 instead.
fn refused(app: &App, source: ClientAddress, error: ServiceError) -> ServiceError {
    if !matches!(error, ServiceError::Unauthenticated) {
        return error;
    }
    let now = Instant::now();
    if let Err(blocked) = app.failed_authentications.check(source, now) {
        return blocked;
    }
    app.failed_authentications.count(source, now);
    error
}

/// The token of exactly one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let only = given.next()?;
    if given.next().is_some() {
        return None;
    }
    // One space or more separate the scheme from the token (RFC 9110, 11.4).
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim_start_matches(' '))
}
