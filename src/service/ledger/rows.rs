//! The column arrays of the statement that writes cards.

mod columns;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::columns::{ChangedColumns, CreatedColumns, EntryColumns, KeyColumns, MovementColumns, UpdateColumns, UsageColumns};
use super::{
    CardKey,
    authorization::Authorization,
    card_update::{CardUpdate, PendingCall},
    card_write::{CardWrite, EntryRow, MovementRow},
};
use crate::domain::{
    merchant::{MerchantCategory, MerchantCity, MerchantCountry, MerchantId, MerchantName, NetworkTransactionId},
    word::Word,
};

/// The rows of some cards, as the column arrays that their statement takes.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) at: DateTime<Utc>,
    pub(super) updates: UpdateColumns,
    pub(super) movements: MovementColumns,
    pub(super) keys: KeyColumns,
    pub(super) created: CreatedColumns,
    pub(super) changed: ChangedColumns,
    pub(super) entries: EntryColumns,
    pub(super) usage: UsageColumns,
}

/// Adds a row to column arrays.
macro_rules! push {
    ($columns:expr, { $($column:ident: $value:expr,)* }) => {{
        let columns = $columns;
        $(columns.$column.push($value);)*
    }};
}

impl Rows {
    /// The rows of a batch, written at this time.
    pub(super) fn of_batch(updates: &[CardUpdate], at: DateTime<Utc>) -> Self {
        let mut rows = Self { at, ..Self::default() };
        for CardUpdate { write, calls, group } in updates {
            rows.push(write, *group);
            for call in calls {
                rows.push_key(write.card, call);
            }
        }
        rows
    }

    /// The rows of cards that are written together, at this time.
    pub(super) fn of_cards(writes: &[&CardWrite], at: DateTime<Utc>) -> Self {
        let mut rows = Self { at, ..Self::default() };
        for write in writes {
            rows.push(write, 0);
        }
        rows
    }

    /// Whether there are transfers, so that some cards are written together or not at all.
    pub(super) fn have_transfers(&self) -> bool {
        self.movements.transfer_id.iter().any(Option::is_some)
    }

    /// Whether only movements are written.
    pub(super) const fn are_movements(&self) -> bool {
        self.created.id.is_empty()
            && self.changed.id.is_empty()
            && self.entries.id.is_empty()
            && self.usage.limit_id.is_empty()
            && !self.movements.id.is_empty()
    }

    fn push(&mut self, write: &CardWrite, group: usize) {
        let CardWrite { card, from, to, movements, created, changed, entries, rules } = write;
        let (account_id, card_id) = (Uuid::from(card.0), Uuid::from(card.1));
        push!(&mut self.updates, {
            account_id: account_id,
            card_id: card_id,
            customer_id: from.customer.map(Uuid::from),
            status: from.status.name(),
            balance: from.balance.minor(),
            held: from.held.minor(),
            seq: from.seq,
            event_seq: from.sequence,
            holds_due_at: from.holds_due_at,
            rules_version: from.rules_version,
            next_balance: to.balance.minor(),
            next_held: to.held.minor(),
            next_seq: to.seq,
            next_event_seq: to.sequence,
            next_holds_due_at: to.holds_due_at,
            group_number: i64::try_from(group).unwrap_or(i64::MAX),
        });
        for (limit, window_start, used) in rules.iter().flat_map(|rules| rules.usage.iter()) {
            push!(&mut self.usage, {
                account_id: account_id,
                card_id: card_id,
                limit_id: limit.into(),
                window_start: window_start,
                amount: used.amount.minor(),
                count: used.count,
            });
        }
        for row in movements {
            self.push_movement((account_id, card_id), row);
        }
        for authorization in created {
            self.push_created((account_id, card_id), authorization);
        }
        for authorization in changed {
            self.push_changed((account_id, card_id), authorization);
        }
        for row in entries {
            self.push_entry((account_id, card_id), row);
        }
    }

    fn push_movement(&mut self, (account_id, card_id): (Uuid, Uuid), row: &MovementRow) {
        let MovementRow { movement, sequence, overdrawn, related_seq, by } = row;
        push!(&mut self.movements, {
            account_id: account_id,
            card_id: card_id,
            seq: movement.seq,
            sequence: *sequence,
            id: movement.id.into(),
            kind: name(&movement.kind),
            amount: movement.amount.minor(),
            balance_after: movement.balance_after.minor(),
            description: movement.description.clone(),
            authorization_id: movement.authorization_id.map(Uuid::from),
            related_seq: *related_seq,
            merchant: movement.merchant.clone(),
            user_id: by.user,
            api_key_id: by.api_key,
            request_id: by.request_id.clone(),
            overdrawn_id: overdrawn.map(Uuid::from),
            transfer_id: movement.transfer_id.map(Uuid::from),
        });
    }

