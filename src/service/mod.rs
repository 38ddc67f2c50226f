//! The rules. Knows no HTTP: what it does is asked for, and refused, in the domain's own words.
//!
//! One folder a resource: `mod.rs` opens transactions, pure files decide, `store.rs` is private
//! to its folder and holds nothing but SQL.

pub mod accounts;
pub mod admission;
pub mod audit;
pub mod auth;
mod batch;
pub mod cards;
pub mod customers;
pub mod deployment;
pub mod error;
pub mod idempotency;
pub mod ledger;
mod unit;
pub mod users;

use std::num::NonZeroU32;

use crate::database::Pools;

use self::{
    accounts::Accounts,
    admission::Admission,
    audit::Audit,
    auth::{Auth, Lifetimes, LoginLimits, Passwords, Tokens},
    cards::Cards,
    customers::Customers,
    deployment::Deployment,
    error::Result,
    idempotency::Idempotency,
    ledger::Ledger,
    users::Users,
};

/// Every service, on one pool.
#[derive(Clone, Debug)]
pub struct Services {
    /// Tenants.
    pub accounts: Accounts,
    /// Who calls, and requests per hour.
    pub admission: Admission,
    /// Who did what.
    pub audit: Audit,
    /// Logins.
    pub auth: Auth,
    /// Cards.
    pub cards: Cards,
    /// Customers.
    pub customers: Customers,
    /// What this database is.
    pub deployment: Deployment,
    /// Answers kept per key.
    pub idempotency: Idempotency,
    /// Money.
    pub ledger: Ledger,
    /// The people who log in.
    pub users: Users,
}

impl Services {
    /// The most batches of every kind together that execute at once. With fewer connections some of them wait.
    pub const BATCHES: u32 = ledger::FLIGHTS + admission::FLIGHTS + cards::FLIGHTS;

    /// Wires the services.
    ///
    /// # Errors
    /// The system has no randomness or no threads to give.
    pub fn new(pools: &Pools, tokens: Tokens, lifetimes: Lifetimes, logins: LoginLimits, requests_per_hour: NonZeroU32) -> Result<Self> {
        let pool = &pools.requests;
        let passwords = Passwords::new()?;
        Ok(Self {
            accounts: Accounts::new(pool.clone()),
            audit: Audit::new(pool.clone()),
            auth: Auth::new(pool.clone(), passwords.clone(), tokens, lifetimes, logins),
            cards: Cards::new(pools.clone()),
            customers: Customers::new(pool.clone()),
            deployment: Deployment::new(pool.clone()),
            idempotency: Idempotency::new(pool.clone()),
            ledger: Ledger::new(pools.clone()),
            admission: Admission::new(pools.clone(), requests_per_hour),
            users: Users::new(pool.clone(), passwords),
        })
    }

    /// Deletes some of what has had its time: answers kept per key, failed logins, known sources. Tells
    /// whether there may be more.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_some(&self) -> Result<bool> {
        let answers = self.idempotency.forget_some().await?;
        let attempts = self.auth.forget_some_attempts().await?;
        Ok(answers || attempts)
    }
}
