//! Authorisations and their entries, as they are stored and shown.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Movement;
use crate::domain::{
    authorization::{AuthorizationKind, AuthorizationStatus, DecidedBy, EntryKind, Standing},
    card::CardStatus,
    currency::Currency,
    decision::{Asked, DeclineCode},
    id::{AccountId, AuthorizationId, CardId, CustomerId, EntryId, MovementId},
    merchant::{
        EntryMode, Merchant, MerchantAmount, MerchantCategory, MerchantCity, MerchantCountry, MerchantId, MerchantName,
        NetworkTransactionId,
    },
    metadata::Metadata,
    money::Money,
    posting::Position,
    text::Description,
    word::{UnknownWord, Word},
};

/// What an authorisation is asked for with.
#[derive(Clone, Debug)]
pub struct NewAuthorization {
    /// The card. None if the request's id is malformed, so that no card can have it.
    pub card: Option<CardId>,
    /// What is decided on.
    pub asked: Asked,
    /// What is kept.
    pub details: Details,
    /// When the hold ends, if the request says so.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether the payment is captured at once, as a single message asks.
    pub is_purchase: bool,
}

/// What an authorisation keeps and shows of its request.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// The merchant.
    pub merchant: Merchant,
    /// The amount in the merchant's currency.
    pub merchant_amount: Option<MerchantAmount>,
    /// How the card's data came to the merchant.
    pub entry_mode: EntryMode,
    /// Whether the card was at the merchant.
    pub card_present: Option<bool>,
    /// The network's id of the transaction, unique in the account.
    pub network_transaction_id: Option<NetworkTransactionId>,
    /// What the caller keeps with it.
    pub metadata: Option<Metadata>,
}

/// An authorisation.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The account.
    pub(super) account_id: AccountId,
    /// Its id.
    pub id: AuthorizationId,
    /// The card.
    pub card_id: CardId,
    /// The card's customer.
    pub customer_id: Option<CustomerId>,
    /// The card's currency.
    pub currency: Word<Currency>,
    /// Its status.
    pub status: Word<AuthorizationStatus>,
    /// What it asks for.
    pub kind: Word<AuthorizationKind>,
    /// The amount that was asked for at first.
    pub requested: Money,
    /// What was authorised, at first and by increments.
    pub authorized: Money,
    /// What is held now.
    pub held: Money,
    /// What was captured.
    pub captured: Money,
    /// The part of `captured` that no hold covered.
    pub excess: Money,
    /// What the merchant gave back of the hold.
    pub reversed: Money,
    /// What ran out of time, or was ended by the issuer.
    pub expired: Money,
    /// What a final capture left of the hold.
    pub released: Money,
    /// What was given back of `captured`.
    pub capture_reversed: Money,
    /// What was refunded.
    pub refunded: Money,
    /// What was taken back of `refunded`.
    pub refund_reversed: Money,
    /// The amount in the merchant's currency, in minor units of that currency.
    pub merchant_amount: Option<i64>,
    /// The merchant's currency.
    pub merchant_currency: Option<String>,
    /// The merchant's id.
    pub merchant_id: Option<MerchantId>,
    /// The merchant's name.
    pub merchant_name: Option<MerchantName>,
    /// The merchant's category.
    pub merchant_category: Option<MerchantCategory>,
    /// The merchant's city.
    pub merchant_city: Option<MerchantCity>,
    /// The merchant's country.
    pub merchant_country: Option<MerchantCountry>,
    /// How the card's data came to the merchant.
    pub entry_mode: Word<EntryMode>,
    /// Whether the card was at the merchant.
    pub card_present: Option<bool>,
    /// The network's id of the transaction.
    pub network_transaction_id: Option<NetworkTransactionId>,
    /// A JSON object of the caller's.
    pub metadata: Option<String>,
    /// Six digits for the merchant, if it was approved.
    pub approval_code: Option<String>,
    /// The response code for the network (ISO 8583, data element 39).
    pub response_code: String,
    /// Who decided.
    pub decided_by: Word<DecidedBy>,
    /// Why it was declined.
    pub decline_code: Option<Word<DeclineCode>>,
    /// The same in words.
    pub decline_message: Option<String>,
    /// The checks that were made, as a JSON array.
    pub checks: Option<String>,
    /// The number of its entries.
    pub last_ordinal: i32,
    /// The sequence number of its newest entry.
    pub entry_sequence: i64,
    /// The sequence number of its newest change.
    pub sequence: i64,
    /// The sequence number of the newest of all that happened to the card, when this was read.
    pub(super) card_sequence: i64,
    /// When it was asked for, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// When what it holds expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

