//! The codes that clients switch on: each with its one status, its title, what it means and what to do
//! about it. Code, status and title do not change once published; `GET /errors` tells all of it.

use std::str::FromStr;

use axum::http::StatusCode;

use crate::domain::id::NotAnId;

macro_rules! codes {
    ($($variant:ident $name:literal $status:ident $title:literal means: $meaning:literal do: $advice:literal)*) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Code { $($variant,)* }

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

            /// When it is answered.
            pub(super) const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What whoever gets it can do.
            pub(super) const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

impl FromStr for Code {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        Self::ALL.iter().copied().find(|code| code.name() == text).ok_or(NotAnId)
    }
}

codes! {
    InvalidJson "invalid_json" BAD_REQUEST "The body is not a JSON object"
        means: "The body is empty, is not UTF-8, or is not one sound JSON object: something is cut off, or a key stands in it twice. Nothing was done."
        do: "Send exactly one JSON object. The detail says where reading it ended."

    ValidationFailed "validation_failed" BAD_REQUEST "Some fields or parameters are not valid"
        means: "Fields of the body, parameters of the query or the Idempotency-Key are missing or not what they must be. Nothing was done."
        do: "Correct every entry of errors: each names a field and says what it takes. The same Idempotency-Key may be sent again."

    InvalidPath "invalid_path" BAD_REQUEST "The path is not valid"
        means: "The path is not UTF-8 once its percent-encoding is undone, or has control characters in it."
        do: "Put ids into the path as they were answered, percent-encoded if your client does not do that by itself."

    Unauthenticated "unauthenticated" UNAUTHORIZED "No valid token"
        means: "There is no token, or more than one, or it is not one of this environment, or its session is over: by a logout, by another password, or because the user was kept out."
        do: "Send Authorization: Bearer and the token of POST /auth/login. If you did, log in again. A sandbox's token is none in production."

    InvalidCredentials "invalid_credentials" UNAUTHORIZED "Wrong email or password"
        means: "The email is unknown, the password is wrong, or the user is kept out: which of them is told to nobody."
        do: "Check both, and which environment they are of. Do not try over and over: after too many failures nothing is heard for a while."

    InvalidRefreshToken "invalid_refresh_token" UNAUTHORIZED "No valid refresh token"
        means: "The refresh token is unknown or was used before, or its session is over. One that comes a second time ends its session, since somebody may have a copy."
        do: "Log in again. Keep the refresh token of each answer, and use it once."

    TokenExpired "token_expired" FORBIDDEN "The token has expired"
        means: "The token was good, until the expiresAt that it came with."
        do: "Exchange the refresh token at POST /auth/refresh, or log in again, and repeat the request."

    InsufficientPermissions "insufficient_permissions" FORBIDDEN "The user's role does not allow this"
        means: "A viewer reads, an operator also writes customers, cards and money, an admin also manages users and reads the audit trail."
        do: "Ask an admin of your account for another role, or let somebody do it who has one."

    RouteNotFound "route_not_found" NOT_FOUND "No such route"
        means: "There is nothing at this path. Paths are in lower case and have no slash at their end. Those under /sandbox are not there in production."
        do: "Compare the path with GET /openapi.json."

    AccountNotFound "account_not_found" NOT_FOUND "No such account"
        means: "There is no such account in this deployment."
        do: "Check the account's id."

    UserNotFound "user_not_found" NOT_FOUND "No such user"
        means: "Your account has no user with this id. Another account's is not found either."
        do: "Use a userId as it was answered; GET /users lists those of your account."

    SessionNotFound "session_not_found" NOT_FOUND "No such session"
        means: "You have no session with this id, or it is over."
        do: "GET /auth/sessions lists those that live. One that is over needs no ending."

    CustomerNotFound "customer_not_found" NOT_FOUND "No such customer"
        means: "Your account has no customer with this id. Another account's is not found either."
        do: "Use a customerId as it was answered; GET /customers lists those of your account."

    CardNotFound "card_not_found" NOT_FOUND "No such card"
        means: "Your account has no card with this id. Another account's is not found either."
        do: "Use a cardId as it was answered; GET /cards lists those of your account."

    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "The route does not take this method"
        means: "There is something at this path, but not for this method."
        do: "Use one of the methods in the Allow header."

    RequestTimeout "request_timeout" REQUEST_TIMEOUT "The body did not come in time"
        means: "The request's body took longer to arrive than the server waits. Nothing was done."
        do: "Send the request again, under the same Idempotency-Key if it has one, over a connection that is up to it."

    DuplicateEmail "duplicate_email" CONFLICT "A customer has this email"
        means: "Your account already has a customer with this email, whatever its case. No second one was created."
        do: "Find the customer in GET /customers and use its id. To be safe to repeat, send POST /customers with an Idempotency-Key."

    DuplicateUser "duplicate_user" CONFLICT "A user has this email"
        means: "Somebody already logs in with this email, in your account or in another of this deployment."
        do: "Use another email, or look for the user in GET /users."

    LastAdmin "last_admin" CONFLICT "The account's last admin"
        means: "This user is the only enabled admin of the account. Without one nobody could manage it."
        do: "Make somebody else an admin first."

    CardAlreadyAssigned "card_already_assigned" CONFLICT "The card is another customer's"
        means: "A card is assigned to one customer, for good. This one has another."
        do: "Create a new card and assign that one. GET /cards/{cardId} says whose a card is."

    InvalidStatusTransition "invalid_status_transition" CONFLICT "The card cannot take this status"
        means: "An inactive card can become active or cancelled, an active one blocked or cancelled, a blocked one active or cancelled. A cancelled card stays so. The detail says from and to."
        do: "Look at the card's status in GET /cards/{cardId} and go by a step that there is."

    CardBlocked "card_blocked" CONFLICT "The card is blocked"
        means: "No funds can be added to a blocked card."
        do: "Set its status to active with PATCH /cards/status, then repeat the request under a new Idempotency-Key."

    CardCancelled "card_cancelled" CONFLICT "The card is cancelled"
        means: "The card is cancelled, which is for good: it can neither be funded nor refunded nor assigned."
        do: "Create a new card instead."

    CardNotActive "card_not_active" CONFLICT "The card is not active"
        means: "Only an active card can pay. The detail says what this one is."
        do: "Activate it with PATCH /cards/status, unless it is cancelled, and repeat the request under a new Idempotency-Key."

    InsufficientFunds "insufficient_funds" CONFLICT "The card holds too little"
        means: "The purchase costs more than is on the card. Nothing was taken."
        do: "Add funds with POST /balances/add, then repeat the purchase under a new Idempotency-Key."

    BalanceLimitExceeded "balance_limit_exceeded" CONFLICT "The card would hold too much"
        means: "A card holds at most 90071992547409.91. Nothing was added."
        do: "Add less, or use another card."

    IdempotencyKeyInUse "idempotency_key_in_use" CONFLICT "The first request under this key is still running"
        means: "The first request under this Idempotency-Key has not been answered yet."
        do: "Wait as Retry-After says and send the same request under the same key: you get the first one's answer."

    IdempotencyKeyReused "idempotency_key_reused" UNPROCESSABLE_ENTITY "The key stands for another request"
        means: "This Idempotency-Key was used for a request with another method, path or body. Keys are kept for at least 24 hours. Nothing was done."
        do: "Give every request a key of its own, such as a UUID, and send the same bytes when you repeat it."

    PayloadTooLarge "payload_too_large" PAYLOAD_TOO_LARGE "The body is too long"
        means: "The body has more than 16384 bytes, which is more than anything here needs."
        do: "Send only the fields that are documented."

    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body is not declared as JSON"
        means: "The Content-Type is missing or is not application/json in UTF-8."
        do: "Send Content-Type: application/json."

    RateLimitExceeded "rate_limit_exceeded" TOO_MANY_REQUESTS "The hour's requests are used up"
        means: "The account has made as many requests in this clock hour as it may, over all its users and sessions. This one was not counted, and nothing was done."
        do: "Wait as Retry-After says. X-RateLimit-Remaining on every answer says how many are left, X-RateLimit-Reset when the next hour begins."

    TooManyAttempts "too_many_attempts" TOO_MANY_REQUESTS "Too many failed attempts"
        means: "Too many logins, refreshes or tokens from your address, or logins with this email, were not good."
        do: "Wait as Retry-After says, and find out why they fail before trying on."

    InternalError "internal_error" INTERNAL_SERVER_ERROR "Internal server error"
        means: "Something is wrong on this side."
        do: "Contact support with the requestId. A request that changes something is safe to repeat under its Idempotency-Key."

    Unavailable "unavailable" SERVICE_UNAVAILABLE "Not available right now"
        means: "The database is away, too much is under way, or this server is about to end. Nothing was done."
        do: "Wait as Retry-After says and repeat the request, under the same Idempotency-Key if it has one."

    OutcomeUnknown "outcome_unknown" SERVICE_UNAVAILABLE "Done or not done: unknown"
        means: "The database was lost while it was committing: what you asked for may or may not have been done."
        do: "Repeat the request under the same Idempotency-Key: you get the answer if it was done, and it is done if it was not. Without a key, look before you repeat."
}
