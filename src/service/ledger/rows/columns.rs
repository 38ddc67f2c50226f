//! The columns of each table that the statement writes.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Declares a struct of column arrays.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($column:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(in super::super) struct $name { $(pub(in super::super) $column: Vec<$kind>,)* }
    };
}

columns! {
    /// One element for each card.
    UpdateColumns {
        account_id: Uuid,
        card_id: Uuid,
        customer_id: Option<Uuid>,
        status: &'static str,
        balance: i64,
        held: i64,
        seq: i64,
        event_seq: i64,
        holds_due_at: Option<DateTime<Utc>>,
        rules_version: i64,
        next_balance: i64,
        next_held: i64,
        next_seq: i64,
        next_event_seq: i64,
        next_holds_due_at: Option<DateTime<Utc>>,
        // Cards with one number are written together, or none of them is.
        group_number: i64,
    }
}

columns! {
    /// One element for each movement.
    MovementColumns {
        account_id: Uuid,
        card_id: Uuid,
        seq: i64,
        sequence: i64,
        id: Uuid,
        kind: &'static str,
        amount: i64,
        balance_after: i64,
        description: String,
        authorization_id: Option<Uuid>,
        related_seq: Option<i64>,
        merchant: Option<String>,
        user_id: Option<Uuid>,
        api_key_id: Option<Uuid>,
        request_id: Option<String>,
        overdrawn_id: Option<Uuid>,
        transfer_id: Option<Uuid>,
    }
}

columns! {
    /// One element for each window of a limit, with what is added to what was spent in it.
    UsageColumns {
        account_id: Uuid,
        card_id: Uuid,
        limit_id: Uuid,
        window_start: DateTime<Utc>,
        amount: i64,
        count: i64,
    }
}

columns! {
    /// One element for each idempotency key.
    KeyColumns {
        account_id: Uuid,
        card_id: Uuid,
        key: String,
        fingerprint: Vec<u8>,
        body: Vec<u8>,
    }
}

columns! {
    /// One element for each new authorisation.
    CreatedColumns {
        account_id: Uuid,
        card_id: Uuid,
        id: Uuid,
        status: &'static str,
        kind: &'static str,
        requested: i64,
        authorized: i64,
        held: i64,
        captured: i64,
        merchant_amount: Option<i64>,
        merchant_currency: Option<String>,
        merchant_id: Option<String>,
        merchant_name: Option<String>,
        merchant_category: Option<String>,
        merchant_city: Option<String>,
        merchant_country: Option<String>,
        entry_mode: &'static str,
        card_present: Option<bool>,
        network_transaction_id: Option<String>,
        metadata: Option<String>,
        approval_code: Option<String>,
        response_code: String,
        decided_by: &'static str,
        decline_code: Option<&'static str>,
        decline_message: Option<String>,
        checks: Option<String>,
        last_ordinal: i32,
        entry_sequence: i64,
        sequence: i64,
        expires_at: Option<DateTime<Utc>>,
    }
}

columns! {
    /// One element for each authorisation that changes.
    ChangedColumns {
        account_id: Uuid,
        card_id: Uuid,
        id: Uuid,
        status: &'static str,
        authorized: i64,
        held: i64,
        captured: i64,
        excess: i64,
        reversed: i64,
        expired: i64,
        released: i64,
        capture_reversed: i64,
        refunded: i64,
        refund_reversed: i64,
        last_ordinal: i32,
        entry_sequence: i64,
        sequence: i64,
        expires_at: Option<DateTime<Utc>>,
    }
}

columns! {
    /// One element for each entry of an authorisation.
    EntryColumns {
        account_id: Uuid,
        card_id: Uuid,
        sequence: i64,
        id: Uuid,
        authorization_id: Uuid,
        ordinal: i32,
        previous_sequence: Option<i64>,
        kind: &'static str,
        amount: i64,
        held_before: i64,
        held_after: i64,
        card_balance: i64,
        card_held: i64,
        movement_seq: Option<i64>,
        decline_code: Option<&'static str>,
        decline_message: Option<String>,
        checks: Option<String>,
        reason: Option<String>,
        user_id: Option<Uuid>,
        api_key_id: Option<Uuid>,
        request_id: Option<String>,
        event_type: &'static str,
        state: String,
    }
}
