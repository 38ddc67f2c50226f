//! What a handler's signature says of its endpoint: who may call, what it reads, how it can be refused.
//!
//! The document so says what the code does: a handler that takes a [`Command`] has a body and an
//! `Idempotency-Key`, one that takes a [`Writer`] needs a token and a role that may write.

use axum::{Extension, extract::State, http::HeaderMap};
use schemars::JsonSchema;

use super::operation::{SchemaOf, schema_of};
use crate::domain::role::{Permission, Role};
use crate::http::{
    App,
    code::Code,
    command::Command,
    extract::{LoggedIn, Manager, PathId, Reader, Writer},
    json::{Fields, FromFields, Json},
    query::Query,
};

/// What is known of an endpoint from its handler's parameters.
#[derive(Debug, Default)]
pub(in crate::http) struct Inputs {
    pub(super) authenticated: bool,
    pub(super) once_per_key: bool,
    pub(super) path_id: Option<SchemaOf>,
    pub(super) body: Option<SchemaOf>,
    pub(super) codes: Vec<Code>,
}

impl Inputs {
    fn of_anybody_logged_in(&mut self) {
        self.authenticated = true;
        self.codes.extend([Code::Unauthenticated, Code::TokenExpired, Code::RateLimitExceeded, Code::TooManyAttempts]);
    }

    fn of_somebody_who_may(&mut self, permission: Permission) {
        self.of_anybody_logged_in();
        if Role::ALL.iter().any(|role| !role.may(permission)) {
            self.codes.push(Code::InsufficientPermissions);
        }
    }

    fn of_a_body<T: FromFields>(&mut self) {
        self.body = Some(Fields::describe::<T>);
        self.codes.extend([
            Code::InvalidJson,
            Code::ValidationFailed,
            Code::PayloadTooLarge,
            Code::RequestTimeout,
            Code::UnsupportedMediaType,
        ]);
    }
}

/// A parameter of a handler.
pub(in crate::http) trait Input {
    fn note(inputs: &mut Inputs);
}

impl Input for State<App> {
    /// Whoever reaches the services can find the database away, or too much under way.
    fn note(inputs: &mut Inputs) {
        inputs.codes.push(Code::Unavailable);
    }
}

impl<T> Input for Extension<T> {
    fn note(_: &mut Inputs) {}
}

impl Input for HeaderMap {
    fn note(_: &mut Inputs) {}
}

impl Input for LoggedIn {
    fn note(inputs: &mut Inputs) {
        inputs.of_anybody_logged_in();
    }
}

impl Input for Reader {
    fn note(inputs: &mut Inputs) {
        inputs.of_somebody_who_may(Permission::Read);
    }
}

impl Input for Writer {
    fn note(inputs: &mut Inputs) {
        inputs.of_somebody_who_may(Permission::Write);
    }
}

impl Input for Manager {
    fn note(inputs: &mut Inputs) {
        inputs.of_somebody_who_may(Permission::Manage);
    }
}

impl<T: JsonSchema> Input for PathId<T> {
    fn note(inputs: &mut Inputs) {
        inputs.path_id = Some(schema_of::<T>);
        inputs.codes.push(Code::InvalidPath);
    }
}

impl Input for Query {
    fn note(inputs: &mut Inputs) {
        inputs.codes.push(Code::ValidationFailed);
    }
}

impl<T: FromFields> Input for Json<T> {
    fn note(inputs: &mut Inputs) {
        inputs.of_a_body::<T>();
    }
}

impl<T: FromFields> Input for Command<T> {
    fn note(inputs: &mut Inputs) {
        inputs.of_a_body::<T>();
        inputs.once_per_key = true;
        inputs.codes.extend([Code::IdempotencyKeyInUse, Code::IdempotencyKeyReused]);
    }
}

/// A handler's parameters together, as axum's `Handler` has them: behind a marker of its own.
pub(in crate::http) trait Signature {
    fn inputs() -> Inputs;
}

macro_rules! signatures {
    ($(($($input:ident),*),)*) => {
        $(impl<Marker, $($input: Input),*> Signature for (Marker, $($input,)*) {
            fn inputs() -> Inputs {
                let mut inputs = Inputs::default();
                $($input::note(&mut inputs);)*
                inputs
            }
        })*
    };
}

signatures! {
    (A),
    (A, B),
    (A, B, C),
    (A, B, C, D),
    (A, B, C, D, E),
}

impl Signature for ((),) {
    fn inputs() -> Inputs {
        Inputs::default()
    }
}
