//! The code of each refusal, and what the caller can do about it.

use crate::domain::error::{Refusal, TransferEnd};
use crate::http::code::Code;

/// The code, and what the caller can do about it.
#[expect(clippy::too_many_lines, reason = "one arm for each refusal")]
pub(super) fn describe(refusal: &Refusal) -> (Code, String) {
    let (code, detail) = match refusal {
        Refusal::CustomerNotFound => (Code::CustomerNotFound, "The account has no such customer."),
        Refusal::CardNotFound => (Code::CardNotFound, "The account has no such card."),
        Refusal::CustomerHasCards => (
            Code::CustomerHasCards,
            "The customer has a card that is not cancelled, or that holds money. Cancel and empty their cards first.",
        ),
        Refusal::CustomerErased => (Code::CustomerErased, "The person was erased. Create a new customer instead."),
        Refusal::DuplicateEmail => (Code::DuplicateEmail, "The account already has a customer with this email."),
        Refusal::DuplicateExternalId => (Code::DuplicateExternalId, "The account has this external id on another one of the same kind."),
        Refusal::TooMuchMetadata => {
            (Code::TooMuchMetadata, "With the members that are there already, the metadata would have more than 20.")
        }
        Refusal::DuplicateUser => (Code::DuplicateUser, "There is already a user with this email."),
        Refusal::AccountNotFound => (Code::AccountNotFound, "There is no such account."),
        Refusal::UserNotFound => (Code::UserNotFound, "The account has no such user."),
        Refusal::SessionNotFound => (Code::SessionNotFound, "You have no such session, or it has ended."),
        Refusal::ApiKeyNotFound => (Code::ApiKeyNotFound, "The account has no such API key."),
        Refusal::ApiKeyNotActive => (Code::ApiKeyNotActive, "The API key was revoked or has expired. Create a new one instead."),
        Refusal::LastAdmin => (Code::LastAdmin, "This is the account's only enabled admin. Make another user an admin first."),
        Refusal::CardAlreadyAssigned => (Code::CardAlreadyAssigned, "The card is assigned to another customer. Create a new card instead."),
        Refusal::CardTransition { from, to } => {
            let (from, to) = (from.name(), to.status().name());
            return (Code::InvalidStatusTransition, format!("A card cannot go from {from} to {to}."));
        }
        Refusal::CardBlocked => (Code::CardBlocked, "The card is blocked. Set its status to active first."),
        Refusal::CardCancelled => (Code::CardCancelled, "The card is permanently cancelled. Create a new card instead."),
        Refusal::CardNotActive(status) => {
            return (Code::CardNotActive, format!("The card is {}; only an active card can pay.", status.name()));
        }
        Refusal::InsufficientFunds(available) => {
            return (Code::InsufficientFunds, format!("The card has {} available, which is less than this takes.", available.to_json()));
        }
        Refusal::PaymentDeclined(decision) => {
            let decline = decision.verdict.decline();
            // The codes of declines are codes of errors too.
            let code = decline.and_then(|decline| decline.code.name().parse().ok()).unwrap_or(Code::InternalError);
            return (code, decline.map_or_else(String::new, |decline| decline.message.clone()));
        }
        Refusal::BalanceLimitExceeded => (Code::BalanceLimitExceeded, "The balance would exceed the maximum of 90071992547409.91."),
        Refusal::AuthorizationNotFound => (Code::AuthorizationNotFound, "The account, or the card, has no such authorization."),
        Refusal::WebhookEndpointNotFound => (Code::WebhookEndpointNotFound, "The account has no such webhook endpoint."),
        Refusal::DeliveryNotFound => (Code::DeliveryNotFound, "The account has no such delivery."),
        Refusal::WebhookEndpointDisabled => {
            (Code::WebhookEndpointDisabled, "The webhook endpoint is disabled. Set its status to enabled first.")
        }
        Refusal::TooManyWebhookEndpoints => {
            (Code::TooManyWebhookEndpoints, "The account has 20 webhook endpoints already. Delete one first.")
        }
        Refusal::WebhooksNotConfigured => {
            (Code::WebhooksNotConfigured, "This deployment has no keys for the secrets of webhook endpoints (webhooks.secret_keys).")
        }
        Refusal::ReplayTooLarge => (Code::ReplayTooLarge, "More than 100000 events fit. Replay a shorter period, or fewer types."),
        Refusal::OfTransfer(end, refusal) => {
            let (code, detail) = describe(refusal);
            let field = match end {
                TransferEnd::From => "fromCardId",
                TransferEnd::To => "toCardId",
            };
            return (code, format!("{field}: {detail}"));
        }
        Refusal::CurrencyMismatch => {
            (Code::CurrencyMismatch, "The cards have different currencies. Money moves between cards of one currency.")
        }
        Refusal::TransferNotFound => (Code::TransferNotFound, "The account has no such transfer."),
        Refusal::LimitNotFound => (Code::LimitNotFound, "The account has no such limit."),
        Refusal::TooManyLimits => (Code::TooManyLimits, "The card or the customer has 20 limits already. Delete one first."),
        Refusal::LimitOnNothing => (Code::LimitOnNothing, "A limit needs an amount or a count. Delete it instead."),
        Refusal::CountOfTransaction => {
            (Code::LimitOnNothing, "A limit on each transaction has an amount and no count. Create a limit on a window instead.")
        }
        Refusal::VersionConflict(version) => {
            return (Code::VersionConflict, format!("The controls have version {version} by now. Read them, and send the change again."));
        }
        Refusal::EventNotFound => (Code::EventNotFound, "The feed of the account has no such event."),
        Refusal::MovementNotFound => (Code::MovementNotFound, "The account, or the card, has no such movement of this kind."),
        Refusal::AuthorizationNotOpen(status) => {
            return (
                Code::AuthorizationNotOpen,
                format!("The authorization is {} and holds nothing that this could change.", status.name()),
            );
        }
        Refusal::NothingHeld(status) => {
            return (
                Code::AuthorizationNotOpen,
                format!("The authorization is {} and holds nothing. To capture it late, send an amount.", status.name()),
            );
        }
        Refusal::DuplicateNetworkTransaction => {
            (Code::DuplicateNetworkTransaction, "Another authorization has this networkTransactionId. Nothing was decided.")
        }
        Refusal::ReversalExceedsOriginal(left) => {
            return (Code::ReversalExceedsOriginal, format!("Of this movement {} is left to reverse.", left.to_json()));
        }
        Refusal::RefundExceedsCapture(left) => {
            let left = left.to_json();
            return (
                Code::RefundExceedsCapture,
                format!("Of what was captured {left} is left to refund. Post the refund without a link if it is right."),
            );
        }
    };
    (code, detail.to_owned())
}
