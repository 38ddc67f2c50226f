//! Transactions: what is read, locked, decided by the domain, and written. Independent of HTTP.
//!
//! Each resource has a folder. Its `mod.rs` runs units of work. Its `store.rs` is private, and contains only SQL: it
//! decides nothing, and begins and commits nothing.

pub mod accounts;
pub mod admission;
pub mod api_keys;
pub mod audit;
pub mod auth;
mod batch;
pub mod cards;
pub mod customers;
pub mod deployment;
pub mod error;
pub mod events;
pub mod idempotency;
pub mod ledger;
pub mod replacement;
pub mod spending;
mod unit;
pub mod users;
pub mod webhooks;

use std::time::Duration;

use crate::database::Pools;
use crate::domain::{environment::Environment, hold_time::HoldTimes};
use crate::egress::Egress;

use self::{
    accounts::Accounts,
    admission::{Admission, RequestLimits},
    api_keys::ApiKeys,
    audit::Audit,
    auth::{Auth, Lifetimes, LoginLimits, Passwords, Tokens},
    cards::Cards,
    customers::Customers,
    deployment::Deployment,
    error::Result,
    events::Events,
    idempotency::Idempotency,
    ledger::Ledger,
    replacement::Replacements,
    spending::Spending,
    users::Users,
    webhooks::{SecretKeys, Webhooks},
};

/// All services.
#[derive(Clone, Debug)]
pub struct Services {
    /// Accounts: the tenants.
    pub accounts: Accounts,
    /// The caller of a request, and the limits of requests.
    pub admission: Admission,
    /// API keys.
    pub api_keys: ApiKeys,
    /// The audit log.
    pub audit: Audit,
    /// Logins.
    pub auth: Auth,
    /// Cards.
    pub cards: Cards,
    /// Customers.
    pub customers: Customers,
    /// The environment and health of the database.
    pub deployment: Deployment,
    /// The feeds of accounts.
    pub events: Events,
    /// Stored responses.
    pub idempotency: Idempotency,
    /// Money.
    pub ledger: Ledger,
    /// Replacements of cards.
    pub replacements: Replacements,
    /// Controls and limits of cards and customers.
    pub spending: Spending,
    /// Users.
    pub users: Users,
    /// Webhooks.
    pub webhooks: Webhooks,
}

/// How long rows are kept that nothing needs any more.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// The response to a request under an idempotency key.
    pub idempotency_keys: Duration,
    /// A session that is over, and its refresh tokens.
    pub sessions: Duration,
    /// An audit event, at least 30 days. None: for good.
    pub audit_events: Option<Duration>,
    /// An event of a feed.
    pub events: Duration,
    /// A delivery of a webhook, and its attempts.
    pub webhooks: Duration,
}

impl Services {
    /// The most batches of all kinds that can be in flight. With fewer connections, some of them wait.
    pub const BATCHES: u32 = ledger::MAX_IN_FLIGHT + admission::MAX_IN_FLIGHT + cards::MAX_IN_FLIGHT;

    /// Wires the services.
    ///
    /// # Errors
    /// The system provides no randomness or no threads.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the settings")]
    pub fn new(
        pools: &Pools,
        environment: Environment,
        tokens: Tokens,
        lifetimes: Lifetimes,
        logins: LoginLimits,
        hold_times: HoldTimes,
        requests: RequestLimits,
        (egress, webhook_keys): (Egress, SecretKeys),
    ) -> Result<Self> {
        let pool = &pools.requests;
        let passwords = Passwords::new()?;
        let events = Events::new(pool.clone());
        Ok(Self {
            accounts: Accounts::new(pool.clone()),
            api_keys: ApiKeys::new(pool.clone(), environment),
            audit: Audit::new(pool.clone()),
            auth: Auth::new(pool.clone(), passwords.clone(), tokens, lifetimes, logins),
            cards: Cards::new(pools.clone()),
            customers: Customers::new(pool.clone()),
            deployment: Deployment::new(pool.clone()),
            webhooks: Webhooks::new(pool.clone(), events.clone(), egress, webhook_keys),
            events,
            idempotency: Idempotency::new(pool.clone()),
            ledger: Ledger::new(pools.clone(), hold_times),
            admission: Admission::new(pools.clone(), requests),
            replacements: Replacements::new(pool.clone()),
            spending: Spending::new(pool.clone()),
            users: Users::new(pool.clone(), passwords),
        })
    }

    /// Deletes some of what has expired: stored responses, failed logins, trusted sources, ended sessions, audit events,
    /// events of feeds, deliveries. Returns whether there may be more.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn purge_expired(&self, retention: &Retention) -> Result<bool> {
        let responses = self.idempotency.purge_older_than(retention.idempotency_keys).await?;
        let logins = self.auth.purge_expired(retention.sessions).await?;
        let events = match retention.audit_events {
            Some(age) => self.audit.purge_older_than(age).await?,
            None => false,
        };
        let feeds = self.events.purge_older_than(retention.events).await?;
        let deliveries = self.webhooks.purge_older_than(retention.webhooks).await?;
        Ok(responses || logins || events || feeds || deliveries)
    }
}
