//! Error responses: one exhaustive table from each failure to its status, code and detail (RFC 9457,
//! `application/problem+json`).

mod refusals;

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    authorization_body::DeclineBody,
    code::Code,
    faults::FaultCode,
    middleware::request_id::RequestId,
    openapi::{payment_schema::CheckSchema, schema},
};
use crate::domain::{
    decision::{Check, Decision},
    error::Refusal,
    quota::QuotaSnapshot,
};
use crate::service::error::Error as ServiceError;

/// The result of a handler.
pub(super) type Result<T> = std::result::Result<T, Error>;

/// What is wrong with one field of a body or one parameter of a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct FieldFault {
    /// The name of the field or parameter; `query` for a parameter whose name is not repeated.
    pub(super) field: Cow<'static, str>,
    /// For programs.
    pub(super) code: FaultCode,
    /// For people.
    pub(super) detail: String,
}

/// Every way a request can fail.
#[derive(Debug)]
pub(super) enum Error {
    /// The service refused the request or failed.
    Service(ServiceError),
    /// The body is not one JSON object.
    InvalidJson(String),
    /// Every field and parameter that is not valid.
    Validation(Vec<FieldFault>),
    /// The request needs an `Idempotency-Key`.
    IdempotencyKeyMissing,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The `Accept` header allows none of these media types, which are all that there are.
    NotAcceptable(&'static [&'static str]),
    /// The body is longer than this many bytes, which is more than any request needs.
    PayloadTooLarge(u64),
    /// The body did not arrive in time.
    RequestTimeout,
    /// The path is not UTF-8 or contains control characters.
    InvalidPath,
    /// No such route.
    RouteNotFound,
    /// The route has no such method.
    MethodNotAllowed,
    /// The `Host` header is missing, repeated or not valid.
    InvalidHost,
    /// The body has a transfer coding other than `chunked`.
    UnsupportedTransferCoding,
    /// The process is shutting down.
    ShuttingDown,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Service(refusal.into())
    }
}

impl From<ServiceError> for Error {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

/// A failure, as a response extension. `middleware::problem` writes the body, which needs the request's
/// id, and `middleware::access_log` logs the cause.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) detail: String,
    pub(super) faults: Vec<FieldFault>,
    /// The decision on a purchase that was declined.
    pub(super) declined: Option<Box<Decision>>,
    pub(super) cause: Option<Arc<ServiceError>>,
}

impl Problem {
    /// The problem that describes a refusal.
    pub(super) fn of_refusal(refusal: Refusal) -> Self {
        let (code, detail) = refusals::describe(&refusal);
        let declined = match refusal {
            Refusal::PaymentDeclined(decision) => Some(decision),
            _ => None,
        };
        Self { code, detail, faults: Vec::new(), declined, cause: None }
    }

