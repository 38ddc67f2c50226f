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
