//! Who calls, and whether the account's hour has room for it: its token here, then its session and the count.
//!
//! In that order, so that what is forged or hopeless never reaches the database.

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
    http::{App, address::Source, error::Error},
    service::{
        auth::{Caller, Claims},
        error::{Error as ServiceError, chain},
    },
};

pub(in crate::http) async fn require(app: &App, mut request: Request, next: Next) -> Response {
    let found = (request.extensions().get::<Source>().copied(), request.extensions().get::<Origin>().cloned());
    let (Some(source), Some(origin)) = found else {
        return Error::Service(ServiceError::internal("authenticating", "nobody says where the request is from")).into_response();
    };
    let claims = match read_token(app, source, request.headers()) {
        Ok(claims) => claims,
        Err(error) => return Error::from(error).into_response(),
    };
    // Whoever used the hour up, its owner can always end the session.
    let ends_the_session = request.uri().path() == "/auth/logout";
    let (mut response, standing) = match admit(app, source, origin.clone(), &claims, ends_the_session).await {
        Ok((caller, standing)) => {
            request.extensions_mut().insert(caller);
            (next.run(request).await, Some(standing))
        }
        Err(ServiceError::QuotaExceeded(standing)) => {
            let actor =
                Actor { account: claims.account, principal: Principal::User { user: claims.user, session: claims.session, origin } };
            if let Err(error) = Box::pin(app.services.admission.report_exhausted(&actor, &standing)).await {
                tracing::error!(cause = chain(&error), "that the hour is used up is not in the trail");
            }
            (Error::from(ServiceError::QuotaExceeded(standing)).into_response(), Some(standing))
        }
        Err(error) => (Error::from(error).into_response(), None),
    };
    if let Some(standing) = standing {
        rate_limit::tell(response.headers_mut(), &standing);
    }
    response
}

fn read_token(app: &App, source: Source, headers: &HeaderMap) -> Result<Claims, ServiceError> {
    let claims = bearer(headers).ok_or(ServiceError::Unauthenticated).and_then(|token| app.services.auth.verify(token));
    claims.map_err(|error| refused(app, source, error))
}

async fn admit(
    app: &App,
    source: Source,
    origin: Origin,
    claims: &Claims,
    whatever_the_quota: bool,
) -> Result<(Caller, QuotaSnapshot), ServiceError> {
    app.services.admission.admit(claims, origin, whatever_the_quota).await.map_err(|error| refused(app, source, error))
}

/// Counts a failure against its address, whose failures past the limit are told so instead.
fn refused(app: &App, source: Source, error: ServiceError) -> ServiceError {
    if !matches!(error, ServiceError::Unauthenticated) {
        return error;
    }
    let now = Instant::now();
    if let Err(silenced) = app.failed_authentications.check(source, now) {
        return silenced;
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
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}
