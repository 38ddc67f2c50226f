//! The words of endpoints and deliveries.

use serde::Serialize;
use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray};

/// The default of `maxConcurrency`.
pub const DEFAULT_CONCURRENCY: u16 = 10;

/// The most calls that an endpoint gets at a time.
pub const MAX_CONCURRENCY: u16 = 100;

/// The most endpoints of an account.
pub const MAX_ENDPOINTS: i64 = 20;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumCount, EnumString, IntoStaticStr, VariantArray)]
            #[serde(rename_all = "snake_case")]
            #[strum(serialize_all = "snake_case")]
            #[sqlx(type_name = "text", rename_all = "snake_case")]
            pub enum $name { $($(#[$about])* $variant,)* }

            impl $name {
                /// Every one.
                pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)*];

                /// The name in JSON and in the database.
                #[must_use]
                pub fn name(self) -> &'static str {
                    self.into()
                }
            }
        )*
    };
}

words! {
    /// Whether events are sent to an endpoint.
    EndpointStatus {
        /// They are.
        Enabled,
        /// They wait.
        Disabled,
    }

    /// Why an endpoint is disabled.
    DisabledReason {
        /// It failed for too long.
        Failing,
        /// It answered 410: it is gone for good.
        Gone,
        /// An admin of the account disabled it.
        Operator,
    }

    /// What order an endpoint is promised.
    Ordering {
        /// None. Whoever needs one looks at `sequence`.
        None,
        /// An event of a card is sent once the one before it was accepted, or was given up.
        Card,
    }

    /// What became of a delivery.
    DeliveryStatus {
        /// It is sent, or will be.
        Pending,
        /// It was accepted.
        Delivered,
        /// It was given up.
        Failed,
        /// It was skipped when the endpoint was enabled again.
        Cancelled,
    }

    /// Which events a replay sends again.
    ReplayOnly {
        /// Those that were given up or skipped.
        Failed,
        /// Those for which there is no delivery.
        Missing,
        /// All of them.
        All,
    }
}

/// Which members of a webhook endpoint a request sets. The audit log does not have their values: a URL can hold a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the members of an endpoint")]
#[expect(clippy::struct_excessive_bools, reason = "a set of members")]
pub struct EndpointChanges {
    pub url: bool,
    pub event_types: bool,
    pub description: bool,
    pub max_concurrency: bool,
    pub ordering: bool,
}

impl EndpointChanges {
    /// Their names.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let named = [
            ("url", self.url),
            ("eventTypes", self.event_types),
            ("description", self.description),
            ("maxConcurrency", self.max_concurrency),
            ("ordering", self.ordering),
        ];
        named.into_iter().filter_map(|(name, is_set)| is_set.then_some(name)).collect()
    }
}