impl Authorization {
    /// The status and the sums, for a decision.
    pub(super) fn standing(&self) -> Result<Standing, UnknownWord> {
        Ok(self.standing_as(self.status.known()?))
    }

    /// The sums, with a status.
    pub(super) const fn standing_as(&self, status: AuthorizationStatus) -> Standing {
        Standing {
            status,
            authorized: self.authorized,
            held: self.held,
            captured: self.captured,
            excess: self.excess,
            reversed: self.reversed,
            expired: self.expired,
            released: self.released,
            capture_reversed: self.capture_reversed,
            refunded: self.refunded,
            refund_reversed: self.refund_reversed,
        }
    }

    /// Takes over the status and the sums that a step left.
    pub(super) fn stand(&mut self, standing: Standing) {
        let Standing { status, authorized, held, captured, excess, reversed, expired, released, .. } = standing;
        self.status = status.into();
        (self.authorized, self.held, self.captured, self.excess) = (authorized, held, captured, excess);
        (self.reversed, self.expired, self.released) = (reversed, expired, released);
        (self.capture_reversed, self.refunded, self.refund_reversed) =
            (standing.capture_reversed, standing.refunded, standing.refund_reversed);
    }

    /// The merchant.
    #[must_use]
    pub fn merchant(&self) -> Merchant {
        Merchant {
            id: self.merchant_id.clone(),
            name: self.merchant_name.clone(),
            category: self.merchant_category.clone(),
            city: self.merchant_city.clone(),
            country: self.merchant_country.clone(),
        }
    }

    /// The amount in the merchant's currency.
    #[must_use]
    pub fn merchant_amount(&self) -> Option<MerchantAmount> {
        MerchantAmount::stored(self.merchant_amount?, self.merchant_currency.as_deref()?)
    }
}

impl Authorization {
    /// The outcome of its decision in the metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match (&self.decline_code, &self.decided_by) {
            (Some(_), _) => "declined",
            (None, Word::Known(DecidedBy::StandIn)) => "stand_in",
            (None, _) if self.authorized == Money::ZERO => "verified",
            (None, _) if self.authorized < self.requested => "partial",
            (None, _) => "approved",
        }
    }
}

/// One step of an authorisation.
#[derive(Clone, Debug)]
pub struct AuthorizationEntry {
    /// Its id.
    pub id: EntryId,
    /// Its position in the authorisation, from 1 without gaps.
    pub ordinal: i32,
    /// Its kind.
    pub kind: Word<EntryKind>,
    /// Its amount.
    pub amount: Money,
    /// What the authorisation held before it.
    pub held_before: Money,
    /// What the authorisation holds after it.
    pub held_after: Money,
    /// The movement that it posted.
    pub movement_id: Option<MovementId>,
    /// Its position among all that happened to the card.
    pub sequence: i64,
    /// Why more was not authorised.
    pub decline_code: Option<Word<DeclineCode>>,
    /// The same in words.
    pub decline_message: Option<String>,
    /// The checks that were made, as a JSON array.
    pub checks: Option<String>,
    /// Why it was reversed or released, in the caller's words.
    pub reason: Option<String>,
    /// When it was written, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// A filter of the authorisations of an account. A field that is None filters nothing.
#[derive(Clone, Debug, Default)]
pub struct AuthorizationFilter {
    /// Only of this card.
    pub card: Option<CardId>,
    /// Only of this customer's cards.
    pub customer: Option<CustomerId>,
    /// Only with this status.
    pub status: Option<AuthorizationStatus>,
    /// Only declined for this reason.
    pub decline_code: Option<DeclineCode>,
    /// Only of this merchant.
    pub merchant: Option<String>,
    /// Only the one with the network's id of the transaction.
    pub network_transaction: Option<String>,
    /// Only from this moment on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this moment.
    pub to: Option<DateTime<Utc>>,
}

/// The authorisations of a list's page.
#[derive(Clone, Debug)]
pub struct AuthorizationPage {
    /// Those that pass the filter, newest first.
    pub rows: Vec<Authorization>,
    /// Where the search stopped, if there may be more beyond. The rows may be few then, or none.
    pub stopped_at: Option<AuthorizationId>,
}

/// What leads to the authorisations that a filter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum ListPath {
    /// All of the account.
    Account,
    /// Those of a card.
    Card,
    /// Those of a card that hold something.
    Pending,
    /// Those of a customer's cards.
    Customer,
    /// Those that were declined for a reason.
    Decline,
    /// The one with the network's id.
    Network,
}

