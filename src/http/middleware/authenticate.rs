//! Authentication and quota. It checks the token or the API key in memory first, then the session or the key, and the quota.
//!
//! In this order, a forged or expired token and a mistyped key never reach the database.

use std::time::Instant;

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::rate_limit;
use crate::domain::{
    actor::Origin,
    api_key::{self, PresentedKey},
    quota::QuotaSnapshot,
};
use crate::{
    http::{App, address::ClientAddress, error::Error},
    service::{
        admission::Credential,
        auth::Caller,
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
    let credential = match read_credential(app, source, request.headers(), is_logout) {
        Ok(credential) => credential,
        Err(error) => return Error::from(error).into_response(),
    };
    let (mut response, quota) = match admit(app, source, origin.clone(), &credential, is_logout).await {
        Ok((caller, quota)) => {
            request.extensions_mut().insert(caller);
            (next.run(request).await, quota)
        }
        Err(ServiceError::QuotaExceeded(quota)) => {
            if let Err(error) = Box::pin(app.services.admission.report_exhausted(&credential, origin, &quota)).await {
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

/// Reads the token or the API key. Both are checked as far as that needs no look-up.
fn read_credential(app: &App, source: ClientAddress, headers: &HeaderMap, is_logout: bool) -> Result<Credential, ServiceError> {
    let credential = bearer(headers).ok_or(ServiceError::Unauthenticated).and_then(|text| {
        if text.starts_with(api_key::PREFIX) {
            let key = PresentedKey::parse(text, app.environment).ok_or(ServiceError::Unauthenticated)?;
            return Ok(Credential::Key(key));
        }
        let auth = &app.services.auth;
        if is_logout { auth.verify_for_logout(text) } else { auth.verify(text) }.map(Credential::Token)
    });
    credential.map_err(|error| refused(app, source, error))
}

async fn admit(
    app: &App,
    source: ClientAddress,
    origin: Origin,
    credential: &Credential,
    bypass_quota: bool,
) -> Result<(Caller, Option<QuotaSnapshot>), ServiceError> {
    // Keys can be made up, so an address that is blocked gets none of them looked up.
    if !app.services.admission.is_proven(credential) {
        app.failed_authentications.check(source, Instant::now())?;
    }
    app.services.admission.admit(credential, origin, bypass_quota).await.map_err(|error| refused(app, source, error))
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

/// The token or the API key of exactly one `Authorization: Bearer` header.
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
