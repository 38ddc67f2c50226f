//! The events of the audit log. Pure: each event has a type, a subject, and the state before and after.

mod announce;

use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::domain::{
    card::{CardStatus, ReplacementReason},
    card_details::CardChanges,
    currency::Currency,
    customer::CustomerChanges,
    id::{AccountId, ApiKeyId, AuthorizationId, CardId, CustomerId, LimitId, NotAnId, SessionId, UserId, WebhookEndpointId},
    money::Money,
    role::{Permission, Role},
    webhook::endpoint::{DisabledReason, EndpointChanges},
};

/// The resource that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A tenant.
    Account(AccountId),
    /// A user.
    User(UserId),
    /// A session.
    Session(SessionId),
    /// A customer.
    Customer(CustomerId),
    /// A card.
    Card(CardId),
    /// An API key.
    ApiKey(ApiKeyId),
    /// An authorisation.
    Authorization(AuthorizationId),
    /// A webhook endpoint.
    WebhookEndpoint(WebhookEndpointId),
    /// A limit.
    Limit(LimitId),
}

impl FromStr for Subject {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let account = text.parse().map(Self::Account);
        let user = || text.parse().map(Self::User);
        let session = || text.parse().map(Self::Session);
        let customer = || text.parse().map(Self::Customer);
        let card = || text.parse().map(Self::Card);
        let api_key = || text.parse().map(Self::ApiKey);
        let authorization = || text.parse().map(Self::Authorization);
        let endpoint = || text.parse().map(Self::WebhookEndpoint);
        let limit = || text.parse().map(Self::Limit);
        account
            .or_else(|_| user())
            .or_else(|_| session())
            .or_else(|_| customer())
            .or_else(|_| card())
            .or_else(|_| api_key())
            .or_else(|_| authorization())
            .or_else(|_| endpoint())
            .or_else(|_| limit())
    }
}

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident => $name:literal;)*) => {
        /// The type of an event, for filters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EventType { $($(#[$doc])* $variant,)* }

        impl EventType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in JSON and in the database.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

event_types! {
    /// A login.
    Login => "login";
    /// A login with a wrong password, or of a disabled user.
    LoginFailed => "login_failed";
    /// A logout.
    Logout => "logout";
    /// A session was refreshed.
    Refresh => "refresh";
    /// A refresh token was used a second time, which ended its session.
    RefreshTokenReused => "refresh_token_reused";
    /// A user ended one of their sessions from another.
    SessionEnded => "session_ended";
    /// A user changed their password, which ended their other sessions.
    PasswordChanged => "password_changed";
    /// A user or an API key requested an operation that its role does not permit.
    PermissionRefused => "permission_refused";
    /// The account used up its hourly quota.
    QuotaExhausted => "quota_exhausted";
    /// An account was created.
    AccountCreated => "account_created";
    /// A user was created.
    UserCreated => "user_created";
    /// A user got another role.
    UserRoleChanged => "user_role_changed";
    /// A user was disabled, which ended their sessions.
    UserDisabled => "user_disabled";
    /// A disabled user was enabled again.
    UserEnabled => "user_enabled";
    /// A customer was created.
    CustomerCreated => "customer_created";
    /// A customer's name, email, metadata or external id was changed.
    CustomerChanged => "customer_changed";
    /// A person was erased.
    CustomerErased => "customer_data_erased";
    /// A card was created.
    CardCreated => "card_created";
    /// A card was assigned to a customer.
    CardAssigned => "card_assigned";
    /// A card's status changed.
    CardStatusChanged => "card_status_changed";
    /// A card's label, metadata or external id was changed.
    CardChanged => "card_changed";
    /// A card was replaced by another.
    CardReplaced => "card_replaced";
    /// A card's controls were changed.
    CardControlsChanged => "card_controls_changed";
    /// A limit of a card or of a customer was created.
    LimitCreated => "limit_created";
    /// A limit was changed.
    LimitChanged => "limit_changed";
    /// A limit was deleted.
    LimitDeleted => "limit_deleted";
    /// The issuer ended the hold of an authorisation.
    AuthorizationReleased => "authorization_released";
    /// An API key was created.
    ApiKeyCreated => "api_key_created";
    /// An API key got another secret. The one before stays valid for a while if that was requested.
    ApiKeyRolled => "api_key_rolled";
    /// An API key was revoked.
    ApiKeyRevoked => "api_key_revoked";
    /// The feed of the account was turned on or off.
    EventFeedChanged => "event_feed_changed";
    /// A webhook endpoint was created.
    WebhookEndpointCreated => "webhook_endpoint_created";
    /// A webhook endpoint was changed.
    WebhookEndpointChanged => "webhook_endpoint_changed";
    /// A webhook endpoint was enabled again.
    WebhookEndpointEnabled => "webhook_endpoint_enabled";
    /// A webhook endpoint was disabled: by an admin, or because it failed or is gone.
    WebhookEndpointDisabled => "webhook_endpoint_disabled";
    /// A webhook endpoint was deleted.
    WebhookEndpointDeleted => "webhook_endpoint_deleted";
    /// A webhook endpoint got another secret.
    WebhookSecretRotated => "webhook_secret_rotated";
}

/// The text names no event type.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL.iter().copied().find(|each| each.name() == text).ok_or(UnknownEventType)
    }
}