    /// The body.
    pub(super) fn to_json(&self, id: &RequestId) -> Vec<u8> {
        let body = ProblemBody {
            r#type: format!("/errors/{}", self.code.name()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code.name(),
            request_id: id.as_str(),
            errors: &self.faults,
            decline: self.declined.as_ref().and_then(|decision| Some(decision.verdict.decline()?.into())),
            checks: self.declined.as_ref().map(|decision| decision.checks.as_slice()),
        };
        // Serialising this type to memory cannot fail.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// RFC 9457, extended by `code`, `requestId` and `errors`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProblemBody<'a> {
    /// A link to the code's meaning and what to do about it.
    #[schemars(extend("format" = "uri-reference"))]
    r#type: String,
    /// A short description of the code.
    title: &'static str,
    /// The HTTP status.
    #[schemars(schema_with = "schema::error_status")]
    status: u16,
    /// What went wrong this time, and what can be done about it. For people.
    detail: &'a str,
    #[schemars(with = "Code")]
    code: &'static str,
    /// The request's id, as in `X-Request-Id`. For support.
    request_id: &'a str,
    /// Every field and parameter that is not valid.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldFault],
    /// Why the card's controls or limits forbid the purchase.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeclineBody")]
    decline: Option<DeclineBody>,
    /// Every check of the card's controls and limits, if one of them forbids the purchase.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<CheckSchema>")]
    checks: Option<&'a [Check]>,
}

impl Error {
    /// The code, and what the caller can do about it.
    fn describe(&self) -> (Code, String) {
        match self {
            Self::Service(error) => describe_service(error),
            Self::InvalidJson(detail) => (Code::InvalidJson, detail.clone()),
            Self::Validation(faults) => {
                let details: Vec<&str> = faults.iter().map(|fault| fault.detail.as_str()).collect();
                (Code::ValidationFailed, details.join(" "))
            }
            Self::IdempotencyKeyMissing => (
                Code::IdempotencyKeyMissing,
                "Send an Idempotency-Key: each message of the network has its own, and keeps it when it is repeated.".to_owned(),
            ),
            Self::UnsupportedMediaType => {
                (Code::UnsupportedMediaType, "Send the body as uncompressed JSON in UTF-8, with Content-Type: application/json.".to_owned())
            }
            Self::NotAcceptable(media_types) => {
                (Code::NotAcceptable, format!("Send an Accept header that allows one of: {}.", media_types.join(", ")))
            }
            Self::PayloadTooLarge(max) => (Code::PayloadTooLarge, format!("The body is longer than {max} bytes.")),
            Self::RequestTimeout => (Code::RequestTimeout, "The body took too long to arrive. Nothing was done; send it again.".to_owned()),
            Self::InvalidPath => (Code::InvalidPath, "The percent-decoded path is not UTF-8 or contains control characters.".to_owned()),
            Self::RouteNotFound => (Code::RouteNotFound, "No route has this path; GET / says where the list of routes is.".to_owned()),
            Self::MethodNotAllowed => {
                (Code::MethodNotAllowed, "This path does not accept this method; the Allow header lists the accepted ones.".to_owned())
            }
            Self::InvalidHost => (
                Code::InvalidRequest,
                "Send exactly one Host header: the name or address of this server, and its port if it is not 80.".to_owned(),
            ),
            Self::UnsupportedTransferCoding => (
                Code::UnsupportedTransferCoding,
                "Send the body with a Content-Length, or with Transfer-Encoding: chunked alone.".to_owned(),
            ),
            Self::ShuttingDown => (Code::Unavailable, "This server is shutting down. Try again.".to_owned()),
        }
    }
}

fn describe_service(error: &ServiceError) -> (Code, String) {
    let (code, detail) = match error {
        ServiceError::Unauthenticated => {
            (Code::Unauthenticated, "Send a valid token or API key as Authorization: Bearer <token>; POST /auth/login issues a token.")
        }
        ServiceError::TokenExpired => (Code::TokenExpired, "The token has expired. Log in again, or refresh it."),
        ServiceError::InsufficientPermissions(role) => {
            return (Code::InsufficientPermissions, format!("The role {} may not do this.", role.name()));
        }
        ServiceError::SessionRequired => (
            Code::InsufficientPermissions,
            "This is about the caller's own session or password, and an API key has neither. Send a user's token instead.",
        ),
        ServiceError::UnknownRole => {
            (Code::InsufficientPermissions, "Your role was added by a version of the service that is being installed. Try again.")
        }
        ServiceError::InvalidCredentials => (Code::InvalidCredentials, "The email or the password is wrong."),
        ServiceError::AccountRequired(accounts) => {
            let accounts: Vec<String> = accounts.iter().map(ToString::to_string).collect();
            return (Code::AccountRequired, format!("Several accounts have this login. Send accountId, one of: {}.", accounts.join(", ")));
        }
        ServiceError::HoldEndOutOfRange => (Code::ValidationFailed, "The expiresAt is not 1 minute to 60 days ahead."),
        ServiceError::InFuture => (Code::ValidationFailed, "The moment is in the future."),
        ServiceError::WrongPassword => (Code::ValidationFailed, "The current password is another one."),
        ServiceError::InvalidRefreshToken => {
            (Code::InvalidRefreshToken, "The refresh token is unknown, already used or expired. Log in again.")
        }
        ServiceError::QuotaExceeded(QuotaSnapshot { limit, .. }) => {
            return (
                Code::RateLimitExceeded,
                format!("The account has used its {limit} requests of this hour. Wait for the time in Retry-After."),
            );
        }
        ServiceError::GatewayLimitExceeded { .. } => {
            (Code::RateLimitExceeded, "This API key sends more requests per second than it may. Wait for the time in Retry-After.")
        }
        ServiceError::TooManyAttempts { .. } => (Code::TooManyAttempts, "Too many failed attempts. Wait for the time in Retry-After."),
        ServiceError::TooManyRefreshes { .. } => (
            Code::TooManyRefreshes,
            "The session, or all sessions of the account together, were refreshed too often in this hour. Wait for the time in Retry-After.",
        ),
        ServiceError::Refused(refusal) => return refusals::describe(refusal),
        ServiceError::IdempotencyKeyReused => {
            (Code::IdempotencyKeyReused, "This Idempotency-Key was used for a request with another method, path or body. Use a new key.")
        }
        ServiceError::IdempotencyKeyInUse => {
            (Code::IdempotencyKeyInUse, "The first request under this Idempotency-Key is still running. Try again to get its response.")
        }
        ServiceError::LaterVersion(_) => {
            (Code::Unavailable, "This was written by a version of the service that is being installed. Nothing was done; try again.")
        }
        ServiceError::Overloaded => (Code::Unavailable, "Too many requests are in flight. Nothing was done; try again."),
        ServiceError::DatabaseUnavailable(_) => (Code::Unavailable, "The database cannot be reached. Nothing was done; try again."),
        ServiceError::OutcomeUnknown(_) => {
            (Code::OutcomeUnknown, "The connection to the database was lost during the commit: this may or may not have been done.")
        }
        ServiceError::Internal { .. } => (Code::InternalError, "The server failed unexpectedly. Contact support with the requestId."),
    };
    (code, detail.to_owned())
}

impl Error {
    /// How long to wait before a retry, if a retry can succeed.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Service(ServiceError::QuotaExceeded(quota)) => Some(quota.retry_after),
            Self::Service(
                ServiceError::TooManyAttempts { retry_after }
                | ServiceError::TooManyRefreshes { retry_after }
                | ServiceError::GatewayLimitExceeded { retry_after },
            ) => Some(*retry_after),
            Self::Service(
                ServiceError::LaterVersion(_)
                | ServiceError::Overloaded
                | ServiceError::DatabaseUnavailable(_)
                | ServiceError::OutcomeUnknown(_)
                | ServiceError::IdempotencyKeyInUse,
            )
            | Self::ShuttingDown => Some(Duration::from_secs(1)),
            Self::Service(_)
            | Self::InvalidJson(_)
            | Self::Validation(_)
            | Self::IdempotencyKeyMissing
            | Self::UnsupportedMediaType
            | Self::NotAcceptable(_)
            | Self::PayloadTooLarge(_)
            | Self::RequestTimeout
            | Self::InvalidPath
            | Self::RouteNotFound
            | Self::MethodNotAllowed
            | Self::InvalidHost
            | Self::UnsupportedTransferCoding => None,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (code, detail) = self.describe();
        let retry_after = self.retry_after();
        let declined = match &self {
            Self::Service(ServiceError::Refused(Refusal::PaymentDeclined(decision))) => Some(decision.clone()),
            _ => None,
        };
        let (faults, cause) = match self {
            Self::Validation(faults) => (faults, None),
            Self::Service(error) => (Vec::new(), Some(Arc::new(error))),
            _ => (Vec::new(), None),
        };
        let mut response = code.status().into_response();
        let headers = response.headers_mut();
        if let Some(wait) = retry_after {
            // Rounded up, so that a client that waits this long is not a fraction of a second early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if code.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(code, Code::RequestTimeout | Code::InvalidRequest | Code::UnsupportedTransferCoding) {
            // The rest of the body may still arrive and must not be read as the next request. A proxy may also read a
            // request that violates HTTP as another one.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Problem { code, detail, faults, declined, cause });
        response
    }
}
