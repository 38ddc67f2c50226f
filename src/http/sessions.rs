//! The caller's own sessions: `GET /auth/sessions`, `DELETE /auth/sessions/{sessionId}`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    code::Code,
    error::Result,
    extract::{LoggedIn, NoQuery, PathId},
    openapi::{Operation, Tag},
    page::{Cursor, Page},
    query::Query,
    time::Timestamp,
};
use crate::domain::{error::Refusal, id::SessionId};
use crate::service::auth::Session;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Session")]
pub(super) struct SessionBody {
    session_id: SessionId,
    /// Whether this is the session of the request.
    current: bool,
    /// The address that the login came from; null if it was not recorded.
    address: Option<String>,
    created_at: Timestamp,
    expires_at: Timestamp,
}

/// `GET /auth/sessions`
pub(super) const LIST: Operation = Operation::new("listSessions", Tag::Authentication, "List Sessions")
    .about("Retrieve your own active sessions, oldest first.")
    .list::<SessionBody>(
        "sessions",
        r#"{"sessions": [{"sessionId": "ses_01h455vb4pex5vsknk084sn02q", "current": true, "address": "203.0.113.7", "createdAt": "2025-02-10T10:00:00.000Z", "expiresAt": "2025-03-12T10:00:00.000Z"}]}"#,
    );

/// `GET /auth/sessions`
pub(super) async fn list(State(app): State<App>, LoggedIn(caller): LoggedIn, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let page = Page::read(&mut query, cursor.as_ref(), "sessions", &format!("userId={}", caller.user));
    query.done()?;
    let auth = app.services.auth.clone();
    let (account, user, current) = (caller.account, caller.user, caller.session);
    page.respond(
        "sessions",
        move |after, limit| {
            let auth = auth.clone();
            async move { auth.sessions(account, user, after.unwrap_or(0), limit).await }
        },
        move |session: &Session| {
            let body = SessionBody {
                session_id: session.id,
                current: session.id == current,
                address: session.address.clone(),
                created_at: Timestamp(session.created_at),
                expires_at: Timestamp(session.expires_at),
            };
            (session.number, body)
        },
    )
    .await
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Ended {
    success: bool,
}

/// `DELETE /auth/sessions/{sessionId}`
pub(super) const END: Operation = Operation::new("endSession", Tag::Authentication, "End Session")
    .about("End one of your sessions, immediately and on every replica.")
    .response::<Ended>(r#"{"success": true}"#)
    .refusals(&[Code::SessionNotFound]);

/// `DELETE /auth/sessions/{sessionId}`
pub(super) async fn end(
    State(app): State<App>,
    LoggedIn(caller): LoggedIn,
    _: NoQuery,
    PathId(id): PathId<SessionId>,
) -> Result<JsonBody<Ended>> {
    let id = id.map_err(|_| Refusal::SessionNotFound)?;
    app.services.auth.end_session(&caller, id).await?;
    Ok(JsonBody(Ended { success: true }))
}
