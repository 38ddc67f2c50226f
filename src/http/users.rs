//! Users, for admins: `POST /users`, `GET /users`, `GET /users/{userId}`, `PATCH /users/{userId}`.

use axum::{Json as JsonBody, extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App,
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{Manager, NoQuery, PathId},
    json::{Fields, FromFields},
    openapi::{Operation, Tag},
    page::{Cursor, Page},
    query::Query,
    time::Timestamp,
};
use crate::domain::{
    error::Refusal,
    id::UserId,
    role::{Role, UserRole},
    user::Change,
    word::Word,
};
use crate::service::users::{NewUser, User};

impl FromFields for NewUser {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (email, password) = (fields.text("email"), fields.new_password("password"));
        let role = fields.word("role", &UserRole::ALL.map(UserRole::name));
        Some(Self { email: email?, password: password?, role: role? })
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "User")]
pub(super) struct UserBody {
    user_id: UserId,
    email: String,
    #[schemars(with = "Role")]
    role: Word<Role>,
    disabled: bool,
    created_at: Timestamp,
}

impl UserBody {
    fn of(user: &User) -> Self {
        Self {
            user_id: user.id,
            email: user.email.clone(),
            role: user.role.clone(),
            disabled: user.disabled,
            created_at: Timestamp(user.created_at),
        }
    }
}

/// `POST /users`
pub(super) const CREATE: Operation = Operation::new("createUser", Tag::Users, "Create User")
    .about("Create a user who can log in to your account. No other user of the account can have the same email, regardless of case. An `admin` does everything, an `operator` writes customers, cards and money, a `viewer` reads.")
    .request(r#"{"email": "ana@acme.com", "password": "a long enough password", "role": "operator"}"#)
    .response::<UserBody>(r#"{"userId": "usr_01h455vb4pex5vsknk084sn02q", "email": "ana@acme.com", "role": "operator", "disabled": false, "createdAt": "2025-02-10T10:00:00.000Z"}"#)
    .refusals(&[Code::DuplicateUser]);

/// `POST /users`
pub(super) async fn create(State(app): State<App>, Manager(caller): Manager, command: Command<NewUser>) -> Result<Response> {
    let command = command.harden_fingerprint(&app.services.users, caller.account).await?;
    let idempotent = command.idempotent(caller.account, UserBody::of);
    let outcome = app.services.users.create(&caller.actor(), command.body, idempotent.as_ref()).await?;
    Ok(respond(outcome, UserBody::of))
}

/// `GET /users`
pub(super) const LIST: Operation = Operation::new("listUsers", Tag::Users, "List Users")
    .about("Retrieve the users of your account, oldest first.")
    .list::<UserBody>("users", r#"{"users": [{"userId": "usr_01h455vb4pex5vsknk084sn02q", "email": "ana@acme.com", "role": "operator", "disabled": false, "createdAt": "2025-02-10T10:00:00.000Z"}]}"#);

/// `GET /users`
pub(super) async fn list(State(app): State<App>, Manager(caller): Manager, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let page = Page::read(&mut query, cursor.as_ref(), "users", "");
    query.done()?;
    let users = app.services.users.clone();
    page.respond(
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
pub(super) const GET: Operation = Operation::new("getUser", Tag::Users, "Get User")
    .about("Retrieve one user.")
    .response::<UserBody>(r#"{"userId": "usr_01h455vb4pex5vsknk084sn02q", "email": "ana@acme.com", "role": "operator", "disabled": false, "createdAt": "2025-02-10T10:00:00.000Z"}"#)
    .refusals(&[Code::UserNotFound]);

/// `GET /users/{userId}`
pub(super) async fn get(
    State(app): State<App>,
    Manager(caller): Manager,
    _: NoQuery,
    PathId(id): PathId<UserId>,
) -> Result<JsonBody<UserBody>> {
    let id = id.map_err(|_| Refusal::UserNotFound)?;
    let user = app.services.users.get(caller.account, id).await?;
    Ok(JsonBody(UserBody::of(&user)))
}

impl FromFields for Change {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let [has_role, has_disabled] = fields.at_least_one_of(["role", "disabled"]);
        let role = if has_role { fields.word("role", &UserRole::ALL.map(UserRole::name)).map(UserRole::role) } else { None };
        let disabled = if has_disabled { fields.bool("disabled") } else { None };
        Some(Self { role, disabled })
    }
}

/// `PATCH /users/{userId}`
pub(super) const CHANGE: Operation = Operation::new("changeUser", Tag::Users, "Change User")
    .about("Change a user's role, or disable or enable the user. Disabling ends their sessions; a new role applies from the next request on.")
    .request(r#"{"role": "operator", "disabled": false}"#)
    .response::<UserBody>(r#"{"userId": "usr_01h455vb4pex5vsknk084sn02q", "email": "ana@acme.com", "role": "operator", "disabled": false, "createdAt": "2025-02-10T10:00:00.000Z"}"#)
    .refusals(&[Code::UserNotFound, Code::LastAdmin]);

/// `PATCH /users/{userId}`
pub(super) async fn change(
    State(app): State<App>,
    Manager(caller): Manager,
    PathId(id): PathId<UserId>,
    command: Command<Change>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, UserBody::of);
    let outcome = app.services.users.change(&caller.actor(), id.ok(), command.body, idempotent.as_ref()).await?;
    Ok(respond(outcome, UserBody::of))
}
