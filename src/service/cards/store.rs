//! The SQL of cards.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Card, CardFilter};
use crate::domain::{
    card::CardStatus,
    currency::Currency,
    id::{AccountId, CardId, CustomerId},
    money::Money,
    word::Word,
};
use crate::service::{error::Result, unit::ReadConnection};

/// The state of a card that rules depend on, read under its row lock.
pub(super) struct LockedCard {
    pub(super) status: Word<CardStatus>,
    pub(super) customer_id: Option<CustomerId>,
}

/// Inserts a card, whose creation is the first event of its history. Updating the counter locks the account's row until the commit, so that numbers follow commit order.
pub(super) async fn insert(connection: &mut PgConnection, account: AccountId, id: CardId, currency: Currency) -> Result<Card> {
    let card = sqlx::query_as!(
        Card,
        r#"
        with counted as (
            update accounts
            set cards_created = cards_created + 1
            where account_id = $1
            returning cards_created
        )
        insert into cards (account_id, id, number, currency, event_seq)
        select $1, $2, cards_created, $3, 1
        from counted
        returning
            id as "id: CardId",
            number,
            customer_id as "customer_id: CustomerId",
            status as "status: Word<CardStatus>",
            currency as "currency: Word<Currency>",
            balance as "balance: Money",
            held as "held!: Money",
            created_at,
            replaces as "replaces: CardId",
            replaced_by as "replaced_by: CardId"
        "#,
        account as AccountId,
        id as CardId,
        currency as Currency,
    )
    .fetch_one(connection)
    .await?;
    Ok(card)
}

/// Finds cards by account and id, in the order asked for. None for a card that does not exist.
pub(super) async fn find_all(mut connection: ReadConnection<'_>, wanted: &[(AccountId, CardId)]) -> Result<Vec<Option<Card>>> {
    let accounts: Vec<Uuid> = wanted.iter().map(|(account, _)| (*account).into()).collect();
    let cards: Vec<Uuid> = wanted.iter().map(|(_, card)| (*card).into()).collect();
    let rows = sqlx::query!(
        r#"
        select
            wanted.place as "place!",
            cards.id as "id: CardId",
            cards.number,
            cards.customer_id as "customer_id: CustomerId",
            cards.status as "status: Word<CardStatus>",
            cards.currency as "currency: Word<Currency>",
            cards.balance as "balance: Money",
            case
                when cards.held > 0 and cards.holds_due_at <= now() then cards.held - coalesce((
                    select sum(due.held)
                    from authorizations due
                    where due.account_id = cards.account_id
                        and due.card_id = cards.id
                        and due.status = 'pending'
                        and due.expires_at <= now()
                ), 0)::bigint
                else cards.held
            end as "held!: Money",
            cards.created_at,
            cards.replaces as "replaces: CardId",
            cards.replaced_by as "replaced_by: CardId"
        from unnest($1::uuid[], $2::uuid[]) with ordinality as wanted (account_id, id, place)
        join cards on cards.account_id = wanted.account_id and cards.id = wanted.id
        "#,
        &accounts,
        &cards,
    )
    .fetch_all(connection.executor())
    .await?;
    let mut found: Vec<Option<Card>> = wanted.iter().map(|_| None).collect();
    for row in rows {
        let slot = usize::try_from(row.place).ok().and_then(|place| found.get_mut(place.checked_sub(1)?));
        if let Some(slot) = slot {
            *slot = Some(Card {
                id: row.id,
                number: row.number,
                customer_id: row.customer_id,
                status: row.status,
                currency: row.currency,
                balance: row.balance,
                held: row.held,
                created_at: row.created_at,
                replaces: row.replaces,
                replaced_by: row.replaced_by,
            });
        }
    }
    Ok(found)
}

pub(super) async fn page(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    filter: CardFilter,
    after: i64,
    limit: i64,
) -> Result<Vec<Card>> {
    let cards = sqlx::query_as!(
        Card,
        r#"
        select
            id as "id: CardId",
            number,
            customer_id as "customer_id: CustomerId",
            status as "status: Word<CardStatus>",
            currency as "currency: Word<Currency>",
            balance as "balance: Money",
            case
                when held > 0 and holds_due_at <= now() then held - coalesce((
                    select sum(due.held)
                    from authorizations due
                    where due.account_id = $1
                        and due.card_id = cards.id
                        and due.status = 'pending'
                        and due.expires_at <= now()
                ), 0)::bigint
                else held
            end as "held!: Money",
            created_at,
            replaces as "replaces: CardId",
            replaced_by as "replaced_by: CardId"
        from cards
        where account_id = $1
            and number > $2
            and ($3::uuid is null or customer_id = $3)
            and ($4::text is null or status = $4)
            and ($5::text is null or currency = $5)
        order by number
        limit $6
        "#,
        account as AccountId,
        after,
        filter.customer_id as Option<CustomerId>,
        filter.status.map(CardStatus::name),
        filter.currency.map(Currency::code),
        limit,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(cards)
}

pub(super) async fn lock(connection: &mut PgConnection, account: AccountId, id: CardId) -> Result<Option<LockedCard>> {
    let card = sqlx::query_as!(
        LockedCard,
        r#"
        select
            status as "status: Word<CardStatus>",
            customer_id as "customer_id: CustomerId"
        from cards
        where account_id = $1 and id = $2
        for no key update
        "#,
        account as AccountId,
        id as CardId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(card)
}

/// Sets the customer. Returns the position of the change in the card's history.
pub(super) async fn set_customer(connection: &mut PgConnection, account: AccountId, id: CardId, customer: CustomerId) -> Result<i64> {
    let sequence = sqlx::query_scalar!(
        "
        update cards
        set customer_id = $3, event_seq = event_seq + 1
        where account_id = $1 and id = $2
        returning event_seq
        ",
        account as AccountId,
        id as CardId,
        customer as CustomerId,
    )
    .fetch_one(connection)
    .await?;
    Ok(sequence)
}

/// Sets the status. Returns the position of the change in the card's history.
pub(super) async fn set_status(connection: &mut PgConnection, account: AccountId, id: CardId, status: CardStatus) -> Result<i64> {
    let sequence = sqlx::query_scalar!(
        "
        update cards
        set status = $3, event_seq = event_seq + 1
        where account_id = $1 and id = $2
        returning event_seq
        ",
        account as AccountId,
        id as CardId,
        status.name(),
    )
    .fetch_one(connection)
    .await?;
    Ok(sequence)
}
