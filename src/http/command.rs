//! Requests that change something: a JSON body, and perhaps an `Idempotency-Key`.

use axum::{
    Json as JsonBody,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    error::{Error, FieldFault, Problem, Result},
    faults::{self, FaultCode},
    json::{FromFields, read_json},
    middleware::request_id::RequestId,
};
use crate::domain::{
    error::{Refusal, RefusalKind},
    id::AccountId,
};
use crate::service::{
    idempotency::{IdempotentRequest, Key, Outcome, ResponseKind},
    users::Users,
};
use crate::telemetry::metrics;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A request to change something.
pub(super) struct Command<T> {
    pub(super) body: T,
    key: Option<Key>,
    fingerprint: [u8; 32],
    request_id: RequestId,
}

impl<S: Sync, T: FromFields> FromRequest<S> for Command<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let request_id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(RequestId::unknown);
        let key = read_key(request.headers());
        let mut hasher = Sha256::new();
        for part in [request.method().as_str(), " ", request.uri().path_and_query().map_or("/", |path| path.as_str()), "\n"] {
            hasher.update(part);
        }
        let body = read_json::<T>(request);
        let (key, (body, bytes)) = match (key, body) {
            (Ok(key), body) => (key, body?),
            (Err(fault), Err(Error::Validation(mut faults))) => {
                faults.insert(0, fault);
                return Err(Error::Validation(faults));
            }
            (Err(fault), Ok(_)) => return Err(Error::Validation(vec![fault])),
            (Err(_), Err(error)) => return Err(error),
        };
        hasher.update(&bytes);
        Ok(Self { body, key, fingerprint: hasher.finalize().into(), request_id })
    }
}

/// A request to change something that must have an `Idempotency-Key`, since whoever sends it repeats its messages.
pub(super) struct Keyed<T>(pub(super) Command<T>);

impl<S: Sync, T: FromFields> FromRequest<S> for Keyed<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let command = Command::from_request(request, state).await?;
        if command.key.is_some() { Ok(Self(command)) } else { Err(Error::IdempotencyKeyMissing) }
    }
}

fn read_key(headers: &HeaderMap) -> std::result::Result<Option<Key>, FieldFault> {
    let fault = |what| faults::fault("Idempotency-Key", FaultCode::InvalidKey, what);
    let mut given = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(only) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(fault("must be given once"));
    }
    let key = only.to_str().ok().and_then(|text| text.parse().ok());
    key.map(Some).ok_or_else(|| fault("must be 1 to 255 visible ASCII characters"))
}

impl<T> Command<T> {
    /// Hashes the fingerprint of a body that contains a password: it must be as hard to reverse as the password's hash.
    ///
    /// # Errors
    /// Too many passwords are being hashed.
    pub(super) async fn harden_fingerprint(mut self, users: &Users, account: AccountId) -> Result<Self> {
        if let Some(key) = &self.key {
            self.fingerprint = users.harden_fingerprint(account, key, self.fingerprint).await?;
        }
        Ok(self)
    }

    /// The request for the service, if it has a key. `body` makes the response to a success.
    pub(super) fn idempotent<R, J: Serialize>(
        &self,
        account: AccountId,
        body: impl Fn(&R) -> J + Send + Sync + 'static,
    ) -> Option<IdempotentRequest<R>> {
        let key = self.key.clone()?;
        let request_id = self.request_id.clone();
        let render = move |result: std::result::Result<&R, Refusal>| match result {
            Ok(done) => to_json(&body(done)),
            Err(refusal) => Problem::of_refusal(refusal).to_json(&request_id),
        };
        Some(IdempotentRequest { account, key, fingerprint: self.fingerprint, render: Box::new(render) })
    }
}

/// The response to a request that was done now, or the stored response of the one that was done before.
pub(super) fn respond<R, J: Serialize>(outcome: Outcome<R>, body: impl Fn(&R) -> J) -> Response {
    match outcome {
        Outcome::Fresh(done) => JsonBody(body(&done)).into_response(),
        Outcome::Stored(_, body) => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
        Outcome::Replayed(stored) => {
            metrics::replayed();
            let (status, media_type) = match stored.kind {
                ResponseKind::Success => (StatusCode::OK, "application/json"),
                ResponseKind::Refused(RefusalKind::NotFound) => (StatusCode::NOT_FOUND, "application/problem+json"),
                ResponseKind::Refused(RefusalKind::Conflict) => (StatusCode::CONFLICT, "application/problem+json"),
            };
            let mut response = (status, stored.body).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
            response.headers_mut().insert(IDEMPOTENT_REPLAYED.clone(), HeaderValue::from_static("true"));
            response
        }
    }
}

/// Serialising these types to memory cannot fail.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
