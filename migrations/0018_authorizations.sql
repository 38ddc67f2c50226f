-- What cards are asked to pay, and what is held for it.
--
-- A card's held money is the sum of what its pending authorisations hold. Each change of a hold is an entry, and the
-- entries are never changed. Entries and movements of a card share one sequence, event_seq, so that all that happened to
-- the card has one order.
--
-- The constraints of movements and cards are not valid yet: they hold for new rows at once, and 0022 checks the others
-- without blocking anybody.

alter table cards
    -- What is authorised and not yet captured.
    add column held bigint not null default 0,
    -- The sequence number of the newest entry or movement; 0 before the first.
    add column event_seq bigint not null default 0,
    -- No open hold expires before this moment. It may be earlier than the first that does. Null: there is no open hold.
    add column holds_due_at timestamptz,
    add constraint cards_held_bounds check (held between 0 and 9007199254740991) not valid,
    add constraint cards_event_seq_not_negative check (event_seq >= 0) not valid,
    -- What is held ends: without the moment, no reader and no sweeper would look for its end.
    add constraint cards_held_money_is_due check (held = 0 or holds_due_at is not null) not valid,
    drop constraint cards_balance_bounds,
    -- A capture that nobody may refuse can take a balance below zero.
    add constraint cards_balance_bounds check (balance between -9007199254740991 and 9007199254740991) not valid;

alter table movements
    add column authorization_id uuid,
    -- The seq of the movement of the same card that this one reverses or refunds.
    add column related_seq bigint,
    -- The merchant as a JSON object.
    add column merchant text,
    -- The key that posted it, instead of a user.
    add column api_key_id uuid,
    drop constraint movements_kind_known,
    add constraint movements_kind_known check (
        kind in (
            'top_up', 'withdrawal', 'purchase', 'capture', 'capture_reversal', 'refund', 'refund_reversal', 'transfer_in',
            'transfer_out'
        )
    ) not valid,
    drop constraint movements_amount_sign,
    add constraint movements_amount_sign check (
        case
            when kind in ('withdrawal', 'purchase', 'capture', 'refund_reversal', 'transfer_out') then amount < 0
            else amount > 0
        end
    ) not valid,
    drop constraint movements_balance_bounds,
    -- What the account decides itself never overdraws a card. A network can have approved a purchase by itself.
    add constraint movements_balance_bounds check (
        balance_after between -9007199254740991 and 9007199254740991
        and (
            balance_after >= 0
            or kind not in ('withdrawal', 'purchase', 'transfer_out')
            or (kind = 'purchase' and authorization_id is not null)
        )
    ) not valid;

create table authorizations (
    account_id uuid not null,
    id uuid not null,
    card_id uuid not null,
    status text not null,
    kind text not null,
    requested bigint not null,
    authorized bigint not null,
    held bigint not null,
    captured bigint not null default 0,
    -- The part of captured that no hold covered.
    excess bigint not null default 0,
    reversed bigint not null default 0,
    expired bigint not null default 0,
    released bigint not null default 0,
    capture_reversed bigint not null default 0,
    refunded bigint not null default 0,
    refund_reversed bigint not null default 0,
    merchant_amount bigint,
    merchant_currency text,
    merchant_id text,
    merchant_name text,
    merchant_category text,
    merchant_city text,
    merchant_country text,
    entry_mode text not null,
    card_present boolean,
    network_transaction_id text,
    -- A JSON object.
    metadata text,
    approval_code text,
    response_code text not null,
    decided_by text not null,
    decline_code text,
    decline_message text,
    -- A JSON array: text, because jsonb would write numbers anew.
    checks text,
    -- The ordinal and the sequence number of the newest entry.
    last_ordinal integer not null,
    entry_sequence bigint not null,
    -- The sequence number of the newest change, which may be a movement that has no entry.
    sequence bigint not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    updated_at timestamptz not null,
    constraint authorizations_pkey primary key (account_id, id),
    constraint authorizations_status_known check (
        status in ('pending', 'captured', 'reversed', 'expired', 'declined', 'verified')
    ),
    constraint authorizations_bounds check (
        requested between 0 and 9007199254740991
        and authorized between 0 and 9007199254740991
        and captured <= 9007199254740991
        and refunded <= 9007199254740991
        and least(held, captured, excess, reversed, expired, released, capture_reversed, refunded, refund_reversed) >= 0
    ),
    constraint authorizations_add_up check (authorized = held + reversed + expired + released + captured - excess),
    constraint authorizations_return_what_was_taken check (
        excess <= captured
        and refund_reversed <= refunded
        and capture_reversed + refunded - refund_reversed <= captured
    ),
    constraint authorizations_pending_hold check ((status = 'pending') = (held > 0)),
    constraint authorizations_pending_expire check (status <> 'pending' or expires_at is not null)
) with (fillfactor = 80);

