//! The events of an account's feed, and the filters of those who read it. Pure.

use std::{fmt, str::FromStr};

use serde_json::Value;

use super::{
    authorization::{AuthorizationStatus, EntryKind},
    card::CardStatus,
    id::CardId,
};

macro_rules! feed_event_types {
    ($($(#[$doc:meta])* $variant:ident => $name:literal;)*) => {
        /// The type of an event. The part before the dot is the kind of thing that it tells of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FeedEventType { $($(#[$doc])* $variant,)* }

        impl FeedEventType {
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

feed_event_types! {
    /// A customer was created.
    CustomerCreated => "customer.created";
    /// A customer's name, email, metadata or external id was changed.
    CustomerUpdated => "customer.updated";
    /// A person was erased.
    CustomerErased => "customer.erased";
    /// A card was created.
    CardCreated => "card.created";
    /// A card was assigned to a customer.
    CardAssigned => "card.assigned";
    /// A card became active.
    CardActivated => "card.activated";
    /// A card was blocked.
    CardBlocked => "card.blocked";
    /// A card was cancelled.
    CardCancelled => "card.cancelled";
    /// A card's label, metadata or external id was changed.
    CardUpdated => "card.updated";
    /// A card was replaced by another.
    CardReplaced => "card.replaced";
    /// The controls of a card were changed.
    CardControlsUpdated => "card.controls_updated";
    /// A limit of a card or of a customer was created.
    LimitCreated => "limit.created";
    /// A limit was changed.
    LimitUpdated => "limit.updated";
    /// A limit was deleted.
    LimitDeleted => "limit.deleted";
    /// A posting that nobody may refuse took a card's balance below zero.
    CardOverdrawn => "card.overdrawn";
    /// A card's balance changed.
    MovementCreated => "movement.created";
    /// A payment was authorised.
    AuthorizationApproved => "authorization.approved";
    /// A payment was declined.
    AuthorizationDeclined => "authorization.declined";
    /// A card was verified, with an authorisation of nothing.
    AuthorizationVerified => "authorization.verified";
    /// More was authorised.
    AuthorizationIncremented => "authorization.incremented";
    /// No more was authorised.
    AuthorizationIncrementDeclined => "authorization.increment_declined";
    /// A hold was set to another amount.
    AuthorizationAdjusted => "authorization.adjusted";
    /// The merchant gave a hold back, or a part of it.
    AuthorizationReversed => "authorization.reversed";
    /// An authorised payment was captured.
    AuthorizationCaptured => "authorization.captured";
    /// A hold ran out of time.
    AuthorizationExpired => "authorization.expired";
    /// The account ended a hold.
    AuthorizationReleased => "authorization.released";
    /// An API key was created.
    ApiKeyCreated => "api_key.created";
    /// An API key got another text.
    ApiKeyRolled => "api_key.rolled";
    /// An API key was revoked.
    ApiKeyRevoked => "api_key.revoked";
    /// A webhook endpoint was disabled.
    WebhookEndpointDisabled => "webhook_endpoint.disabled";
    /// A webhook endpoint was enabled again.
    WebhookEndpointEnabled => "webhook_endpoint.enabled";
    /// A test of an endpoint. It is sent to that endpoint alone, and is not in the feed.
    WebhookTest => "webhook.test";
}

/// The text names no type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFeedEventType;

impl FromStr for FeedEventType {
    type Err = UnknownFeedEventType;

    fn from_str(text: &str) -> Result<Self, UnknownFeedEventType> {
        Self::ALL.iter().copied().find(|each| each.name() == text).ok_or(UnknownFeedEventType)
    }
}

impl FeedEventType {
    /// The event of a step of an authorisation, which has this status after it.
    #[must_use]
    pub const fn of_entry(kind: EntryKind, after: AuthorizationStatus) -> Self {
        match kind {
            EntryKind::Authorization if matches!(after, AuthorizationStatus::Verified) => Self::AuthorizationVerified,
            EntryKind::Authorization | EntryKind::PartialAuthorization => Self::AuthorizationApproved,
            EntryKind::Declined => Self::AuthorizationDeclined,
            EntryKind::Increment => Self::AuthorizationIncremented,
            EntryKind::IncrementDeclined => Self::AuthorizationIncrementDeclined,
            EntryKind::Adjustment => Self::AuthorizationAdjusted,
            EntryKind::Reversal => Self::AuthorizationReversed,
            EntryKind::Capture | EntryKind::LateCapture => Self::AuthorizationCaptured,
            EntryKind::Expiry => Self::AuthorizationExpired,
            EntryKind::Release => Self::AuthorizationReleased,
        }
    }

    /// The event of a card that takes this status. None for the status of a new card.
    #[must_use]
    pub const fn of_status(status: CardStatus) -> Option<Self> {
        match status {
            CardStatus::Inactive => None,
            CardStatus::Active => Some(Self::CardActivated),
            CardStatus::Blocked => Some(Self::CardBlocked),
            CardStatus::Cancelled => Some(Self::CardCancelled),
        }
    }
}

/// An event that a change outside the ledger announces, with what it tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// Its type.
    pub event_type: FeedEventType,
    /// The card that it tells of, and its position in the card's history.
    pub card: Option<(CardId, i64)>,
    /// What things are then. It holds ids and no names or emails: what was delivered cannot be erased.
    pub data: Value,
}

/// Which events a reader wants: types such as `card.blocked`, all of a kind as `card.*`, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeFilter {
    patterns: Vec<String>,
    types: Vec<FeedEventType>,
}

/// A pattern that fits no type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPattern;

/// What a pattern can be.
#[must_use]
pub fn patterns() -> Vec<String> {
    let mut patterns = vec!["*".to_owned()];
    for name in FeedEventType::ALL.iter().map(|each| each.name()) {
        let kind = name.split_once('.').map_or(name, |(kind, _)| kind);
        let all = format!("{kind}.*");
        if !patterns.contains(&all) {
            patterns.push(all);
        }
        patterns.push(name.to_owned());
    }
    patterns
}

impl TypeFilter {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self { patterns: vec!["*".to_owned()], types: FeedEventType::ALL.to_vec() }
    }

    /// A filter of some patterns. Repeated ones count once.
    ///
    /// # Errors
    /// There is no pattern, or one fits no type of this version.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownPattern> {
        let (mut filter, mut known) = (Self { patterns: Vec::new(), types: Vec::new() }, 0);
        for pattern in patterns {
            known += 1;
            let mut fits = false;
            for each in FeedEventType::ALL.iter().copied().filter(|each| matches(pattern, each.name())) {
                fits = true;
                if !filter.types.contains(&each) {
                    filter.types.push(each);
                }
            }
            if !fits {
                return Err(UnknownPattern);
            }
            if !filter.patterns.iter().any(|kept| kept == pattern) {
                filter.patterns.push(pattern.to_owned());
            }
        }
        if known == 0 { Err(UnknownPattern) } else { Ok(filter) }
    }

    /// A filter as it was stored. A pattern of a later version stays, and fits no type of this one.
    #[must_use]
    pub fn stored(patterns: Vec<String>) -> Self {
        let fits = |each: &FeedEventType| patterns.iter().any(|pattern| matches(pattern, each.name()));
        let types = FeedEventType::ALL.iter().copied().filter(fits).collect();
        Self { patterns, types }
    }

    /// The patterns, as they were given.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// The names of the types that pass. None if every event passes, also one of a type of a later version.
    #[must_use]
    pub fn names(&self) -> Option<Vec<String>> {
        if self.patterns.iter().any(|pattern| pattern == "*") {
            return None;
        }
        Some(self.types.iter().map(|each| each.name().to_owned()).collect())
    }
}

impl fmt::Display for TypeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.patterns.join(","))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(kind) => kind.ends_with('.') && name.starts_with(kind),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{authorization::Standing, money::Money};

    #[test]
    fn every_type_round_trips_through_its_name() {
        for each in FeedEventType::ALL {
            assert_eq!(each.name().parse(), Ok(*each));
        }
        assert_eq!("card".parse::<FeedEventType>(), Err(UnknownFeedEventType));
    }

    #[test]
    fn a_pattern_is_a_type_or_all_of_a_kind_or_everything() {
        let names = |patterns: &[&str]| TypeFilter::new(patterns.iter().copied()).map(|filter| filter.names());
        assert_eq!(names(&["card.blocked", "card.blocked"]), Ok(Some(vec!["card.blocked".to_owned()])));
        assert_eq!(names(&["card.*"]).expect("known").expect("some").len(), 9);
        assert_eq!(names(&["card.blocked", "*"]), Ok(None));
        for wrong in ["", "card", "card.", "card.*.*", "c*", "**", "*.created", "card.unknown", "CARD.BLOCKED", ".*", "unknown.*"] {
            assert_eq!(names(&[wrong]), Err(UnknownPattern), "{wrong}");
        }
        assert_eq!(names(&[]), Err(UnknownPattern));
        for pattern in patterns() {
            assert!(names(&[&pattern]).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn a_stored_pattern_of_a_later_version_is_kept() {
        let filter = TypeFilter::stored(vec!["loan.*".to_owned(), "card.blocked".to_owned()]);
        assert_eq!(filter.patterns(), ["loan.*", "card.blocked"]);
        assert_eq!(filter.names(), Some(vec!["card.blocked".to_owned()]));
    }

    #[test]
    fn an_authorisation_of_nothing_is_a_verification() {
        let of = |amount| {
            let money = Money::from_minor(amount).expect("within bounds");
            FeedEventType::of_entry(EntryKind::Authorization, Standing::approved(money).status)
        };
        assert_eq!((of(0), of(1)), (FeedEventType::AuthorizationVerified, FeedEventType::AuthorizationApproved));
    }
}
