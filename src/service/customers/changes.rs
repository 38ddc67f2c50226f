//! The units of work that write customers.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{Customer, store};
use crate::domain::{
    actor::Actor,
    audit_event::Event,
    customer::{CustomerPatch, NewCustomer},
    error::Refusal,
    id::{AccountId, CustomerId},
    search::words,
    text::Email,
};
use crate::service::{audit, error::Result, unit::Unit};

pub(super) struct Create<'a> {
    pub(super) actor: &'a Actor,
    pub(super) new: &'a NewCustomer,
    pub(super) sharded: bool,
}

impl Unit for Create<'_> {
    type Output = Customer;

    async fn run(&self, connection: &mut PgConnection) -> Result<Customer> {
        let Self { actor, new, sharded } = *self;
        let words = words(new.name.as_str(), new.email.as_str());
        let Some(customer) = store::insert(connection, actor.account, CustomerId::new(), new, words, sharded).await? else {
            let email = store::email_owner(connection, actor.account, &new.email.key()).await?;
            return Err(if email.is_some() { Refusal::DuplicateEmail } else { Refusal::DuplicateExternalId }.into());
        };
        audit::record_in(connection, actor, Event::CustomerCreated { customer: customer.id }).await?;
        Ok(customer)
    }
}

pub(super) struct Change<'a> {
    pub(super) actor: &'a Actor,
    pub(super) customer: Option<CustomerId>,
    pub(super) patch: &'a CustomerPatch,
}

impl Unit for Change<'_> {
    type Output = Customer;

    async fn run(&self, connection: &mut PgConnection) -> Result<Customer> {
        let account = self.actor.account;
        let id = self.customer.ok_or(Refusal::CustomerNotFound)?;
        let found = store::lock(connection, account, id).await?.ok_or(Refusal::CustomerNotFound)?;
        if found.erased_at.is_some() {
            return Err(Refusal::CustomerErased.into());
        }
        let before = found.profile();
        let after = before.patched(self.patch).map_err(|_| Refusal::TooMuchMetadata)?;
        let fields = before.changes(&after);
        if after == before {
            return Ok(found);
        }
        if let Some(email) = self.patch.email.as_ref().map(Email::key)
            && store::email_owner(connection, account, &email).await?.is_some_and(|owner| owner != id)
        {
            return Err(Refusal::DuplicateEmail.into());
        }
        if let Some(Some(external_id)) = &self.patch.external_id
            && store::external_id_owner(connection, account, external_id).await?.is_some_and(|owner| owner != id)
        {
            return Err(Refusal::DuplicateExternalId.into());
        }
        let metadata = after.metadata.to_column();
        store::change(connection, account, id, &after, metadata.as_deref()).await?;
        if fields.name || fields.email {
            let words = words(&after.name, &after.email);
            store::delete_other_words(connection, account, id, &words).await?;
            let rows: Vec<_> = words.into_iter().map(|word| (id, found.number, word)).collect();
            store::insert_words(connection, account, &rows).await?;
        }
        audit::record_in(connection, self.actor, Event::CustomerChanged { customer: id, fields }).await?;
        let external_id = after.external_id;
        Ok(Customer { name: after.name, email: after.email, metadata, external_id, ..found })
    }
}

/// Writes the words of customers that have none. Returns how many they were.
pub(super) struct FillWords {
    pub(super) limit: i64,
}

impl Unit for FillWords {
    type Output = usize;

    async fn run(&self, connection: &mut PgConnection) -> Result<usize> {
        let mut accounts: BTreeMap<AccountId, Vec<CustomerId>> = BTreeMap::new();
        for (account, customer) in store::without_words(connection, self.limit).await? {
            accounts.entry(account).or_default().push(customer);
        }
        let mut count = 0;
        for (account, found) in accounts {
            let customers = store::lock_without_words(connection, account, &found).await?;
            count += customers.len();
            let ids: Vec<CustomerId> = customers.iter().map(|customer| customer.id).collect();
            let rows = customers.iter().flat_map(|store::Wordless { id, number, name, email, .. }| {
                words(name, email).into_iter().map(|word| (*id, *number, word))
            });
            store::insert_words(connection, account, &rows.collect::<Vec<_>>()).await?;
            store::mark_words(connection, account, &ids).await?;
        }
        Ok(count)
    }
}
