//! Logins: `POST /auth/login`, `POST /auth/refresh`, `POST /auth/logout`.

use std::time::Instant;

use axum::{Extension, Json as JsonBody, extract::State};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{
    App,
    address::Source,
    error::Result,
    extract::LoggedIn,
    json::{Fields, FromFields, Json},
    time::Timestamp,
};
use crate::service::{
    auth::{Grant, MAX_PASSWORD},
    error::Error as ServiceError,
    id::UserId,
    text::MAX_EMAIL,
};

/// The longest refresh token worth a look, in bytes.
const MAX_REFRESH_TOKEN: usize = 512;

pub(super) struct LoginRequest {
    email: String,
    password: SecretString,
}

impl FromFields for LoginRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        // Any text may be tried: what is no email is nobody's.
        let email = fields.verbatim("email", MAX_EMAIL);
        let password = fields.verbatim("password", MAX_PASSWORD);
        Some(Self { email: email?, password: password?.into() })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoginResponse {
    token: String,
    user_id: UserId,
    expires_at: Timestamp,
    refresh_token: String,
}

/// `POST /auth/login`
pub(super) async fn login(
    State(app): State<App>,
    Extension(source): Extension<Source>,
    Json(request): Json<LoginRequest>,
) -> Result<JsonBody<LoginResponse>> {
    app.failed_logins.check(source, Instant::now())?;
    let grant = app.services.auth.login(&request.email, &request.password, &source.to_string().into()).await.inspect_err(|error| {
        if matches!(error, ServiceError::InvalidCredentials) {
            app.failed_logins.count(source, Instant::now());
            tracing::warn!(event = "login_failed", %source);
        }
    })?;
    let Grant { user, token, expires_at, refresh_token } = grant;
    Ok(JsonBody(LoginResponse {
        token: token.expose_secret().to_owned(),
        user_id: user,
        expires_at: Timestamp(expires_at),
        refresh_token: refresh_token.expose_secret().to_owned(),
    }))
}

pub(super) struct RefreshRequest {
    refresh_token: SecretString,
}

impl FromFields for RefreshRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { refresh_token: fields.verbatim("refreshToken", MAX_REFRESH_TOKEN)?.into() })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefreshResponse {
    token: String,
    expires_at: Timestamp,
    refresh_token: String,
}

/// `POST /auth/refresh`
pub(super) async fn refresh(
    State(app): State<App>,
    Extension(source): Extension<Source>,
    Json(request): Json<RefreshRequest>,
) -> Result<JsonBody<RefreshResponse>> {
    app.failed_authentications.check(source, Instant::now())?;
    let grant = app.services.auth.refresh(request.refresh_token.expose_secret()).await.inspect_err(|error| {
        if matches!(error, ServiceError::InvalidRefreshToken) {
            app.failed_authentications.count(source, Instant::now());
            tracing::warn!(event = "refresh_failed", %source);
        }
    })?;
    Ok(JsonBody(RefreshResponse {
        token: grant.token.expose_secret().to_owned(),
        expires_at: Timestamp(grant.expires_at),
        refresh_token: grant.refresh_token.expose_secret().to_owned(),
    }))
}

#[derive(Serialize)]
pub(super) struct LogoutResponse {
    success: bool,
}

/// `POST /auth/logout`
pub(super) async fn logout(State(app): State<App>, LoggedIn(caller): LoggedIn) -> Result<JsonBody<LogoutResponse>> {
    app.services.auth.logout(&caller).await?;
    Ok(JsonBody(LogoutResponse { success: true }))
}
