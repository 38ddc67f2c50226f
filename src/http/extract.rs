//! Extractors for handlers: the caller with a permission, ids from the path, and the query.
//!
//! A handler without [`Reader`], [`Writer`], [`Manager`], [`Gateway`], [`AuthorizationReader`] or [`LoggedIn`] has no access to
//! an account.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, Path, RawQuery},
    http::request::Parts,
};
use tracing::field::display;

use super::{
    App,
    error::{Error, Result},
    query::Query,
};
use crate::domain::{id::NotAnId, role::Permission};
use crate::service::{
    auth::{Caller, SessionCaller},
    error::Error as ServiceError,
};

/// A caller who may read.
pub(super) struct Reader(pub(super) Caller);

/// A caller who may change customers, cards and money.
pub(super) struct Writer(pub(super) Caller);

/// A caller who may manage users and API keys, and read the audit log.
pub(super) struct Manager(pub(super) Caller);

/// A caller who may act as a card network: a gateway, and in the sandbox whoever changes money.
pub(super) struct Gateway(pub(super) Caller);

/// A caller who may read authorisations.
pub(super) struct AuthorizationReader(pub(super) Caller);

/// A user in a session, with any role. An API key has no session and no password.
pub(super) struct LoggedIn(pub(super) SessionCaller);

fn caller(parts: &Parts) -> Result<Caller> {
    // Absent only on a route without the authentication layer.
    parts.extensions.get::<Caller>().cloned().ok_or(Error::Service(ServiceError::Unauthenticated))
}

async fn require(parts: &Parts, app: &App, needed: Permission) -> Result<Caller> {
    let caller = caller(parts)?;
    if caller.role.may(needed, app.environment) {
        return Ok(caller);
    }
    app.services.admission.report_refused(&caller, needed).await?;
    Err(ServiceError::InsufficientPermissions(caller.role).into())
}

impl FromRequestParts<App> for Reader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        require(parts, app, Permission::Read).await.map(Self)
    }
}

impl FromRequestParts<App> for Writer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        require(parts, app, Permission::Write).await.map(Self)
    }
}

impl FromRequestParts<App> for Manager {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        require(parts, app, Permission::Manage).await.map(Self)
    }
}

impl FromRequestParts<App> for Gateway {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        require(parts, app, Permission::Authorize).await.map(Self)
    }
}

impl FromRequestParts<App> for AuthorizationReader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        require(parts, app, Permission::ReadAuthorizations).await.map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for LoggedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let caller = caller(parts)?;
        caller.session().map(Self).ok_or_else(|| {
            let api_key = caller.actor().api_key().map(display);
            tracing::warn!(event = "session_required", account = %caller.account, api_key);
            ServiceError::SessionRequired.into()
        })
    }
}

/// An id in the path, or [`NotAnId`], which the handler answers like an id that does not exist.
pub(super) struct PathId<T>(pub(super) std::result::Result<T, NotAnId>);

impl<S: Send + Sync, T: FromStr<Err = NotAnId>> FromRequestParts<S> for PathId<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Error::InvalidPath)?;
        if text.chars().any(char::is_control) { Err(Error::InvalidPath) } else { Ok(Self(text.parse())) }
    }
}

/// A request that takes no query parameters: any is refused. [`Query`] and bodies refuse unknown ones by themselves.
pub(super) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        Query::parse(parts.uri.query().unwrap_or_default()).done().map(|()| Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> std::result::Result<Self, Self::Rejection> {
        let RawQuery(raw) = RawQuery::from_request_parts(parts, state).await?;
        Ok(Self::parse(raw.as_deref().unwrap_or_default()))
    }
}
