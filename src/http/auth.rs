//! Authentication: `POST /auth/login`, `POST /auth/refresh`, `POST /auth/logout`, `POST /auth/password`.

use std::time::Instant;

use axum::{Extension, Json as JsonBody, extract::State};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{
    App,
    address::ClientAddress,
    code::Code,
    error::{Error, Result},
    extract::{LoggedIn, NoQuery},
    faults::{self, FaultCode},
    json::{Fields, FromFields, Json},
    openapi::{Operation, Tag},
    time::Timestamp,
};
use crate::domain::{
    actor::Origin,
    id::{AccountId, UserId},
    text::MAX_EMAIL,
};
use crate::service::{
    auth::{Grant, MAX_PASSWORD, NewPassword},
    error::Error as ServiceError,
};

/// The longest text that is accepted as a refresh token, in characters.
const MAX_REFRESH_TOKEN: usize = 512;

pub(super) struct LoginRequest {
    email: String,
    password: SecretString,
    account: Option<AccountId>,
}

impl FromFields for LoginRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        // Any text is accepted: one that is not an email is just an unknown one.
        let email = fields.trimmed("email", MAX_EMAIL);
        let password = fields.verbatim("password", MAX_PASSWORD);
        // A new id names no account, as text that is not an id does.
        let account = fields.optional_id("accountId", AccountId::new);
        Some(Self { email: email?, password: password?.into(), account })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Login")]
pub(super) struct LoginResponse {
    token: String,
    user_id: UserId,
    expires_at: Timestamp,
    refresh_token: String,
}

/// `POST /auth/login`
pub(super) const LOGIN: Operation = Operation::new("login", Tag::Authentication, "Login")
    .about("Authenticate a user and receive an access token. Each login starts a new session. An unknown email, a wrong password and a disabled user get the same response. `accountId` is needed only where the email and the password are those of users of several accounts.")
    .request(r#"{"email": "test@example.com", "password": "test123"}"#)
    .response::<LoginResponse>(
        r#"{"token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...", "userId": "usr_01h455vb4pex5vsknk084sn02q", "expiresAt": "2025-02-10T13:00:00.000Z", "refreshToken": "crt_..."}"#,
    )
    .refusals(&[Code::AccountRequired, Code::InvalidCredentials, Code::TooManyAttempts]);

/// `POST /auth/login`
pub(super) async fn login(
    State(app): State<App>,
    Extension(address): Extension<ClientAddress>,
    Extension(origin): Extension<Origin>,
    Json(request): Json<LoginRequest>,
) -> Result<JsonBody<LoginResponse>> {
    app.failed_logins.check(address, Instant::now())?;
    let grant = app.services.auth.login(&request.email, &request.password, request.account, &origin).await.inspect_err(|error| {
        if matches!(error, ServiceError::InvalidCredentials) {
            app.failed_logins.count(address, Instant::now());
            tracing::warn!(event = "login_failed", %address);
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

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Refresh")]
pub(super) struct RefreshResponse {
    token: String,
    expires_at: Timestamp,
    refresh_token: String,
}

/// `POST /auth/refresh`
pub(super) const REFRESH: Operation = Operation::new("refresh", Tag::Authentication, "Refresh")
    .about("Exchange a refresh token for new tokens. A refresh token is valid once. Within 10 seconds of its use it still gets other tokens of the same session, so that several tabs and a lost response do no harm; using it again later ends its session.")
    .request(r#"{"refreshToken": "crt_..."}"#)
    .response::<RefreshResponse>(
        r#"{"token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...", "expiresAt": "2025-02-10T13:00:00.000Z", "refreshToken": "crt_..."}"#,
    )
    .refusals(&[Code::InvalidRefreshToken, Code::TooManyAttempts, Code::TooManyRefreshes]);

/// `POST /auth/refresh`
pub(super) async fn refresh(
    State(app): State<App>,
    Extension(address): Extension<ClientAddress>,
    Extension(origin): Extension<Origin>,
    Json(request): Json<RefreshRequest>,
) -> Result<JsonBody<RefreshResponse>> {
    app.failed_authentications.check(address, Instant::now())?;
    let grant = app.services.auth.refresh(request.refresh_token.expose_secret(), &origin).await.inspect_err(|error| {
        if matches!(error, ServiceError::InvalidRefreshToken) {
            app.failed_authentications.count(address, Instant::now());
            tracing::warn!(event = "refresh_failed", %address);
        }
    })?;
    Ok(JsonBody(RefreshResponse {
        token: grant.token.expose_secret().to_owned(),
        expires_at: Timestamp(grant.expires_at),
        refresh_token: grant.refresh_token.expose_secret().to_owned(),
    }))
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Done {
    success: bool,
}

/// `POST /auth/logout`
pub(super) const LOGOUT: Operation = Operation::new("logout", Tag::Authentication, "Logout")
    .about("Invalidate the current session, its token and its refresh token. It also works with an expired token, and when the quota is used up.")
    .response::<Done>(r#"{"success": true}"#)
    .never(&[Code::RateLimitExceeded, Code::TokenExpired]);

/// `POST /auth/logout`
pub(super) async fn logout(State(app): State<App>, LoggedIn(caller): LoggedIn, _: NoQuery) -> Result<JsonBody<Done>> {
    app.services.auth.logout(&caller).await?;
    Ok(JsonBody(Done { success: true }))
}

pub(super) struct PasswordRequest {
    current: SecretString,
    new: NewPassword,
}

impl FromFields for PasswordRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let current = fields.verbatim("currentPassword", MAX_PASSWORD);
        let new = fields.new_password("newPassword");
        Some(Self { current: current?.into(), new: new? })
    }
}

/// `POST /auth/password`
pub(super) const CHANGE_PASSWORD: Operation = Operation::new("changePassword", Tag::Authentication, "Change Password")
    .about("Change your own password and end your other sessions. A new password has 8 to 1024 characters (Unicode code points) and is not a published one. Passwords are compared in Unicode normalization form C. A wrong `currentPassword` is a 400 on that field.")
    .request(r#"{"currentPassword": "a long enough password", "newPassword": "another long enough password"}"#)
    .response::<Done>(r#"{"success": true}"#)
;

/// `POST /auth/password`
pub(super) async fn change_password(
    State(app): State<App>,
    Extension(address): Extension<ClientAddress>,
    LoggedIn(caller): LoggedIn,
    Json(request): Json<PasswordRequest>,
) -> Result<JsonBody<Done>> {
    // A token must not allow faster guesses at the password than a login does.
    app.failed_logins.check(address, Instant::now())?;
    match app.services.auth.change_password(&caller, &request.current, &request.new).await {
        Err(ServiceError::WrongPassword) => {
            app.failed_logins.count(address, Instant::now());
            tracing::warn!(event = "password_change_failed", %address, account = %caller.account, user = %caller.user);
            // Not a 401, at which clients log out.
            let wrong = faults::fault("currentPassword", FaultCode::WrongPassword, "is not your current password");
            Err(Error::Validation(vec![wrong]))
        }
        changed => Ok(changed.map(|()| JsonBody(Done { success: true }))?),
    }
}
