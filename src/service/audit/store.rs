//! The SQL of the audit log.

use std::time::Duration;

use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

use super::{AuditEvent, EventFilter};
use crate::domain::{
    actor::Actor,
    audit_event::{Described, EventType, Subject},
    feed_event::Announcement,
    id::{AccountId, ApiKeyId, AuthorizationId, CardId, EventId, LimitId, MessageId, SessionId, UserId, WebhookEndpointId, untyped},
    word::Word,
};
use crate::service::{
    error::{Error, Result},
    unit::ReadConnection,
};

/// Inserts an event. It is told in the account's feed as well, if it announces something and there is a feed.
pub(super) async fn insert(
    connection: &mut PgConnection,
    actor: &Actor,
    id: EventId,
    event: &Described,
    announcement: Option<&Announcement>,
) -> Result<()> {
    let (card, sequence) = announcement.and_then(|announcement| announcement.card).unzip();
    let (kind, subject) = to_columns(event.subject);
    sqlx::query!(
        "
        with recorded as (
            insert into audit_events (
                account_id, id, type, user_id, session_id, api_key_id, subject_kind, subject_id, before, after, request_id,
                address
            )
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ), block as (
            insert into event_blocks (account_id, created_at)
            select account_id, statement_timestamp()
            from event_feeds
            where account_id = $1 and enabled and $14::text is not null
            returning number, created_at
        )
        insert into events (account_id, block, ordinal, id, type, card_id, sequence, state, created_at)
        select $1, block.number, 1, $13, $14, $15, $16, $17, block.created_at
        from block
        ",
        actor.account as AccountId,
        id as EventId,
        event.event_type.name(),
        actor.user() as Option<UserId>,
        actor.session() as Option<SessionId>,
        actor.api_key() as Option<ApiKeyId>,
        kind,
        subject,
        event.before,
        event.after,
        actor.origin().map(|origin| &*origin.request_id),
        actor.origin().map(|origin| &*origin.address),
        MessageId::new() as MessageId,
        announcement.map(|announcement| announcement.event_type.name()),
        card as Option<CardId>,
        sequence,
        announcement.map(|announcement| announcement.data.to_string()),
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn page(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    filter: EventFilter,
    before: i64,
    limit: i64,
) -> Result<Vec<AuditEvent>> {
    let (kind, subject) = filter.subject.map(to_columns).unzip();
    let rows = sqlx::query!(
        r#"
        select
            id as "id: EventId",
            number,
            type,
            user_id as "user_id: UserId",
            session_id as "session_id: SessionId",
            api_key_id as "api_key_id: ApiKeyId",
            subject_kind,
            subject_id,
            before,
            after,
            request_id,
            address,
            created_at
        from audit_events
        where account_id = $1
            and number < $2
            and ($3::text is null or type = $3)
            and ($4::uuid is null or user_id = $4)
            and ($5::text is null or (subject_kind = $5 and subject_id = $6))
            -- Events of keys have no user, so the index of users leads to them.
            and ($8::uuid is null or (user_id is null and api_key_id = $8))
        order by number desc
        limit $7
        "#,
        account as AccountId,
        before,
        filter.event_type.map(EventType::name),
        filter.user as Option<UserId>,
        kind,
        subject,
        limit,
        filter.api_key as Option<ApiKeyId>,
    )
    .fetch_all(connection.executor())
    .await?;
    let events = rows.into_iter().map(|row| AuditEvent {
        id: row.id,
        number: row.number,
        event_type: row.r#type,
        user: row.user_id,
        session: row.session_id,
        api_key: row.api_key_id,
        subject: to_subject(&row.subject_kind, row.subject_id),
        before: row.before,
        after: row.after,
        request_id: row.request_id,
        address: row.address,
        created_at: row.created_at,
    });
    Ok(events.collect())
}

/// Deletes events of all accounts, by age alone. The function of the schema refuses to delete young ones.
pub(super) async fn delete_older_than(connection: &mut PgConnection, age: Duration, limit: i64) -> Result<i64> {
    let age = PgInterval::try_from(age).map_err(|error| Error::internal("converting an age", error))?;
    let deleted = sqlx::query_scalar!(r#"select delete_old_audit_events($1, $2) as "deleted!""#, age, limit).fetch_one(connection).await?;
    Ok(deleted)
}

fn to_columns(subject: Subject) -> (&'static str, Uuid) {
    match subject {
        Subject::Account(id) => ("account", id.into()),
        Subject::User(id) => ("user", id.into()),
        Subject::Session(id) => ("session", id.into()),
        Subject::Customer(id) => ("customer", id.into()),
        Subject::Card(id) => ("card", id.into()),
        // From here on a kind is the prefix of its ids: a replica of the version before shows a kind that it does not know.
        Subject::ApiKey(id) => (ApiKeyId::PREFIX, id.into()),
        Subject::Authorization(id) => (AuthorizationId::PREFIX, id.into()),
        Subject::WebhookEndpoint(id) => (WebhookEndpointId::PREFIX, id.into()),
        Subject::Limit(id) => (LimitId::PREFIX, id.into()),
    }
}

/// A kind of a later version is the prefix of its ids.
fn to_subject(kind: &str, id: Uuid) -> Word<Subject> {
    Word::Known(match kind {
        "account" => Subject::Account(id.into()),
        "user" => Subject::User(id.into()),
        "session" => Subject::Session(id.into()),
        "customer" => Subject::Customer(id.into()),
        "card" => Subject::Card(id.into()),
        ApiKeyId::PREFIX => Subject::ApiKey(id.into()),
        AuthorizationId::PREFIX => Subject::Authorization(id.into()),
        WebhookEndpointId::PREFIX => Subject::WebhookEndpoint(id.into()),
        LimitId::PREFIX => Subject::Limit(id.into()),
        prefix => return Word::Unknown(untyped(prefix, id).into()),
    })
}
