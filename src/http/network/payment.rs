//! The body of a request to authorise a payment.

use strum::VariantArray as _;

use super::super::{
    faults::{self, FaultCode},
    json::{Fields, FromFields},
    openapi::payment_schema::{self, names},
};
use crate::domain::{
    authorization::AuthorizationKind,
    currency::CurrencyCode,
    decision::{Asked, DeclineCode},
    merchant::{EntryMode, Merchant, MerchantAmount, MerchantCurrency},
};
use crate::service::ledger::{Details, NewAuthorization};

/// An authorisation. Only the sandbox can be asked to decline.
pub(in super::super) struct Authorize<const SANDBOX: bool>(pub(super) NewAuthorization);

impl<const SANDBOX: bool> FromFields for Authorize<SANDBOX> {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let new = read(fields, SANDBOX);
        let expires_at = fields.optional("expiresAt", Fields::moment);
        Some(Self(NewAuthorization { expires_at, ..new? }))
    }
}

/// An authorisation that is captured at once.
pub(in super::super) struct Purchase<const SANDBOX: bool>(pub(super) NewAuthorization);

impl<const SANDBOX: bool> FromFields for Purchase<SANDBOX> {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self(NewAuthorization { is_purchase: true, ..read(fields, SANDBOX)? }))
    }
}

/// An authorisation that is only asked about. The path has the card.
pub(in super::super) struct Preview(pub(super) NewAuthorization);

impl FromFields for Preview {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        read_anonymous(fields, false).map(Self)
    }
}

fn read(fields: &mut Fields<'_>, is_sandbox: bool) -> Option<NewAuthorization> {
    let card = fields.id("cardId");
    let new = read_anonymous(fields, is_sandbox);
    Some(NewAuthorization { card: card?, ..new? })
}

/// Reads everything but the card.
fn read_anonymous(fields: &mut Fields<'_>, is_sandbox: bool) -> Option<NewAuthorization> {
    let amount = fields.sum("amount");
    let currency: Option<CurrencyCode> = fields.optional("currency", Fields::currency_code);
    let kind: Option<AuthorizationKind> = fields.optional("kind", |fields, name| fields.word(name, &names(AuthorizationKind::VARIANTS)));
    let partial_approval = fields.optional("partialApproval", Fields::bool);
    let stand_in = fields.optional("standIn", Fields::bool);
    let forced = if is_sandbox { force_decline(fields, stand_in) } else { None };
    let details = details(fields);
    let asked = Asked {
        amount: amount?,
        kind: kind.unwrap_or_default(),
        currency,
        partial_approval: partial_approval.unwrap_or_default(),
        stand_in: stand_in.unwrap_or_default(),
        forced,
    };
    Some(NewAuthorization { card: None, asked, details, expires_at: None, is_purchase: false })
}

fn force_decline(fields: &mut Fields<'_>, stand_in: Option<bool>) -> Option<DeclineCode> {
    let forced = fields.optional("forceDecline", |fields, name| fields.word(name, &names(DeclineCode::VARIANTS)));
    if forced.is_some() && stand_in == Some(true) {
        fields.fault(
            "forceDecline",
            FaultCode::Excluded,
            "must be left out with standIn: nobody can decline what the network has approved",
        );
    }
    forced
}

fn details(fields: &mut Fields<'_>) -> Details {
    let entry_mode: Option<EntryMode> = fields.optional("entryMode", |fields, name| fields.word(name, &names(EntryMode::VARIANTS)));
    Details {
        merchant_amount: merchant_amount(fields),
        entry_mode: entry_mode.unwrap_or_default(),
        card_present: fields.optional("cardPresent", Fields::bool),
        merchant: merchant(fields),
        network_transaction_id: fields.optional("networkTransactionId", Fields::text),
        metadata: fields.optional("metadata", Fields::metadata),
    }
}

/// An amount and its currency: both or neither.
fn merchant_amount(fields: &mut Fields<'_>) -> Option<MerchantAmount> {
    let (amount, currency) = ("merchantAmount", "merchantCurrency");
    let [has_amount, has_currency] = fields.together([amount, currency]);
    let currency: Option<MerchantCurrency> = has_currency.then(|| fields.merchant_currency(currency)).flatten();
    if !has_amount {
        return None;
    }
    fields.number(amount, payment_schema::requested_merchant_amount, |sent| match currency {
        Some(currency) => MerchantAmount::from_json(sent, currency)
            .map(Some)
            .map_err(|fault| faults::merchant_money(amount, fault, sent, currency.digits())),
        // The currency has a fault of its own.
        None => Ok(None),
    })?
}

/// The merchant of a body, if it has one.
pub(super) fn merchant(fields: &mut Fields<'_>) -> Merchant {
    fields.optional("merchant", |fields, name| fields.object(name, "MerchantRequest")).unwrap_or_default()
}

impl FromFields for Merchant {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            id: fields.optional("id", Fields::text),
            name: fields.optional("name", Fields::text),
            category: fields.optional("mcc", Fields::text),
            city: fields.optional("city", Fields::text),
            country: fields.optional("country", Fields::text),
        })
    }
}