-- Without account_id: a plan that was made while the table was small could otherwise find an id by this index, and read all
-- that the account has.
create index authorizations_by_card on authorizations (card_id, id);
create index authorizations_pending on authorizations (account_id, card_id, expires_at) where status = 'pending';
create index authorizations_declined on authorizations (account_id, decline_code, id) where decline_code is not null;
create unique index authorizations_by_network on authorizations (account_id, network_transaction_id)
    where network_transaction_id is not null;

-- An authorisation finds its entries from the newest on, each of which names the one before it: a second index would cost
-- every entry more than this costs a reader of one authorisation.
create table authorization_entries (
    account_id uuid not null,
    card_id uuid not null,
    sequence bigint not null,
    id uuid not null,
    authorization_id uuid not null,
    ordinal integer not null,
    previous_sequence bigint,
    kind text not null,
    amount bigint not null,
    held_before bigint not null,
    held_after bigint not null,
    -- The card after the entry.
    card_balance bigint not null,
    card_held bigint not null,
    -- The seq of the movement that the entry posted.
    movement_seq bigint,
    decline_code text,
    decline_message text,
    checks text,
    reason text,
    -- Who did it. Both null: nobody, as when a hold expires.
    user_id uuid,
    api_key_id uuid,
    request_id text,
    created_at timestamptz not null,
    constraint authorization_entries_pkey primary key (account_id, card_id, sequence),
    constraint authorization_entries_sequence_positive check (sequence > 0),
    constraint authorization_entries_ordinal_positive check (ordinal > 0),
    constraint authorization_entries_first_has_no_previous check ((ordinal = 1) = (previous_sequence is null)),
    constraint authorization_entries_kind_known check (
        kind in (
            'authorization', 'partial_authorization', 'declined', 'increment', 'increment_declined', 'adjustment',
            'reversal', 'capture', 'late_capture', 'expiry', 'release'
        )
    ),
    constraint authorization_entries_held_bounds check (
        held_before between 0 and 9007199254740991 and held_after between 0 and 9007199254740991
    )
);

create function authorization_entries_are_append_only() returns trigger
language plpgsql as $$
begin
    raise exception 'authorization entries are append-only: % refused', tg_op
        using errcode = 'integrity_constraint_violation';
end;
$$;

create trigger authorization_entries_append_only
    before update or delete on authorization_entries
    for each row execute function authorization_entries_are_append_only();

create trigger authorization_entries_no_truncate
    before truncate on authorization_entries
    for each statement execute function authorization_entries_are_append_only();

-- An authorisation holds what its newest entry says.
create function authorizations_stand_where_their_entries_leave_them() returns trigger
language plpgsql as $$
declare
    broken record;
begin
    select after.id into broken
    from after
    left join authorization_entries newest
        on newest.account_id = after.account_id
        and newest.card_id = after.card_id
        and newest.sequence = after.entry_sequence
    where newest.authorization_id is distinct from after.id
        or newest.ordinal <> after.last_ordinal
        or newest.held_after <> after.held
    limit 1;
    if found then
        raise exception 'authorization % does not stand where its entries leave it', broken.id
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

create trigger authorizations_begin_with_an_entry
    after insert on authorizations
    referencing new table as after
    for each statement execute function authorizations_stand_where_their_entries_leave_them();

create trigger authorizations_change_with_an_entry
    after update on authorizations
    referencing new table as after
    for each statement execute function authorizations_stand_where_their_entries_leave_them();

create function authorizations_stay() returns trigger
language plpgsql as $$
begin
    raise exception 'authorizations stay: % refused', tg_op
        using errcode = 'integrity_constraint_violation';
end;
$$;

create trigger authorizations_are_not_deleted
    before delete on authorizations
    for each row execute function authorizations_stay();

create trigger authorizations_keep_their_key
    before update of account_id, id, card_id on authorizations
    for each row
    when (old.account_id <> new.account_id or old.id <> new.id or old.card_id <> new.card_id)
    execute function authorizations_stay();

create trigger authorizations_no_truncate
    before truncate on authorizations
    for each statement execute function authorizations_stay();

-- As before, and: a card's held money changes only by its entries, and a purchase or a withdrawal does not spend what is
-- held. A server of the version before does not know of holds. The transaction that would spend one is rolled back as one
-- that lost a race, so that its client is told to try again, and may reach another server.
--
-- The plans of a function are made at its first call in a session, often for a single card, and then serve batches of
-- hundreds. A nested loop over the cards before and after is best for one card and quadratic for many, so it is off. Every
-- other table is reached by an index, in a subquery that nothing flattens into a join, so sequential scans are off too: a
-- plan that was made while a table was small would read all of it once it is large. A check runs only if the statement
-- changes what it guards: to start one takes longer than to check the row of a single top-up.
create or replace function cards_stand_where_their_movements_leave_them() returns trigger
language plpgsql
set enable_nestloop = off
set enable_seqscan = off
as $$
declare
    change record;
    broken record;