    fn push_key(&mut self, (account, card): CardKey, call: &PendingCall) {
        let (Some((key, fingerprint)), Some(body)) = (call.call.request.key(), &call.body) else { return };
        push!(&mut self.keys, {
            account_id: account.into(),
            card_id: card.into(),
            key: key.as_str().to_owned(),
            fingerprint: fingerprint.to_vec(),
            body: body.clone(),
        });
    }

    fn push_created(&mut self, (account_id, card_id): (Uuid, Uuid), authorization: &Authorization) {
        push!(&mut self.created, {
            account_id: account_id,
            card_id: card_id,
            id: authorization.id.into(),
            status: name(&authorization.status),
            kind: name(&authorization.kind),
            requested: authorization.requested.minor(),
            authorized: authorization.authorized.minor(),
            held: authorization.held.minor(),
            captured: authorization.captured.minor(),
            merchant_amount: authorization.merchant_amount,
            merchant_currency: authorization.merchant_currency.clone(),
            merchant_id: text(authorization.merchant_id.as_ref(), MerchantId::as_str),
            merchant_name: text(authorization.merchant_name.as_ref(), MerchantName::as_str),
            merchant_category: text(authorization.merchant_category.as_ref(), MerchantCategory::as_str),
            merchant_city: text(authorization.merchant_city.as_ref(), MerchantCity::as_str),
            merchant_country: text(authorization.merchant_country.as_ref(), MerchantCountry::as_str),
            entry_mode: name(&authorization.entry_mode),
            card_present: authorization.card_present,
            network_transaction_id: text(authorization.network_transaction_id.as_ref(), NetworkTransactionId::as_str),
            metadata: authorization.metadata.clone(),
            approval_code: authorization.approval_code.clone(),
            response_code: authorization.response_code.clone(),
            decided_by: name(&authorization.decided_by),
            decline_code: authorization.decline_code.as_ref().map(name),
            decline_message: authorization.decline_message.clone(),
            checks: authorization.checks.clone(),
            last_ordinal: authorization.last_ordinal,
            entry_sequence: authorization.entry_sequence,
            sequence: authorization.sequence,
            expires_at: authorization.expires_at,
        });
    }

    fn push_changed(&mut self, (account_id, card_id): (Uuid, Uuid), authorization: &Authorization) {
        push!(&mut self.changed, {
            account_id: account_id,
            card_id: card_id,
            id: authorization.id.into(),
            status: name(&authorization.status),
            authorized: authorization.authorized.minor(),
            held: authorization.held.minor(),
            captured: authorization.captured.minor(),
            excess: authorization.excess.minor(),
            reversed: authorization.reversed.minor(),
            expired: authorization.expired.minor(),
            released: authorization.released.minor(),
            capture_reversed: authorization.capture_reversed.minor(),
            refunded: authorization.refunded.minor(),
            refund_reversed: authorization.refund_reversed.minor(),
            last_ordinal: authorization.last_ordinal,
            entry_sequence: authorization.entry_sequence,
            sequence: authorization.sequence,
            expires_at: authorization.expires_at,
        });
    }

    fn push_entry(&mut self, (account_id, card_id): (Uuid, Uuid), row: &EntryRow) {
        let EntryRow { authorization, entry, previous_sequence, card_balance, card_held, movement_seq, event_type, state, by } = row;
        push!(&mut self.entries, {
            account_id: account_id,
            card_id: card_id,
            sequence: entry.sequence,
            id: entry.id.into(),
            authorization_id: (*authorization).into(),
            ordinal: entry.ordinal,
            previous_sequence: *previous_sequence,
            kind: name(&entry.kind),
            amount: entry.amount.minor(),
            held_before: entry.held_before.minor(),
            held_after: entry.held_after.minor(),
            card_balance: card_balance.minor(),
            card_held: card_held.minor(),
            movement_seq: *movement_seq,
            decline_code: entry.decline_code.as_ref().map(name),
            decline_message: entry.decline_message.clone(),
            checks: entry.checks.clone(),
            reason: entry.reason.clone(),
            user_id: by.user,
            api_key_id: by.api_key,
            request_id: by.request_id.clone(),
            event_type: event_type.name(),
            state: state.clone(),
        });
    }
}

/// A word that was written by this version, and so is known.
fn name<T: Copy + Into<&'static str>>(word: &Word<T>) -> &'static str {
    word.known().map_or("", Into::into)
}

fn text<T>(value: Option<&T>, as_str: fn(&T) -> &str) -> Option<String> {
    value.map(|value| as_str(value).to_owned())
}
