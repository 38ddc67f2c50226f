//! Users, for admins: `POST /users`, `GET /users`, `GET /users/{userId}`, `PATCH /users/{userId}`.

use axum::{Json as JsonBody, extract::State, response::Response};
use serde::Serialize;

use super::{
    App,
    command::{Command, answer},
    error::Result,
    extract::{Manager, PathId},
    json::{Fields, FromFields},
    page::{Cursor, Page},
    query::Query,
    time::Timestamp,
};
use crate::service::{
    auth::Role,
    error::Error as ServiceError,
    id::UserId,
    users::{Change, NewUser, User},
};

impl FromFields for NewUser {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (email, password) = (fields.text("email"), fields.new_password("password"));
        let role = fields.word("role", &Role::ALL.map(Role::name));
        Some(Self { email: email?, password: password?, role: role? })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserBody {
    user_id: UserId,
    email: String,
    role: &'static str,
    disabled: bool,
    created_at: Timestamp,
}

impl UserBody {
    fn of(user: &User) -> Self {
        Self {
            user_id: user.id,
            email: user.email.clone(),
            role: user.role.name(),
            disabled: user.disabled,
            created_at: Timestamp(user.created_at),
        }
    }
}

/// `POST /users`
pub(super) async fn create(State(app): State<App>, Manager(caller): Manager, command: Command<NewUser>) -> Result<Response> {
    let command = command.guarded(&app.services.users, caller.account).await?;
    let once = command.once(caller.account, UserBody::of);
    let outcome = app.services.users.create(&caller.actor(), command.body, once.as_ref()).await?;
    Ok(answer(outcome, UserBody::of))
}

/// `GET /users`
pub(super) async fn list(State(app): State<App>, Manager(caller): Manager, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let page = Page::read(&mut query, cursor.as_ref(), "users", "");
    query.done()?;
    let users = app.services.users;
    page.answer(
        "users",
        move |after, limit| {
            let users = users.clone();
            async move { users.page(caller.account, after.unwrap_or(0), limit).await }
        },
        |user: &User| (user.number, UserBody::of(user)),
    )
    .await
}

/// `GET /users/{userId}`
pub(super) async fn get(State(app): State<App>, Manager(caller): Manager, PathId(id): PathId<UserId>) -> Result<JsonBody<UserBody>> {
    let id = id.map_err(|_| ServiceError::UserNotFound)?;
    let user = app.services.users.get(caller.account, id).await?;
    Ok(JsonBody(UserBody::of(&user)))
}

impl FromFields for Change {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (has_role, has_disabled) = (fields.has("role"), fields.has("disabled"));
        if !has_role && !has_disabled {
            fields.fault("role", "required", "Give role, disabled or both.");
        }
        let role = if has_role { fields.word("role", &Role::ALL.map(Role::name)) } else { None };
        let disabled = if has_disabled { fields.bool("disabled") } else { None };
        Some(Self { role, disabled })
    }
}

/// `PATCH /users/{userId}`
pub(super) async fn change(
    State(app): State<App>,
    Manager(caller): Manager,
    PathId(id): PathId<UserId>,
    command: Command<Change>,
) -> Result<Response> {
    let once = command.once(caller.account, UserBody::of);
    let outcome = app.services.users.change(&caller.actor(), id.ok(), command.body, once.as_ref()).await?;
    Ok(answer(outcome, UserBody::of))
}