begin
    select
        bool_or(before.balance <> after.balance or before.seq <> after.seq) as moves,
        bool_or(after.seq > before.seq + 1) as moves_more_than_once,
        bool_or(before.held <> after.held) as holds,
        bool_or(after.held > 0 and after.balance < after.held and after.seq > before.seq) as may_spend_held_money
    into change
    from after
    join before on before.account_id = after.account_id and before.id = after.id;

    if change.moves then
        select after.id into broken
        from after
        join before on before.account_id = after.account_id and before.id = after.id
        where (before.balance <> after.balance or before.seq <> after.seq)
            and (
                select newest.balance_after = after.balance
                    and after.seq > before.seq
                    and (after.seq > before.seq + 1 or newest.balance_after - newest.amount = before.balance)
                from movements newest
                where newest.account_id = after.account_id and newest.card_id = after.id and newest.seq = after.seq
            ) is not true
        limit 1;
        if found then
            raise exception 'the balance of card % changes without its movements', broken.id
                using errcode = 'integrity_constraint_violation';
        end if;
    end if;

    if change.moves_more_than_once then
        select after.id into broken
        from after
        join before on before.account_id = after.account_id and before.id = after.id
        where after.seq > before.seq + 1
            and (
                select count(*) = after.seq - before.seq and bool_and(added.balance_after - added.amount = added.earlier)
                from (
                    select
                        movements.amount,
                        movements.balance_after,
                        lag(movements.balance_after, 1, before.balance) over (order by movements.seq) as earlier
                    from movements
                    where movements.account_id = after.account_id
                        and movements.card_id = after.id
                        and movements.seq > before.seq
                        and movements.seq <= after.seq
                ) added
            ) is not true
        limit 1;
        if found then
            raise exception 'the balance of card % changes without its movements', broken.id
                using errcode = 'integrity_constraint_violation';
        end if;
    end if;

    if change.holds then
        select after.id into broken
        from after
        join before on before.account_id = after.account_id and before.id = after.id
        where before.held <> after.held
            and after.held - before.held is distinct from (
                select sum(entries.held_after - entries.held_before)
                from authorization_entries entries
                where entries.account_id = after.account_id
                    and entries.card_id = after.id
                    and entries.sequence > before.event_seq
                    and entries.sequence <= after.event_seq
            )
        limit 1;
        if found then
            raise exception 'the held money of card % changes without its entries', broken.id
                using errcode = 'integrity_constraint_violation';
        end if;
    end if;

    if change.may_spend_held_money then
        select after.id into broken
        from after
        join before on before.account_id = after.account_id and before.id = after.id
        where after.held > 0
            and after.balance < after.held
            and after.seq > before.seq
            and (
                select bool_or(
                    movements.kind in ('purchase', 'withdrawal', 'transfer_out') and movements.authorization_id is null
                )
                from movements
                where movements.account_id = after.account_id
                    and movements.card_id = after.id
                    and movements.seq > before.seq
                    and movements.seq <= after.seq
            )
        limit 1;
        if found then
            raise exception 'held money of card % is spent', broken.id
                using errcode = 'serialization_failure';
        end if;
    end if;
    return null;
end;
$$;

create function authorization_entries_continue_their_history() returns trigger
language plpgsql as $$
declare
    broken record;
begin
    select newest.card_id, newest.sequence into broken
    from (
        select account_id, card_id, max(sequence) as sequence
        from added
        group by account_id, card_id
    ) newest
    left join cards on cards.account_id = newest.account_id and cards.id = newest.card_id
    where cards.event_seq is null or cards.event_seq < newest.sequence
    limit 1;
    if found then
        raise exception 'entry % is ahead of its card %', broken.sequence, broken.card_id
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

create trigger authorization_entries_continue
    after insert on authorization_entries
    referencing new table as added
    for each statement execute function authorization_entries_continue_their_history();

create trigger cards_begin_without_holds
    before insert on cards
    for each row
    when (new.held <> 0 or new.event_seq <> 0)
    execute function cards_begin_empty();

do $$
declare
    guard text;
begin
    foreach guard in array array[
        'authorization_entries_are_append_only',
        'authorization_entries_continue_their_history',
        'authorizations_stand_where_their_entries_leave_them',
        'authorizations_stay',
        'cards_stand_where_their_movements_leave_them'
    ] loop
        execute format('alter function %I() set search_path = pg_catalog, %I, pg_temp', guard, current_schema());
    end loop;
end;
$$;
