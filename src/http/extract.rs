//! What a handler's signature can ask for: who calls, with which permission, and ids from the path.
//!
//! A handler that names none of [`Reader`], [`Writer`], [`Manager`] and [`LoggedIn`] has no account to work in.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, Path, RawQuery},
    http::request::Parts,
};

use super::{
    App,
    error::{Error, Result},
    query::Query,
};
use crate::domain::{audit_event::Event, id::NotAnId, role::Permission};
use crate::service::{auth::Caller, error::Error as ServiceError};

/// Somebody who may read.
pub(super) struct Reader(pub(super) Caller);

/// Somebody who may change customers, cards and money.
pub(super) struct Writer(pub(super) Caller);

/// Somebody who may manage users and read the audit trail.
pub(super) struct Manager(pub(super) Caller);

/// Somebody who is logged in, whatever they may do.
pub(super) struct LoggedIn(pub(super) Caller);

fn caller(parts: &Parts) -> Result<Caller> {
    // Absent only on a route that the authentication does not cover.
    parts.extensions.get::<Caller>().cloned().ok_or(Error::Service(ServiceError::Unauthenticated))
}

async fn permitted(parts: &Parts, app: &App, needed: Permission) -> Result<Caller> {
    let caller = caller(parts)?;
    if caller.role.may(needed) {
        return Ok(caller);
    }
    tracing::warn!(event = "permission_refused", account = %caller.account, user = %caller.user, role = caller.role.name(), ?needed);
    let refused = Event::PermissionRefused { user: caller.user, role: caller.role, needed };
    app.services.audit.record(&caller.actor(), refused).await?;
    Err(ServiceError::InsufficientPermissions(caller.role).into())
}

impl FromRequestParts<App> for Reader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        permitted(parts, app, Permission::Read).await.map(Self)
    }
}

impl FromRequestParts<App> for Writer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        permitted(parts, app, Permission::Write).await.map(Self)
    }
}

impl FromRequestParts<App> for Manager {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        permitted(parts, app, Permission::Manage).await.map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for LoggedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        caller(parts).map(Self)
    }
}

/// An id in the path. One that is no id of its kind names nothing, which is for the handler to say.
pub(super) struct PathId<T>(pub(super) std::result::Result<T, NotAnId>);

impl<S: Send + Sync, T: FromStr<Err = NotAnId>> FromRequestParts<S> for PathId<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Error::InvalidPath)?;
        if text.chars().any(char::is_control) { Err(Error::InvalidPath) } else { Ok(Self(text.parse())) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> std::result::Result<Self, Self::Rejection> {
        let RawQuery(raw) = RawQuery::from_request_parts(parts, state).await?;
        Ok(Self::parse(raw.as_deref().unwrap_or_default()))
    }
}