/// An event. Movements are not events: each is its own record.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`EventType` documents each variant")]
pub enum Event {
    Login { session: SessionId },
    LoginFailed { user: UserId },
    Logout { session: SessionId },
    Refresh { session: SessionId },
    RefreshTokenReused { session: SessionId },
    SessionEnded { session: SessionId },
    PasswordChanged { user: UserId },
    PermissionRefused { caller: Subject, role: Role, needed: Permission },
    QuotaExhausted { account: AccountId, limit: u32 },
    AccountCreated { account: AccountId },
    UserCreated { user: UserId, role: Role },
    UserRoleChanged { user: UserId, from: Role, to: Role },
    UserDisabled { user: UserId },
    UserEnabled { user: UserId },
    CustomerCreated { customer: CustomerId },
    CustomerChanged { customer: CustomerId, fields: CustomerChanges },
    CustomerErased { customer: CustomerId },
    CardCreated { card: CardId, currency: Currency, sequence: i64 },
    CardAssigned { card: CardId, customer: CustomerId, sequence: i64 },
    CardStatusChanged { card: CardId, from: CardStatus, to: CardStatus, sequence: i64 },
    CardChanged { card: CardId, fields: CardChanges, sequence: i64 },
    CardReplaced { card: CardId, replacement: CardId, reason: ReplacementReason, sequence: i64 },
    CardControlsChanged { card: CardId, before: Value, after: Value, sequence: i64 },
    LimitCreated { limit: LimitId, card: Option<(CardId, i64)>, after: Value },
    LimitChanged { limit: LimitId, card: Option<(CardId, i64)>, before: Value, after: Value },
    LimitDeleted { limit: LimitId, card: Option<(CardId, i64)>, before: Value },
    AuthorizationReleased { authorization: AuthorizationId, amount: Money },
    ApiKeyCreated { key: ApiKeyId, role: Role, expires_at: Option<DateTime<Utc>> },
    ApiKeyRolled { key: ApiKeyId, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>> },
    ApiKeyRevoked { key: ApiKeyId },
    EventFeedChanged { account: AccountId, enabled: bool },
    WebhookEndpointCreated { endpoint: WebhookEndpointId },
    WebhookEndpointChanged { endpoint: WebhookEndpointId, fields: EndpointChanges },
    WebhookEndpointEnabled { endpoint: WebhookEndpointId },
    WebhookEndpointDisabled { endpoint: WebhookEndpointId, reason: DisabledReason },
    WebhookEndpointDeleted { endpoint: WebhookEndpointId },
    WebhookSecretRotated { endpoint: WebhookEndpointId },
}

/// An event as it is stored.
pub struct Described {
    /// The type of the event.
    pub event_type: EventType,
    /// The subject of the event.
    pub subject: Subject,
    /// The changed part of the subject's state before the event.
    pub before: Option<Value>,
    /// The changed part of the subject's state after the event.
    pub after: Option<Value>,
}

