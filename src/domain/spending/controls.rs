//! The controls of a card: which payments it may make at all.

use serde::Serialize;
use serde_json::{Value, json};
use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray};

use crate::domain::{
    authorization::Standing,
    merchant::{MerchantCategory, MerchantCountry, MerchantId},
    money::Money,
};

/// The most values in each list of a control or of a limit's filter.
pub const MAX_LISTED: usize = 250;

/// The most payments that `maxPayments` can allow.
pub const MAX_PAYMENTS: u32 = 1_000_000;

/// Whether the card has to be at the merchant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, sqlx::Type, EnumCount, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
#[sqlx(type_name = "text", rename_all = "camelCase")]
pub enum CardPresence {
    /// It does not matter.
    #[default]
    Any,
    /// It has to be.
    Present,
    /// It must not be.
    NotPresent,
}

impl CardPresence {
    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The merchant that a card is locked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MerchantLock {
    /// The merchant of the first payment of more than 0 that is approved.
    First,
    /// This merchant.
    To(MerchantId),
}

/// The controls of a card. The default allows everything.
///
/// An empty list allows or blocks nothing in particular. What is blocked is blocked also if it is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// The only categories that the card may pay.
    pub allowed_categories: Vec<MerchantCategory>,
    /// Categories that the card may not pay.
    pub blocked_categories: Vec<MerchantCategory>,
    /// The only countries whose merchants the card may pay.
    pub allowed_countries: Vec<MerchantCountry>,
    /// Countries whose merchants the card may not pay.
    pub blocked_countries: Vec<MerchantCountry>,
    /// The only merchants that the card may pay.
    pub allowed_merchants: Vec<MerchantId>,
    /// Merchants that the card may not pay.
    pub blocked_merchants: Vec<MerchantId>,
    /// The merchant that the card is locked to.
    pub merchant_lock: Option<MerchantLock>,
    /// Whether the card has to be at the merchant.
    pub card_present: CardPresence,
    /// After how many payments the card is cancelled: 1 or more.
    pub max_payments: Option<u32>,
}

/// The smallest approval that is a payment by itself. Merchants make smaller ones to see whether a card is valid (1.00 in
/// major units: Stripe's rule for lifecycle controls).
const PROBE: i64 = 100;

/// Whether an authorisation counts as a payment of its card: more than a probe was approved, or anything was captured.
#[must_use]
pub fn is_payment(standing: &Standing) -> bool {
    standing.authorized.minor() > PROBE || standing.captured > Money::ZERO
}

/// Changes of controls. A field that is None stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlsPatch {
    /// The only categories that the card may pay.
    pub allowed_categories: Option<Vec<MerchantCategory>>,
    /// Categories that the card may not pay.
    pub blocked_categories: Option<Vec<MerchantCategory>>,
    /// The only countries whose merchants the card may pay.
    pub allowed_countries: Option<Vec<MerchantCountry>>,
    /// Countries whose merchants the card may not pay.
    pub blocked_countries: Option<Vec<MerchantCountry>>,
    /// The only merchants that the card may pay.
    pub allowed_merchants: Option<Vec<MerchantId>>,
    /// Merchants that the card may not pay.
    pub blocked_merchants: Option<Vec<MerchantId>>,
    /// The merchant that the card is locked to, or no longer.
    pub merchant_lock: Option<Option<MerchantLock>>,
    /// Whether the card has to be at the merchant.
    pub card_present: Option<CardPresence>,
    /// After how many payments the card is cancelled, or no longer.
    pub max_payments: Option<Option<u32>>,
}

impl Controls {
    /// The controls after a change.
    #[must_use]
    pub fn patched(&self, patch: &ControlsPatch) -> Self {
        fn list<T: Clone + PartialEq>(new: Option<&Vec<T>>, old: &[T]) -> Vec<T> {
            let mut values: Vec<T> = Vec::new();
            for value in new.map_or(old, Vec::as_slice) {
                if !values.contains(value) {
                    values.push(value.clone());
                }
            }
            values
        }
        Self {
            allowed_categories: list(patch.allowed_categories.as_ref(), &self.allowed_categories),
            blocked_categories: list(patch.blocked_categories.as_ref(), &self.blocked_categories),
            allowed_countries: list(patch.allowed_countries.as_ref(), &self.allowed_countries),
            blocked_countries: list(patch.blocked_countries.as_ref(), &self.blocked_countries),
            allowed_merchants: list(patch.allowed_merchants.as_ref(), &self.allowed_merchants),
            blocked_merchants: list(patch.blocked_merchants.as_ref(), &self.blocked_merchants),
            merchant_lock: patch.merchant_lock.clone().unwrap_or_else(|| self.merchant_lock.clone()),
            card_present: patch.card_present.unwrap_or(self.card_present),
            max_payments: patch.max_payments.unwrap_or(self.max_payments),
        }
    }

    /// The controls as the audit log and the feed have them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let lock = match &self.merchant_lock {
            None => Value::Null,
            Some(MerchantLock::First) => json!("first"),
            Some(MerchantLock::To(merchant)) => json!({"merchantId": merchant}),
        };
        json!({
            "allowedCategories": self.allowed_categories,
            "blockedCategories": self.blocked_categories,
            "allowedCountries": self.allowed_countries,
            "blockedCountries": self.blocked_countries,
            "allowedMerchants": self.allowed_merchants,
            "blockedMerchants": self.blocked_merchants,
            "merchantLock": lock,
            "cardPresent": self.card_present,
            "maxPayments": self.max_payments,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        authorization::Step,
        money::{Amount, MAX_MINOR},
    };

    #[test]
    fn approvals_of_more_than_one_and_whatever_is_captured_are_payments() {
        let approved = |minor: i64| Standing::approved(Money::from_minor(minor).expect("within bounds"));
        for (minor, wanted) in [(0, false), (1, false), (99, false), (100, false), (101, true), (MAX_MINOR, true)] {
            assert_eq!(is_payment(&approved(minor)), wanted, "{minor}");
        }
        assert!(!is_payment(&Standing::DECLINED));
        let after = |standing: Standing, step: Step| standing.take(step).expect("permitted").standing;
        let amount = |minor: i64| Amount::new(Money::from_minor(minor).expect("within bounds"));
        // It stays one whatever comes of it.
        for step in [Step::Expire, Step::Release, Step::Reverse(None), Step::Adjust(Money::ZERO)] {
            assert!(is_payment(&after(approved(101), step)), "{step:?}");
            assert!(!is_payment(&after(approved(100), step)), "{step:?}");
        }
        // A small one becomes a payment when it is captured, also late, or raised.
        let capture = |minor| Step::Capture { amount: amount(minor), is_final: false };
        assert!(is_payment(&after(approved(100), capture(1))));
        assert!(is_payment(&after(after(approved(1), Step::Expire), capture(1))));
        assert!(is_payment(&after(approved(100), Step::Increment(amount(1).expect("above zero")))));
        assert!(!is_payment(&after(approved(50), Step::Increment(amount(50).expect("above zero")))));
    }
}
