//! The steps of an authorisation that the network tells: increments, adjustments, reversals and captures.

use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{
    id::AuthorizationId,
    money::{Amount, Money},
    text::{Description, Reason},
};
use crate::http::{
    App,
    authorization_body::{AuthorizationBody, EntryBody},
    balances::Balance,
    code::Code,
    command::{Command, Keyed, respond},
    error::Result,
    extract::{Gateway, PathId},
    json::{Fields, FromFields},
    movement_body::MovementBody,
    openapi::{Operation, Tag},
};
use crate::service::{
    auth::Caller,
    ledger::{StepKind, StepRequest, Stepped},
};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SteppedAuthorization")]
pub(in crate::http) struct SteppedBody {
    authorization: AuthorizationBody,
    entry: Option<EntryBody>,
    balance: Balance,
}

impl SteppedBody {
    pub(in crate::http) fn of(stepped: &Stepped) -> Self {
        Self {
            authorization: (&stepped.authorization).into(),
            entry: stepped.entries.last().map(EntryBody::from),
            balance: (&stepped.balance).into(),
        }
    }
}