impl Event {
    /// The stored form. It holds ids instead of names and emails: those can change, and the audit log cannot.
    pub fn describe(self) -> Described {
        let (event_type, subject, before, after) = match self {
            Self::Login { session } => (EventType::Login, Subject::Session(session), None, None),
            Self::LoginFailed { user } => (EventType::LoginFailed, Subject::User(user), None, None),
            Self::Logout { session } => (EventType::Logout, Subject::Session(session), None, None),
            Self::Refresh { session } => (EventType::Refresh, Subject::Session(session), None, None),
            Self::RefreshTokenReused { session } => (EventType::RefreshTokenReused, Subject::Session(session), None, None),
            Self::SessionEnded { session } => (EventType::SessionEnded, Subject::Session(session), None, None),
            Self::PasswordChanged { user } => (EventType::PasswordChanged, Subject::User(user), None, None),
            Self::PermissionRefused { caller, role, needed } => {
                let refused = json!({"role": role.name(), "needed": needed.name()});
                (EventType::PermissionRefused, caller, None, Some(refused))
            }
            Self::QuotaExhausted { account, limit } => {
                (EventType::QuotaExhausted, Subject::Account(account), None, Some(json!({"limit": limit})))
            }
            Self::AccountCreated { account } => (EventType::AccountCreated, Subject::Account(account), None, None),
            Self::UserCreated { user, role } => {
                (EventType::UserCreated, Subject::User(user), None, Some(json!({"role": role.name(), "disabled": false})))
            }
            Self::UserRoleChanged { user, from, to } => {
                let [before, after] = [from, to].map(|role| Some(json!({"role": role.name()})));
                (EventType::UserRoleChanged, Subject::User(user), before, after)
            }
            Self::UserDisabled { user } => (EventType::UserDisabled, Subject::User(user), Some(disabled(false)), Some(disabled(true))),
            Self::UserEnabled { user } => (EventType::UserEnabled, Subject::User(user), Some(disabled(true)), Some(disabled(false))),
            Self::CustomerCreated { customer } => (EventType::CustomerCreated, Subject::Customer(customer), None, None),
            Self::CustomerChanged { customer, fields } => {
                (EventType::CustomerChanged, Subject::Customer(customer), None, Some(json!({"changed": fields.names()})))
            }
            Self::CustomerErased { customer } => (EventType::CustomerErased, Subject::Customer(customer), None, None),
            Self::CardCreated { card, currency, .. } => {
                let after = json!({"status": CardStatus::Inactive.name(), "currency": currency.code(), "customerId": null});
                (EventType::CardCreated, Subject::Card(card), None, Some(after))
            }
            Self::CardAssigned { card, customer, .. } => {
                let (before, after) = (json!({"customerId": null}), json!({"customerId": customer}));
                (EventType::CardAssigned, Subject::Card(card), Some(before), Some(after))
            }
            Self::CardStatusChanged { card, from, to, .. } => {
                let [before, after] = [from, to].map(|status| Some(json!({"status": status.name()})));
                (EventType::CardStatusChanged, Subject::Card(card), before, after)
            }
            Self::CardReplaced { card, replacement, reason, .. } => {
                let after = json!({"replacedBy": replacement, "reason": reason.name()});
                (EventType::CardReplaced, Subject::Card(card), Some(json!({"replacedBy": null})), Some(after))
            }
            Self::CardChanged { card, fields, .. } => {
                (EventType::CardChanged, Subject::Card(card), None, Some(json!({"changed": fields.names()})))
            }
            Self::CardControlsChanged { card, before, after, .. } => {
                (EventType::CardControlsChanged, Subject::Card(card), Some(before), Some(after))
            }
            Self::LimitCreated { limit, after, .. } => (EventType::LimitCreated, Subject::Limit(limit), None, Some(after)),
            Self::LimitChanged { limit, before, after, .. } => (EventType::LimitChanged, Subject::Limit(limit), Some(before), Some(after)),
            Self::LimitDeleted { limit, before, .. } => (EventType::LimitDeleted, Subject::Limit(limit), Some(before), None),
            Self::AuthorizationReleased { authorization, amount } => {
                let [before, after] = [amount, Money::ZERO].map(|held| Some(json!({"heldAmount": held})));
                (EventType::AuthorizationReleased, Subject::Authorization(authorization), before, after)
            }
            Self::ApiKeyCreated { key, role, expires_at } => {
                let after = json!({"role": role.name(), "expiresAt": expires_at.map(text_of), "revoked": false});
                (EventType::ApiKeyCreated, Subject::ApiKey(key), None, Some(after))
            }
            Self::ApiKeyRolled { key, from, to } => {
                let [before, after] = [from, to].map(|ends_at| Some(json!({"overlapEndsAt": ends_at.map(text_of)})));
                (EventType::ApiKeyRolled, Subject::ApiKey(key), before, after)
            }
            Self::ApiKeyRevoked { key } => {
                let [before, after] = [false, true].map(|revoked| Some(json!({"revoked": revoked})));
                (EventType::ApiKeyRevoked, Subject::ApiKey(key), before, after)
            }
            Self::EventFeedChanged { account, enabled } => {
                let [before, after] = [!enabled, enabled].map(|enabled| Some(json!({"enabled": enabled})));
                (EventType::EventFeedChanged, Subject::Account(account), before, after)
            }
            Self::WebhookEndpointCreated { endpoint } => {
                (EventType::WebhookEndpointCreated, Subject::WebhookEndpoint(endpoint), None, Some(json!({"status": "enabled"})))
            }
            Self::WebhookEndpointChanged { endpoint, fields } => {
                let after = json!({"changed": fields.names()});
                (EventType::WebhookEndpointChanged, Subject::WebhookEndpoint(endpoint), None, Some(after))
            }
            Self::WebhookEndpointEnabled { endpoint } => {
                let [before, after] = ["disabled", "enabled"].map(|status| Some(json!({"status": status})));
                (EventType::WebhookEndpointEnabled, Subject::WebhookEndpoint(endpoint), before, after)
            }
            Self::WebhookEndpointDisabled { endpoint, reason } => {
                let before = json!({"status": "enabled"});
                let after = json!({"status": "disabled", "disabledReason": reason.name()});
                (EventType::WebhookEndpointDisabled, Subject::WebhookEndpoint(endpoint), Some(before), Some(after))
            }
            Self::WebhookEndpointDeleted { endpoint } => {
                (EventType::WebhookEndpointDeleted, Subject::WebhookEndpoint(endpoint), None, None)
            }
            Self::WebhookSecretRotated { endpoint } => (EventType::WebhookSecretRotated, Subject::WebhookEndpoint(endpoint), None, None),
        };
        Described { event_type, subject, before, after }
    }
}

