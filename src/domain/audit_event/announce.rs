//! What the events of the audit log announce in the feed of their account.

use serde_json::json;

use super::{Event, text_of};
use crate::domain::{
    card::CardStatus,
    feed_event::{Announcement, FeedEventType},
};

impl Event {
    /// What it announces in the feed of its account. None for what concerns only the account itself, such as a login.
    #[must_use]
    pub fn announce(self) -> Option<Announcement> {
        let (event_type, card, data) = match self {
            Self::CustomerCreated { customer } => (FeedEventType::CustomerCreated, None, json!({"customer": {"customerId": customer}})),
            Self::CustomerChanged { customer, fields } => {
                let data = json!({"customer": {"customerId": customer}, "changed": fields.names()});
                (FeedEventType::CustomerUpdated, None, data)
            }
            Self::CustomerErased { customer } => (FeedEventType::CustomerErased, None, json!({"customer": {"customerId": customer}})),
            Self::CardCreated { card, currency, sequence } => {
                let status = CardStatus::Inactive.name();
                let data = json!({"card": {"cardId": card, "status": status, "currency": currency.code(), "customerId": null}});
                (FeedEventType::CardCreated, Some((card, sequence)), data)
            }
            Self::CardAssigned { card, customer, sequence } => {
                (FeedEventType::CardAssigned, Some((card, sequence)), json!({"card": {"cardId": card, "customerId": customer}}))
            }
            Self::CardStatusChanged { card, from, to, sequence } => {
                let data = json!({"card": {"cardId": card, "status": to.name()}, "previousStatus": from.name()});
                (FeedEventType::of_status(to)?, Some((card, sequence)), data)
            }
            Self::CardReplaced { card, replacement, reason, sequence } => {
                let data = json!({"card": {"cardId": card, "replacedBy": replacement}, "reason": reason.name()});
                (FeedEventType::CardReplaced, Some((card, sequence)), data)
            }
            Self::CardChanged { card, fields, sequence } => {
                let data = json!({"card": {"cardId": card}, "changed": fields.names()});
                (FeedEventType::CardUpdated, Some((card, sequence)), data)
            }
            Self::CardControlsChanged { card, after, sequence, .. } => {
                let data = json!({"card": {"cardId": card, "controls": after}});
                (FeedEventType::CardControlsUpdated, Some((card, sequence)), data)
            }
            Self::LimitCreated { card, after, .. } => (FeedEventType::LimitCreated, card, json!({"limit": after})),
            Self::LimitChanged { card, after, .. } => (FeedEventType::LimitUpdated, card, json!({"limit": after})),
            Self::LimitDeleted { card, before, .. } => (FeedEventType::LimitDeleted, card, json!({"limit": before})),
            Self::ApiKeyCreated { key, role, expires_at } => {
                let data = json!({"apiKey": {"apiKeyId": key, "role": role.name(), "expiresAt": expires_at.map(text_of)}});
                (FeedEventType::ApiKeyCreated, None, data)
            }
            Self::ApiKeyRolled { key, to, .. } => {
                (FeedEventType::ApiKeyRolled, None, json!({"apiKey": {"apiKeyId": key, "overlapEndsAt": to.map(text_of)}}))
            }
            Self::WebhookEndpointEnabled { endpoint } => {
                let data = json!({"webhookEndpoint": {"webhookEndpointId": endpoint, "status": "enabled"}});
                (FeedEventType::WebhookEndpointEnabled, None, data)
            }
            Self::WebhookEndpointDisabled { endpoint, reason } => {
                let endpoint = json!({"webhookEndpointId": endpoint, "status": "disabled", "disabledReason": reason.name()});
                (FeedEventType::WebhookEndpointDisabled, None, json!({"webhookEndpoint": endpoint}))
            }
            Self::ApiKeyRevoked { key } => (FeedEventType::ApiKeyRevoked, None, json!({"apiKey": {"apiKeyId": key}})),
            Self::Login { .. }
            | Self::LoginFailed { .. }
            | Self::Logout { .. }
            | Self::Refresh { .. }
            | Self::RefreshTokenReused { .. }
            | Self::SessionEnded { .. }
            | Self::PasswordChanged { .. }
            | Self::PermissionRefused { .. }
            | Self::QuotaExhausted { .. }
            | Self::AccountCreated { .. }
            | Self::UserCreated { .. }
            | Self::UserRoleChanged { .. }
            | Self::UserDisabled { .. }
            | Self::UserEnabled { .. }
            | Self::EventFeedChanged { .. }
            | Self::WebhookEndpointCreated { .. }
            | Self::WebhookEndpointChanged { .. }
            | Self::WebhookEndpointDeleted { .. }
            | Self::WebhookSecretRotated { .. }
            // The ledger tells of it, with the entry.
            | Self::AuthorizationReleased { .. } => return None,
        };
        Some(Announcement { event_type, card, data })
    }
}
