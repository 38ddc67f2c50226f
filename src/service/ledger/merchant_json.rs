//! The merchant of a movement, as a JSON object.

use super::card_write::to_json;
use crate::domain::merchant::Merchant;

/// The merchant of a movement.
pub(super) fn merchant_of(json: Option<&str>) -> Merchant {
    let json: Option<serde_json::Value> = json.and_then(|json| serde_json::from_str(json).ok());
    let member = |name: &str| json.as_ref()?.get(name)?.as_str().map(str::to_owned);
    Merchant {
        id: member("id").and_then(|text| text.parse().ok()),
        name: member("name").and_then(|text| text.parse().ok()),
        category: member("mcc").and_then(|text| text.parse().ok()),
        city: member("city").and_then(|text| text.parse().ok()),
        country: member("country").and_then(|text| text.parse().ok()),
    }
}

/// A merchant of which anything is known, as a JSON object.
pub(super) fn merchant_json(merchant: &Merchant) -> Option<String> {
    (*merchant != Merchant::default()).then(|| to_json(merchant))
}
