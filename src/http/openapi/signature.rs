//! Derives from a handler's signature who may call the endpoint, what it reads and which errors it can return.
//!
//! So the document matches the code: a handler with a [`Command`] has a body and an `Idempotency-Key`, and
//! one with a [`Writer`] needs a token and a role that may write.

use axum::{Extension, extract::State, http::HeaderMap};
use schemars::JsonSchema;

use super::operation::{SchemaOf, schema_of};
use crate::http::{
    App,
    code::Code,
    command::{Command, Keyed},
    extract::{AuthorizationReader, Gateway, LoggedIn, Manager, NoQuery, PathId, Reader, Writer},
    json::{Fields, FromFields, Json},
    query::Query,
};

/// The properties of an endpoint that follow from its handler's parameters.
#[derive(Debug, Default)]
pub(in crate::http) struct Inputs {
    pub(super) authenticated: bool,
    pub(super) callers: Callers,
    pub(super) idempotent: bool,
    /// Whether the `Idempotency-Key` must be there.
    pub(super) key_required: bool,
    pub(super) path_id: Option<SchemaOf>,
    pub(super) body: Option<SchemaOf>,
    pub(super) codes: Vec<Code>,
}

/// Who may call an endpoint that needs a token or an API key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Callers {
    /// Users and programs, by their role.
    #[default]
    Roles,
    /// Users alone: an API key has no session.
    Sessions,
    /// Also gateways, whose requests the account's hour does not count.
    Gateways,
}

impl Inputs {
    fn require_login(&mut self) {
        self.authenticated = true;
        self.codes.extend([Code::Unauthenticated, Code::TokenExpired, Code::RateLimitExceeded, Code::TooManyAttempts]);
        // Also where every role of today may: a role of a later version may nothing.
        self.codes.push(Code::InsufficientPermissions);
    }

    fn require_body<T: FromFields>(&mut self) {
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
    fn describe(inputs: &mut Inputs);
}

impl Input for State<App> {
    /// A handler that uses the services can find the database unreachable or the server overloaded.
    fn describe(inputs: &mut Inputs) {
        inputs.codes.push(Code::Unavailable);
    }
}

impl<T> Input for Extension<T> {
    fn describe(_: &mut Inputs) {}
}

impl Input for HeaderMap {
    fn describe(_: &mut Inputs) {}
}

impl Input for LoggedIn {
    fn describe(inputs: &mut Inputs) {
        inputs.callers = Callers::Sessions;
        inputs.require_login();
    }
}

impl Input for Reader {
    fn describe(inputs: &mut Inputs) {
        inputs.require_login();
    }
}

impl Input for Writer {
    fn describe(inputs: &mut Inputs) {
        inputs.require_login();
    }
}

impl Input for Manager {
    fn describe(inputs: &mut Inputs) {
        inputs.require_login();
    }
}

impl Input for Gateway {
    fn describe(inputs: &mut Inputs) {
        inputs.callers = Callers::Gateways;
        inputs.require_login();
    }
}

impl Input for AuthorizationReader {
    fn describe(inputs: &mut Inputs) {
        inputs.callers = Callers::Gateways;
        inputs.require_login();
    }
}

impl<T: JsonSchema> Input for PathId<T> {
    fn describe(inputs: &mut Inputs) {
        inputs.path_id = Some(schema_of::<T>);
        inputs.codes.push(Code::InvalidPath);
    }
}

impl Input for Query {
    fn describe(inputs: &mut Inputs) {
        inputs.codes.push(Code::ValidationFailed);
    }
}

impl Input for NoQuery {
    fn describe(inputs: &mut Inputs) {
        inputs.codes.push(Code::ValidationFailed);
    }
}

impl<T: FromFields> Input for Json<T> {
    fn describe(inputs: &mut Inputs) {
        inputs.require_body::<T>();
    }
}

impl<T: FromFields> Input for Command<T> {
    fn describe(inputs: &mut Inputs) {
        inputs.require_body::<T>();
        inputs.idempotent = true;
        inputs.codes.extend([Code::IdempotencyKeyInUse, Code::IdempotencyKeyReused]);
    }
}

impl<T: FromFields> Input for Keyed<T> {
    fn describe(inputs: &mut Inputs) {
        Command::<T>::describe(inputs);
        inputs.key_required = true;
        inputs.codes.push(Code::IdempotencyKeyMissing);
    }
}

/// All parameters of a handler: the marker type of its axum `Handler` implementation.
pub(in crate::http) trait Signature {
    fn inputs() -> Inputs;
}

macro_rules! signatures {
    ($(($($input:ident),*),)*) => {
        $(impl<Marker, $($input: Input),*> Signature for (Marker, $($input,)*) {
            fn inputs() -> Inputs {
                let mut inputs = Inputs::default();
                $($input::describe(&mut inputs);)*
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
