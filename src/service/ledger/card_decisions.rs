//! Decisions on what a card is asked for, added to what is written to it. Pure: no clock, no database.

use chrono::{DateTime, Utc};
use rand::RngExt as _;

use super::{
    Posted, Posting,
    author::Author,
    authorization::{Authorization, NewAuthorization, Stepped, describe},
    card_rules::Spent,
    card_write::{CardWrite, Link, Remarks, to_json},
};
use crate::domain::{
    authorization::{Standing, Step, Taken},
    decision::{self, Decision, Verdict},
    error::Refusal,
    hold_time::HoldTimes,
    id::AuthorizationId,
    merchant::{EntryMode, Merchant, MerchantAmount, MerchantCategory},
    metadata::Metadata,
    money::Money,
    posting::{self, MovementKind},
    spending::Payment,
};
use crate::service::error as service;

impl CardWrite {
    /// Decides a movement that is asked for, and adds it. A purchase of a single message does not say where it is made.
    ///
    /// # Errors
    /// The card's status, its controls and limits, its available money or the balance limit forbids the movement, or what was
    /// spent of its limits was not read.
    pub(super) fn take_posting(&mut self, (at, by): (DateTime<Utc>, &Author), posting: &Posting) -> service::Result<Posted> {
        let Posting { kind, amount, description, .. } = posting;
        let entry = posting::post(self.to, *kind, *amount);
        if let (MovementKind::Purchase, Ok(_) | Err(Refusal::InsufficientFunds(_)), Some(rules)) = (kind, &entry, &mut self.rules) {
            let merchant = Merchant::default();
            let payment = Payment { merchant: &merchant, entry_mode: EntryMode::default(), card_present: None };
            let decision = rules.decide(at, payment, |rules| decision::decide_purchase(*amount, rules))?;
            if decision.verdict.decline().is_some() {
                return Err(Refusal::PaymentDeclined(Box::new(decision)).into());
            }
            rules.follow_movement(&merchant, None, Spent::new(at, amount.money()));
        }
        let movement = self.post((at, by), *kind, entry?, description, Link::default());
        Ok(Posted { movement, balance: self.balance() })
    }

    /// Decides an authorisation, and adds it.
    ///
    /// # Errors
    /// The card would hold more, or owe more, than it can, or what was spent of its limits was not read. Nothing may be written
    /// then.
    pub(super) fn authorize(
        &mut self,
        (at, by): (DateTime<Utc>, &Author),
        new: &NewAuthorization,
        hold_times: &HoldTimes,
    ) -> service::Result<Stepped> {
        let decision = self.decide(at, new)?;
        let verdict = decision.verdict.clone();
        let standing = verdict.standing();
        let expires_at = (standing.held > Money::ZERO && !new.is_purchase).then(|| {
            new.expires_at
                .unwrap_or_else(|| at + hold_times.of(new.asked.kind, new.details.merchant.category.as_ref().map(MerchantCategory::as_str)))
        });
        let mut authorization = self.new_authorization(at, new, &verdict);
        authorization.expires_at = expires_at;
        if verdict.decline().is_some() || matches!(verdict, Verdict::StandIn(_)) {
            authorization.checks = Some(to_json(&decision.checks));
        }
        let amount = verdict.decline().map_or(standing.authorized, |_| new.asked.amount);
        let taken = Taken { standing, kind: verdict.entry_kind(), amount, captures: None };
        let (entry, _) = self.enter((at, by), &mut authorization, taken, Remarks::default())?;
        let (mut entries, mut movement) = (vec![entry], None);
        if new.is_purchase && standing.held > Money::ZERO {
            let taken = standing.take(Step::Capture { amount: None, is_final: true })?;
            let description = describe(&new.details.merchant);
            let remarks = Remarks { posts: Some((MovementKind::Purchase, description)), ..Remarks::default() };
            let (entry, posted) = self.enter((at, by), &mut authorization, taken, remarks)?;
            entries.push(entry);
            movement = posted;
        }
        self.created.push(authorization.clone());
        Ok(Stepped { authorization, entries, movement, balance: self.balance() })
    }

    fn decide(&self, at: DateTime<Utc>, NewAuthorization { asked, details, .. }: &NewAuthorization) -> service::Result<Decision> {
        let Some(rules) = &self.rules else { return Ok(decision::decide(&self.to, asked, None)) };
        let payment = Payment { merchant: &details.merchant, entry_mode: details.entry_mode, card_present: details.card_present };
        Ok(rules.decide(at, payment, |rules| decision::decide(&self.to, asked, Some(rules)))?)
    }

    fn new_authorization(&self, at: DateTime<Utc>, new: &NewAuthorization, verdict: &Verdict) -> Authorization {
        let NewAuthorization { asked, details, .. } = new;
        let Merchant { id, name, category, city, country } = details.merchant.clone();
        let decline = verdict.decline();
        Authorization {
            account_id: self.card.0,
            id: AuthorizationId::new(),
            card_id: self.card.1,
            customer_id: self.to.customer,
            currency: self.to.currency.into(),
            status: Standing::DECLINED.status.into(),
            kind: asked.kind.into(),
            requested: asked.amount,
            authorized: Money::ZERO,
            held: Money::ZERO,
            captured: Money::ZERO,
            excess: Money::ZERO,
            reversed: Money::ZERO,
            expired: Money::ZERO,
            released: Money::ZERO,
            capture_reversed: Money::ZERO,
            refunded: Money::ZERO,
            refund_reversed: Money::ZERO,
            merchant_amount: details.merchant_amount.map(MerchantAmount::minor),
            merchant_currency: details.merchant_amount.map(|amount| amount.currency().code().to_owned()),
            merchant_id: id,
            merchant_name: name,
            merchant_category: category,
            merchant_city: city,
            merchant_country: country,
            entry_mode: details.entry_mode.into(),
            card_present: details.card_present,
            network_transaction_id: details.network_transaction_id.clone(),
            metadata: details.metadata.as_ref().map(Metadata::to_json),
            approval_code: decline.is_none().then(|| format!("{:06}", rand::rng().random_range(0..1_000_000))),
            response_code: verdict.response_code().to_owned(),
            decided_by: verdict.decided_by().into(),
            decline_code: decline.map(|decline| decline.code.into()),
            decline_message: decline.map(|decline| decline.message.clone()),
            checks: None,
            last_ordinal: 0,
            entry_sequence: 0,
            sequence: 0,
            card_sequence: self.to.sequence,
            created_at: at,
            expires_at: None,
            updated_at: at,
        }
    }
}
