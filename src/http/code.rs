//! The codes that clients switch on. Each has one status and one title; neither changes once published.

use axum::http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code.
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name on the wire.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its one status.
            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// Its one title.
            pub(super) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    InvalidJson => "invalid_json", BAD_REQUEST, "The body is not a JSON object";
    ValidationFailed => "validation_failed", BAD_REQUEST, "Some fields or parameters are not valid";
    InvalidPath => "invalid_path", BAD_REQUEST, "The path is not valid";
    Unauthenticated => "unauthenticated", UNAUTHORIZED, "No valid token";
    InvalidCredentials => "invalid_credentials", UNAUTHORIZED, "Wrong email or password";
    InvalidRefreshToken => "invalid_refresh_token", UNAUTHORIZED, "No valid refresh token";
    TokenExpired => "token_expired", FORBIDDEN, "The token has expired";
    InsufficientPermissions => "insufficient_permissions", FORBIDDEN, "The user's role does not allow this";
    RouteNotFound => "route_not_found", NOT_FOUND, "No such route";
    AccountNotFound => "account_not_found", NOT_FOUND, "No such account";
    UserNotFound => "user_not_found", NOT_FOUND, "No such user";
    SessionNotFound => "session_not_found", NOT_FOUND, "No such session";
    CustomerNotFound => "customer_not_found", NOT_FOUND, "No such customer";
    CardNotFound => "card_not_found", NOT_FOUND, "No such card";
    MethodNotAllowed => "method_not_allowed", METHOD_NOT_ALLOWED, "The route does not take this method";
    RequestTimeout => "request_timeout", REQUEST_TIMEOUT, "The body did not come in time";
    DuplicateEmail => "duplicate_email", CONFLICT, "A customer has this email";
    DuplicateUser => "duplicate_user", CONFLICT, "A user has this email";
    LastAdmin => "last_admin", CONFLICT, "The account's last admin";
    CardAlreadyAssigned => "card_already_assigned", CONFLICT, "The card is another customer's";
    InvalidStatusTransition => "invalid_status_transition", CONFLICT, "The card cannot take this status";
    CardBlocked => "card_blocked", CONFLICT, "The card is blocked";
    CardCancelled => "card_cancelled", CONFLICT, "The card is cancelled";
    CardNotActive => "card_not_active", CONFLICT, "The card is not active";
    InsufficientFunds => "insufficient_funds", CONFLICT, "The card holds too little";
    BalanceLimitExceeded => "balance_limit_exceeded", CONFLICT, "The card would hold too much";
    IdempotencyKeyInUse => "idempotency_key_in_use", CONFLICT, "The first request under this key is still running";
    IdempotencyKeyReused => "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The key stands for another request";
    PayloadTooLarge => "payload_too_large", PAYLOAD_TOO_LARGE, "The body is too long";
    UnsupportedMediaType => "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body is not declared as JSON";
    RateLimitExceeded => "rate_limit_exceeded", TOO_MANY_REQUESTS, "The hour's requests are used up";
    TooManyAttempts => "too_many_attempts", TOO_MANY_REQUESTS, "Too many failed attempts";
    InternalError => "internal_error", INTERNAL_SERVER_ERROR, "Internal server error";
    Unavailable => "unavailable", SERVICE_UNAVAILABLE, "Not available right now";
    OutcomeUnknown => "outcome_unknown", SERVICE_UNAVAILABLE, "Done or not done: unknown";
}