/// A time as responses write it.
fn text_of(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn disabled(disabled: bool) -> Value {
    json!({"disabled": disabled})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_type_round_trips_through_its_name() {
        for event_type in EventType::ALL {
            assert_eq!(event_type.name().parse(), Ok(*event_type));
        }
        assert_eq!("".parse::<EventType>(), Err(UnknownEventType));
    }

    #[test]
    fn the_prefix_of_an_id_determines_the_subject() {
        let (card, user, key) = (CardId::new(), UserId::new(), ApiKeyId::new());
        assert_eq!(key.to_string().parse(), Ok(Subject::ApiKey(key)));
        assert_eq!(card.to_string().parse(), Ok(Subject::Card(card)));
        assert_eq!(user.to_string().parse(), Ok(Subject::User(user)));
        assert_eq!("mov_01h455vb4pex5vsknk084sn02q".parse::<Subject>(), Err(NotAnId));
    }

    #[test]
    fn a_change_records_the_state_before_and_after() {
        let event = Event::CardStatusChanged { card: CardId::new(), from: CardStatus::Inactive, to: CardStatus::Active, sequence: 3 };
        let described = event.describe();
        assert_eq!(described.before, Some(json!({"status": "inactive"})));
        assert_eq!(described.after, Some(json!({"status": "active"})));
    }
}
