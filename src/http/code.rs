//! The error codes that clients switch on, each with its status, title, meaning and advice. Code, status
//! and title do not change once published. `GET /errors` lists them all.

use std::str::FromStr;

use axum::http::StatusCode;

use crate::domain::id::NotAnId;

macro_rules! codes {
    ($($variant:ident $name:literal $status:ident $title:literal means: $meaning:literal do: $advice:literal)*) => {
        /// An error code, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Code { $($variant,)* }

        impl Code {
            /// Every code.
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in JSON.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status of every response with this code.
            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// The title of every response with this code.
            pub(super) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// When this code is returned.
            pub(super) const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What the caller can do about it.
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
        means: "The body is empty, is not UTF-8, or is not one well-formed JSON object: it is incomplete, for example, or has a duplicate key. Nothing was done."
        do: "Send exactly one JSON object. The detail says where parsing failed."

    ValidationFailed "validation_failed" BAD_REQUEST "Some fields or parameters are not valid"
        means: "Fields of the body, parameters of the query or the Idempotency-Key are missing or not valid. Nothing was done."
        do: "Correct every entry of errors: each names a field and says what it accepts. The same Idempotency-Key may be sent again."

    IdempotencyKeyMissing "idempotency_key_missing" BAD_REQUEST "The request needs an Idempotency-Key"
        means: "Networks repeat messages, so that every request under /network must say which message it is. Nothing was done."
        do: "Send an Idempotency-Key that you make from the message's identity. A repeated message has the same key and gets the same response."

    AccountRequired "account_required" BAD_REQUEST "The login has to name an account"
        means: "The email and the password are those of users of several accounts. No session was started."
        do: "Send accountId as well: the id of one of the accounts that the detail lists."

    InvalidPath "invalid_path" BAD_REQUEST "The path is not valid"
        means: "The percent-decoded path is not UTF-8 or contains control characters."
        do: "Put ids into the path exactly as you received them, percent-encoded unless your client does that for you."

    InvalidRequest "invalid_request" BAD_REQUEST "The request is not valid HTTP"
        means: "The request violates HTTP. Over HTTP/1.1, for example, it has exactly one Host header: the server's name or address, and perhaps a port. Nothing was done."
        do: "Leave Host, Content-Length and Transfer-Encoding to your HTTP client. A proxy on the way may have changed them."

    Unauthenticated "unauthenticated" UNAUTHORIZED "No valid token"
        means: "There is no token or API key, or more than one, or it belongs to another environment, or its session has ended: by a logout, a password change, or because the user was disabled. An API key is mistyped, revoked or expired, or it was rolled and its overlap is over."
        do: "Send Authorization: Bearer and the token of POST /auth/login, or an API key. If you sent a token, log in again. Tokens and keys of the sandbox are not valid in production."

    InvalidCredentials "invalid_credentials" UNAUTHORIZED "Wrong email or password"
        means: "The email is unknown, the password is wrong, or the user is disabled. The response does not reveal which."
        do: "Check both, and that they belong to this environment. Do not retry in a loop: after too many failures, logins are refused for a while."

    InvalidRefreshToken "invalid_refresh_token" UNAUTHORIZED "No valid refresh token"
        means: "The refresh token is unknown or was used more than 10 seconds ago, or its session has ended. A refresh token that is used again later ends its session, since it may have been stolen."
        do: "Log in again. Store the refresh token of each response and use it once. If the response is lost, send the same one again within 10 seconds."

    TokenExpired "token_expired" FORBIDDEN "The token has expired"
        means: "The token was valid until the expiresAt that it came with."
        do: "Exchange the refresh token at POST /auth/refresh, or log in again, and repeat the request."

    InsufficientPermissions "insufficient_permissions" FORBIDDEN "The user's role does not allow this"
        means: "A viewer reads, an operator also writes customers, cards and money, an admin also manages users and API keys and reads the audit log. A network key authorises and posts payments and reads authorizations, and does nothing else. Sessions and passwords belong to users: no API key can list, end or change them."
        do: "Ask an admin of your account for another role or key, or have someone with that role do it."

    RouteNotFound "route_not_found" NOT_FOUND "No such route"
        means: "No route has this path. Paths are in lower case and have no trailing slash. Production has no paths under /sandbox."
        do: "Compare the path with GET /openapi.json."

    AccountNotFound "account_not_found" NOT_FOUND "No such account"
        means: "There is no such account in this deployment."
        do: "Check the account's id."

    UserNotFound "user_not_found" NOT_FOUND "No such user"
        means: "Your account has no user with this id. Ids of other accounts are not found either."
        do: "Use a userId exactly as you received it; GET /users lists those of your account."

    SessionNotFound "session_not_found" NOT_FOUND "No such session"
        means: "You have no session with this id, or it has ended."
        do: "GET /auth/sessions lists your active sessions. A session that has ended needs no further action."

    ApiKeyNotFound "api_key_not_found" NOT_FOUND "No such API key"
        means: "Your account has no API key with this id. Ids of other accounts are not found either."
        do: "Use an apiKeyId exactly as you received it; GET /api-keys lists those of your account."

    CustomerNotFound "customer_not_found" NOT_FOUND "No such customer"
        means: "Your account has no customer with this id. Ids of other accounts are not found either."
        do: "Use a customerId exactly as you received it; GET /customers lists those of your account."

    CardNotFound "card_not_found" NOT_FOUND "No such card"
        means: "Your account has no card with this id. Ids of other accounts are not found either."
        do: "Use a cardId exactly as you received it; GET /cards lists those of your account."

    AuthorizationNotFound "authorization_not_found" NOT_FOUND "No such authorization"
        means: "Your account has no authorization with this id, or not on this card. Ids of other accounts are not found either."
        do: "Use an authorization's id exactly as you received it; GET /authorizations lists those of your account."

    MovementNotFound "movement_not_found" NOT_FOUND "No such movement"
        means: "Your account has no movement with this id, or it is another card's, or of a kind that cannot be reversed or refunded."
        do: "Use a movement's id exactly as you received it. Captures and purchases can be reversed and refunded, refunds can be reversed; GET /cards/{cardId}/movements lists those of a card."

    TransferNotFound "transfer_not_found" NOT_FOUND "No such transfer"
        means: "The account has no transfer with this id."
        do: "Take the transferId from the answer of POST /transfers, or from a movement."

    LimitNotFound "limit_not_found" NOT_FOUND "No such limit"
        means: "The account has no limit with this id, or it was deleted."
        do: "Check the limitId; GET /cards/{cardId}/limits lists the limits of a card and of its customer."

    TooManyLimits "too_many_limits" CONFLICT "No room for another limit"
        means: "A card has at most 20 limits, and so has a customer. Nothing was created."
        do: "Delete a limit that is no longer needed, or change one."

    LimitOnNothing "limit_on_nothing" CONFLICT "The limit would limit nothing"
        means: "A limit has an amount, a count or both, and a limit on each transaction has an amount. Nothing was changed."
        do: "Send another amount or count, pause the limit with its status, or delete it."

    VersionConflict "version_conflict" CONFLICT "The controls have changed"
        means: "The request names a version of the card's controls, and they have another by now. Nothing was changed."
        do: "Read the controls with GET /cards/{cardId}/controls, and send the change with their version."

    EventNotFound "event_not_found" NOT_FOUND "No such event"
        means: "The feed of your account has no event with this id, or no longer: old events are deleted. Ids of other accounts are not found either."
        do: "Use an event's id exactly as you received it; GET /events lists those that there are."

    WebhookEndpointNotFound "webhook_endpoint_not_found" NOT_FOUND "No such webhook endpoint"
        means: "Your account has no webhook endpoint with this id, or it was deleted. Ids of other accounts are not found either."
        do: "Use a webhookEndpointId exactly as you received it; GET /webhook-endpoints lists those of your account."

    DeliveryNotFound "delivery_not_found" NOT_FOUND "No such delivery"
        means: "Your account has no delivery with this id, or no longer: old deliveries are deleted. Ids of other accounts are not found either."
        do: "Use a deliveryId exactly as you received it; GET /webhook-endpoints/{webhookEndpointId}/deliveries lists those of an endpoint."

    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "The route does not take this method"
        means: "This path exists but does not accept this method."
        do: "Use one of the methods in the Allow header."

    NotAcceptable "not_acceptable" NOT_ACCEPTABLE "No such format"
        means: "The Accept header allows none of the formats in which this response exists."
        do: "Send an Accept header with one of the media types that the detail lists, or none."

    RequestTimeout "request_timeout" REQUEST_TIMEOUT "The body did not come in time"
        means: "The request's body took longer to arrive than the server waits. Nothing was done."
        do: "Send the request again, under the same Idempotency-Key if it has one, over a faster connection."

    CustomerHasCards "customer_has_cards" CONFLICT "The customer has cards"
        means: "A person is erased once all of their cards are cancelled and hold no money: neither a balance nor holds."
        do: "Cancel the cards with PATCH /cards/status, wait until their holds end or release them, and empty them with POST /balances/withdraw or POST /transfers."

    CustomerErased "customer_erased" CONFLICT "The customer was erased"
        means: "The person was erased: their name and email are gone, and nothing more can be done for them."
        do: "Create a new customer with POST /customers."

    DuplicateEmail "duplicate_email" CONFLICT "A customer has this email"
        means: "Your account already has a customer with this email, regardless of case. No second one was created."
        do: "Find the customer in GET /customers and use its id. To make retries safe, send POST /customers with an Idempotency-Key."

    DuplicateExternalId "duplicate_external_id" CONFLICT "The external id is in use"
        means: "Your account already has a customer, or a card, with this externalId. A customer and a card may have the same one. Nothing was created or changed."
        do: "Find what has it with GET /customers?externalId= or GET /cards?externalId=. Take it away there with PATCH and \"externalId\": null, or send another one."

    TooMuchMetadata "too_much_metadata" CONFLICT "The metadata would have too many members"
        means: "A customer or a card has at most 20 members of metadata, and a change leaves those that it does not name. With them there would be more. Nothing was changed."
        do: "Take members away in the same change: send null for each."

    WebhookEndpointDisabled "endpoint_disabled" CONFLICT "The webhook endpoint is disabled"
        means: "Nothing is sent to a disabled endpoint, so nothing can be scheduled for it. Its disabledReason says why it is disabled."
        do: "Set its status to enabled with PATCH /webhook-endpoints/{webhookEndpointId} first. What happened meanwhile is then sent from where it stopped, unless resumeFrom says otherwise."

    TooManyWebhookEndpoints "too_many_webhook_endpoints" CONFLICT "The account has all the endpoints it may have"
        means: "An account has at most 20 webhook endpoints, disabled ones included."
        do: "Delete one that is not needed any more, or let one endpoint take more event types."

    WebhooksNotConfigured "webhooks_not_configured" CONFLICT "Webhooks are not set up"
        means: "The deployment lacks the key that the secrets of webhook endpoints are derived from."
        do: "Tell its operator to set webhooks.secret_keys. GET /events gives the same events meanwhile."

    ReplayTooLarge "replay_too_large" CONFLICT "Too many events to replay"
        means: "More than 100000 events fit. Nothing was scheduled."
        do: "Replay a shorter period or fewer event types. With dryRun a replay only counts."

    DuplicateUser "duplicate_user" CONFLICT "A user has this email"
        means: "A user of your account already has this email, regardless of case."
        do: "Look for the user in GET /users, or use another email."

    LastAdmin "last_admin" CONFLICT "The account's last admin"
        means: "This user is the only enabled admin of the account. Every account needs one."
        do: "Make another user an admin first."

    ApiKeyNotActive "api_key_not_active" CONFLICT "The API key is revoked or has expired"
        means: "An API key that was revoked or has expired stays so, and cannot be rolled."
        do: "Create a new key with POST /api-keys."

    CardAlreadyAssigned "card_already_assigned" CONFLICT "The card is another customer's"
        means: "A card is permanently assigned to one customer. This card is assigned to another one."
        do: "Create a new card and assign that one. GET /cards/{cardId} tells which customer a card is assigned to."

    InvalidStatusTransition "invalid_status_transition" CONFLICT "The card cannot take this status"
        means: "An inactive card can become active or cancelled, an active one blocked or cancelled, a blocked one active or cancelled. A cancelled card stays cancelled. The detail names both statuses."
        do: "Look at the card's status in GET /cards/{cardId} and request a transition that it allows."

    CardBlocked "card_blocked" CONFLICT "The card is blocked"
        means: "No funds can be added to a blocked card, and none can be transferred from it."
        do: "Set its status to active with PATCH /cards/status, then repeat the request under a new Idempotency-Key."

    CardCancelled "card_cancelled" CONFLICT "The card is cancelled"
        means: "The card is permanently cancelled: it can neither be funded nor assigned, and only what it has paid can be refunded."
        do: "Create a new card instead. POST /balances/withdraw and POST /transfers empty a cancelled card."

    CardNotActive "card_not_active" CONFLICT "The card is not active"
        means: "Only an active card can pay. The detail tells the status of this one."
        do: "Activate it with PATCH /cards/status, unless it is cancelled, and repeat the request under a new Idempotency-Key."

    InsufficientFunds "insufficient_funds" CONFLICT "The card holds too little"
        means: "The purchase, withdrawal or transfer is of more than the card's available money: its balance less what is held for authorizations. Nothing was charged."
        do: "Add funds with POST /balances/add, or wait until holds end, then repeat the request under a new Idempotency-Key."

    CurrencyMismatch "currency_mismatch" CONFLICT "The cards have different currencies"
        means: "A transfer moves money between two cards of one currency. Nothing was moved."
        do: "Transfer to a card of the same currency: GET /cards/{cardId} tells the currency of a card."

    PaymentCountReached "payment_count_reached" CONFLICT "The card has made its payments"
        means: "The card's controls let it make a number of payments (maxPayments), and it has made them. Nothing was charged."
        do: "Use another card, or raise maxPayments with PATCH /cards/{cardId}/controls while the card is not cancelled."

    MerchantLocked "merchant_locked" CONFLICT "The card is locked to another merchant"
        means: "The card's controls lock it to one merchant, and the payment is for another, or does not say for which. Nothing was charged."
        do: "Use another card, or change merchantLock with PATCH /cards/{cardId}/controls."

    MerchantBlocked "merchant_blocked" CONFLICT "The card may not pay this merchant"
        means: "The merchant is one of blockedMerchants of the card's controls. Nothing was charged."
        do: "Use another card, or change blockedMerchants with PATCH /cards/{cardId}/controls."

    MerchantNotAllowed "merchant_not_allowed" CONFLICT "The card may pay other merchants only"
        means: "The merchant is not one of allowedMerchants of the card's controls, or the payment does not say which it is. Nothing was charged."
        do: "Use another card, or change allowedMerchants with PATCH /cards/{cardId}/controls."

    MerchantCategoryBlocked "merchant_category_blocked" CONFLICT "The card may not pay merchants of this category"
        means: "The merchant's category is one of blockedCategories of the card's controls. Nothing was charged."
        do: "Use another card, or change blockedCategories with PATCH /cards/{cardId}/controls."

    MerchantCategoryNotAllowed "merchant_category_not_allowed" CONFLICT "The card may pay merchants of other categories only"
        means: "The merchant's category is not one of allowedCategories of the card's controls, or the payment does not say which it is. Nothing was charged."
        do: "Use another card, or change allowedCategories with PATCH /cards/{cardId}/controls."

    MerchantCountryBlocked "merchant_country_blocked" CONFLICT "The card may not pay merchants of this country"
        means: "The merchant's country is one of blockedCountries of the card's controls. Nothing was charged."
        do: "Use another card, or change blockedCountries with PATCH /cards/{cardId}/controls."

    MerchantCountryNotAllowed "merchant_country_not_allowed" CONFLICT "The card may pay merchants of other countries only"
        means: "The merchant's country is not one of allowedCountries of the card's controls, or the payment does not say which it is. Nothing was charged."
        do: "Use another card, or change allowedCountries with PATCH /cards/{cardId}/controls."

    EntryModeNotAllowed "entry_mode_not_allowed" CONFLICT "The card may not be used in this way"
        means: "The card's controls ask for it to be present, or not to be, and the payment is made otherwise, or does not say. Nothing was charged."
        do: "Use another card, or change cardPresent with PATCH /cards/{cardId}/controls."

    LimitTransactionExceeded "limit_transaction_exceeded" CONFLICT "A payment may not be as large"
        means: "A limit on each transaction of the card or of its customer is lower than the amount. decline.limitId names it. Nothing was charged."
        do: "Pay less, or change the limit with PATCH /limits/{limitId}."

    LimitAmountExceeded "limit_amount_exceeded" CONFLICT "A limit has too little left"
        means: "A limit of the card or of its customer has less left in its window than the amount. decline.limitId names it, and checks tell what is left. Nothing was charged."
        do: "Pay less, wait for the next window, or change the limit with PATCH /limits/{limitId}."

    LimitCountExceeded "limit_count_exceeded" CONFLICT "A limit has no payments left"
        means: "A limit of the card or of its customer has no payment left in its window. decline.limitId names it. Nothing was charged."
        do: "Wait for the next window, or change the limit with PATCH /limits/{limitId}."

    BalanceLimitExceeded "balance_limit_exceeded" CONFLICT "The card would hold too much"
        means: "A card holds at most 90071992547409.91. Nothing was added."
        do: "Add less, or use another card."

    AuthorizationNotOpen "authorization_not_open" CONFLICT "The authorization does not permit this any more"
        means: "The authorization's status does not permit this step: it holds nothing that could be changed or released, or it was never approved. The detail tells the status. Nothing was done."
        do: "Look at its status and entries in GET /authorizations/{authorizationId}. A captured, reversed or expired one can still be captured, if the request says how much; what belongs to none is posted with POST /network/captures."

    DuplicateNetworkTransaction "duplicate_network_transaction" CONFLICT "The network's transaction is known already"
        means: "Another authorization of your account has this networkTransactionId, perhaps a declined one. Nothing was recorded."
        do: "Find it with GET /authorizations?networkTransactionId=. A repeated message keeps its Idempotency-Key, and gets the response to the first one."

    ReversalExceedsOriginal "reversal_exceeds_original" CONFLICT "More than is left of the movement"
        means: "The movement, less its earlier reversals and less what refunds gave back of it, leaves less than this amount. The detail tells how much. Nothing was posted."
        do: "Reverse at most what is left. Without an amount, all that is left is reversed."

    RefundExceedsCapture "refund_exceeds_capture" CONFLICT "More than was captured"
        means: "What was captured, less what was given back and refunded already, is less than this refund. Nothing was posted."
        do: "Refund at most what is left, or post the refund without authorizationId, movementId and networkTransactionId: unlinked refunds have no bound."

    IdempotencyKeyInUse "idempotency_key_in_use" CONFLICT "The first request under this key is still running"
        means: "The first request under this Idempotency-Key has not been answered yet."
        do: "Wait for the time in Retry-After and send the same request under the same key: you get the response to the first one."

    IdempotencyKeyReused "idempotency_key_reused" UNPROCESSABLE_ENTITY "The key stands for another request"
        means: "This Idempotency-Key was used for a request with another method, path or body. Keys are kept for at least 24 hours. Nothing was done."
        do: "Give every request its own key, such as a UUID, and send the same bytes when you retry it."

    PayloadTooLarge "payload_too_large" PAYLOAD_TOO_LARGE "The body is too long"
        means: "The body has more than 65536 bytes, which is more than any request needs."
        do: "Send only the fields that are documented."

    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body is not declared as JSON"
        means: "The Content-Type is missing or is not application/json in UTF-8, or the Content-Encoding says that the body is compressed."
        do: "Send Content-Type: application/json and an uncompressed body."

    RateLimitExceeded "rate_limit_exceeded" TOO_MANY_REQUESTS "The hour's requests are used up"
        means: "The account has used all its requests of this clock hour, across all users, sessions and API keys. Or a network key, which the hour does not count, has sent more requests per second than it may. This request was not counted, and nothing was done."
        do: "Wait for the time in Retry-After. In every counted response, X-RateLimit-Remaining says how many are left and X-RateLimit-Reset when the next hour begins."

    TooManyAttempts "too_many_attempts" TOO_MANY_REQUESTS "Too many failed attempts"
        means: "Too many logins, refreshes, tokens or API keys from your address, or logins with this email, have failed."
        do: "Wait for the time in Retry-After, and find out why they fail before you try again."

    TooManyRefreshes "too_many_refreshes" TOO_MANY_REQUESTS "Too many refreshes"
        means: "The session, or all sessions of the account together, were refreshed too often in this clock hour. The refresh token was not used and stays valid."
        do: "Use each token until its expiresAt, and refresh once then. Wait for the time in Retry-After."

    InternalError "internal_error" INTERNAL_SERVER_ERROR "Internal server error"
        means: "The server failed unexpectedly."
        do: "Contact support with the requestId. A request that changes something is safe to retry under its Idempotency-Key."

    UnsupportedTransferCoding "unsupported_transfer_coding" NOT_IMPLEMENTED "The body has an unknown transfer coding"
        means: "The Transfer-Encoding is something other than chunked alone. Nothing was done."
        do: "Send the body with a Content-Length, or with Transfer-Encoding: chunked."

    Unavailable "unavailable" SERVICE_UNAVAILABLE "Not available right now"
        means: "The database is unreachable, the server is overloaded, or it is shutting down. Nothing was done."
        do: "Wait for the time in Retry-After and retry the request, under the same Idempotency-Key if it has one."

    OutcomeUnknown "outcome_unknown" SERVICE_UNAVAILABLE "Done or not done: unknown"
        means: "The connection to the database was lost during the commit: the request may or may not have been executed."
        do: "Retry the request under the same Idempotency-Key: it is executed if it was not, and you get the response either way. Without a key, check the current state before you retry."
}
