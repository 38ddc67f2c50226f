//! Refusals: requests that a rule or the current state forbids.

use super::{
    authorization::AuthorizationStatus,
    card::{CardStatus, TargetStatus},
    decision::Decision,
    money::Money,
};

/// Why a rule or the current state forbids a request.
///
/// Under an `Idempotency-Key` a refusal is stored like a success: the same request gets the same refusal again, even
/// after the state has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The account has no such customer.
    #[error("no such customer")]
    CustomerNotFound,
    /// The account has no such card.
    #[error("no such card")]
    CardNotFound,
    /// There is no such account.
    #[error("no such account")]
    AccountNotFound,
    /// The account has no such user.
    #[error("no such user")]
    UserNotFound,
    /// The user has no such live session.
    #[error("no such session")]
    SessionNotFound,
    /// The account has no such API key.
    #[error("no such API key")]
    ApiKeyNotFound,
    /// The API key is revoked, or has expired.
    #[error("API key revoked or expired")]
    ApiKeyNotActive,
    /// The customer has a card that is not cancelled, or that holds money.
    #[error("customer has cards")]
    CustomerHasCards,
    /// The person was erased.
    #[error("customer erased")]
    CustomerErased,
    /// Another customer of the account has this email.
    #[error("email taken")]
    DuplicateEmail,
    /// Another customer, or another card, of the account has this external id.
    #[error("external id taken")]
    DuplicateExternalId,
    /// With the members that are there already, there would be more metadata than there may be.
    #[error("too much metadata")]
    TooMuchMetadata,
    /// Another user of the account has this email.
    #[error("user email taken")]
    DuplicateUser,
    /// The change would leave the account without an enabled admin.
    #[error("the account's last admin")]
    LastAdmin,
    /// The card is assigned to another customer.
    #[error("card assigned to another customer")]
    CardAlreadyAssigned,
    /// The card's status machine has no such transition.
    #[error("card may not go from {from:?} to {to:?}")]
    CardTransition {
        /// The card's status.
        from: CardStatus,
        /// The requested status.
        to: TargetStatus,
    },
    /// A blocked card cannot be funded.
    #[error("card blocked")]
    CardBlocked,
    /// A cancelled card cannot be funded or assigned.
    #[error("card cancelled")]
    CardCancelled,
    /// Only an active card can pay.
    #[error("card not active but {0:?}")]
    CardNotActive(CardStatus),
    /// The card has this available, which is less than it would pay.
    #[error("insufficient funds")]
    InsufficientFunds(Money),
    /// The card's controls or limits forbid the purchase.
    #[error("payment declined")]
    PaymentDeclined(Box<Decision>),
    /// The balance would exceed [`MAX_MINOR`](super::money::MAX_MINOR).
    #[error("balance limit exceeded")]
    BalanceLimitExceeded,

    /// One of the two cards of a transfer refuses it.
    #[error("{0:?}: {1}")]
    OfTransfer(TransferEnd, Box<Refusal>),
    /// The two cards of a transfer have different currencies.
    #[error("currency mismatch")]
    CurrencyMismatch,
    /// The account has no such transfer.
    #[error("no such transfer")]
    TransferNotFound,
    /// The account has no such limit.
    #[error("no such limit")]
    LimitNotFound,
    /// The card or the customer has as many limits as it may have.
    #[error("too many limits")]
    TooManyLimits,
    /// The limit would limit neither the amount nor the number of payments.
    #[error("limit on nothing")]
    LimitOnNothing,
    /// A limit on each transaction cannot limit how many there are.
    #[error("count of a limit on each transaction")]
    CountOfTransaction,
    /// The controls have another version than the request was made for.
    #[error("version conflict")]
    VersionConflict(i64),
    /// The account has no such event in its feed.
    #[error("no such event")]
    EventNotFound,
    /// The account has no such webhook endpoint.
    #[error("no such webhook endpoint")]
    WebhookEndpointNotFound,
    /// The account has no such delivery.
    #[error("no such delivery")]
    DeliveryNotFound,
    /// The endpoint is disabled, so that nothing is sent to it.
    #[error("webhook endpoint disabled")]
    WebhookEndpointDisabled,
    /// The account has as many webhook endpoints as it may have.
    #[error("too many webhook endpoints")]
    TooManyWebhookEndpoints,
    /// The deployment has no keys for the secrets of endpoints.
    #[error("no keys for webhooks")]
    WebhooksNotConfigured,
    /// More events than this fit a replay.
    #[error("replay too large")]
    ReplayTooLarge,
    /// The account has no such authorisation.
    #[error("no such authorization")]
    AuthorizationNotFound,
    /// The account has no such movement, or it is of another kind.
    #[error("no such movement")]
    MovementNotFound,
    /// The authorisation's status does not permit the step.
    #[error("authorization not open but {0:?}")]
    AuthorizationNotOpen(AuthorizationStatus),
    /// The authorisation holds nothing, and the capture names no amount.
    #[error("nothing held to capture: {0:?}")]
    NothingHeld(AuthorizationStatus),
    /// An authorisation of the account has this network transaction id already.
    #[error("network transaction id taken")]
    DuplicateNetworkTransaction,
    /// More would be taken back than this, which is left of the movement.
    #[error("reversal exceeds its original")]
    ReversalExceedsOriginal(Money),
    /// More would be refunded than this, which is left of what was captured.
    #[error("refund exceeds what was captured")]
    RefundExceedsCapture(Money),
}

/// One of the two cards of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferEnd {
    /// The one that the money is taken from.
    From,
    /// The one that the money is given to.
    To,
}

/// The two kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// What the request names does not exist.
    NotFound,
    /// What the request names exists, and its state forbids the request.
    Conflict,
}

impl Refusal {
    /// Which kind of refusal this is.
    #[must_use]
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::CustomerNotFound
            | Self::CardNotFound
            | Self::AccountNotFound
            | Self::UserNotFound
            | Self::SessionNotFound
            | Self::ApiKeyNotFound
            | Self::AuthorizationNotFound
            | Self::EventNotFound
            | Self::WebhookEndpointNotFound
            | Self::DeliveryNotFound
            | Self::LimitNotFound
            | Self::TransferNotFound
            | Self::MovementNotFound => RefusalKind::NotFound,
            Self::DuplicateEmail
            | Self::DuplicateExternalId
            | Self::TooMuchMetadata
            | Self::ApiKeyNotActive
            | Self::DuplicateUser
            | Self::LastAdmin
            | Self::CardAlreadyAssigned
            | Self::CardTransition { .. }
            | Self::CardBlocked
            | Self::CardCancelled
            | Self::CardNotActive(_)
            | Self::InsufficientFunds(_)
            | Self::PaymentDeclined(_)
            | Self::TooManyLimits
            | Self::LimitOnNothing
            | Self::CountOfTransaction
            | Self::VersionConflict(_)
            | Self::OfTransfer(..)
            | Self::CustomerHasCards
            | Self::CustomerErased
            | Self::CurrencyMismatch
            | Self::BalanceLimitExceeded
            | Self::AuthorizationNotOpen(_)
            | Self::NothingHeld(_)
            | Self::DuplicateNetworkTransaction
            | Self::WebhookEndpointDisabled
            | Self::TooManyWebhookEndpoints
            | Self::WebhooksNotConfigured
            | Self::ReplayTooLarge
            | Self::ReversalExceedsOriginal(_)
            | Self::RefundExceedsCapture(_) => RefusalKind::Conflict,
        }
    }
}