impl ListPath {
    pub(super) fn name(self) -> &'static str {
        self.into()
    }
}

impl AuthorizationFilter {
    /// The lowest and the highest id of the period, before another id: ids begin with the milliseconds of their replica's clock
    /// (RFC 9562). The clocks of the replicas and of the database may differ by an hour.
    pub(super) fn ids(&self, before: Option<AuthorizationId>) -> (Uuid, Uuid) {
        let slack = TimeDelta::hours(1);
        let start = |moment: DateTime<Utc>| u128::from(moment.timestamp_millis().clamp(0, (1 << 48) - 1).unsigned_abs()) << 80;
        let lowest = self.from.and_then(|from| from.checked_sub_signed(slack)).map_or(0, start);
        let highest = self.to.and_then(|to| to.checked_add_signed(slack)).map_or(u128::MAX, |to| start(to) | (u128::MAX >> 48));
        let before = before.map_or(u128::MAX, |before| Uuid::from(before).as_u128().saturating_sub(1));
        (Uuid::from_u128(lowest), Uuid::from_u128(highest.min(before)))
    }

    /// The narrowest way to what it asks for.
    pub(super) const fn path(&self) -> ListPath {
        match (&self.network_transaction, self.card, self.customer, self.decline_code) {
            (Some(_), ..) => ListPath::Network,
            (_, Some(_), ..) if matches!(self.status, Some(AuthorizationStatus::Pending)) => ListPath::Pending,
            (_, Some(_), ..) => ListPath::Card,
            (_, _, Some(_), _) => ListPath::Customer,
            (.., Some(_)) => ListPath::Decline,
            _ => ListPath::Account,
        }
    }
}

/// A card's money.
#[derive(Clone, Copy, Debug)]
pub struct CardBalance {
    /// The card.
    pub card: CardId,
    /// The card's status.
    pub status: CardStatus,
    /// The card's currency.
    pub currency: Currency,
    /// The balance.
    pub balance: Money,
    /// What is held of it.
    pub held: Money,
    /// What can be spent.
    pub available: Money,
}

impl CardBalance {
    pub(super) const fn of(card: CardId, position: &Position) -> Self {
        Self {
            card,
            status: position.status,
            currency: position.currency,
            balance: position.balance,
            held: position.held,
            available: position.available(),
        }
    }
}

/// A step of an authorisation that was written.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// The authorisation after it.
    pub authorization: Authorization,
    /// The entries that it wrote: one, or two of a payment that was captured at once.
    pub entries: Vec<AuthorizationEntry>,
    /// What it posted.
    pub movement: Option<Movement>,
    /// The card's money after it.
    pub balance: CardBalance,
}

/// How a payment of this merchant is described.
pub(super) fn describe(merchant: &Merchant) -> Description {
    merchant.name.as_ref().and_then(|name| name.as_str().parse().ok()).unwrap_or_else(Description::of_a_payment)
}
