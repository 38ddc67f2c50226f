-- The guards and the numbers of a database that is distributed by account. There each trigger runs on the node that has the
-- rows, in a statement that was sent to one table of one account. So a guard looks at one row after the other, and the cards
-- are written after their movements, by a statement of their own. `core-api distribute` puts these triggers in the place of
-- those that look at a whole statement. On any other database nothing calls these functions.

-- A card moves only by its movements, holds only what its entries say, and spends nothing that is held.
create function card_stands_where_its_movements_leave_it() returns trigger
language plpgsql as $$
declare
    added record;
    held_by_entries numeric;
begin
    if old.balance <> new.balance or old.seq <> new.seq then
        select
            count(*) as count,
            bool_and(balance_after - amount = earlier) as continue,
            bool_or(seq = new.seq and balance_after = new.balance) as end_there,
            bool_or(kind in ('purchase', 'withdrawal', 'transfer_out') and authorization_id is null) as spend
        into added
        from (
            select
                seq, amount, balance_after, kind, authorization_id,
                lag(balance_after, 1, old.balance) over (order by seq) as earlier
            from movements
            where account_id = new.account_id and card_id = new.id and seq > old.seq and seq <= new.seq
        ) movement;
        if (new.seq > old.seq and added.count = new.seq - old.seq and added.continue and added.end_there) is not true then
            raise exception 'the balance of card % changes without its movements', new.id
                using errcode = 'integrity_constraint_violation';
        end if;
        if new.held > 0 and new.balance < new.held and added.spend then
            raise exception 'held money of card % is spent', new.id
                using errcode = 'serialization_failure';
        end if;
    end if;

    if old.held <> new.held then
        select sum(held_after - held_before) into held_by_entries
        from authorization_entries
        where account_id = new.account_id and card_id = new.id and sequence > old.event_seq and sequence <= new.event_seq;
        if new.held - old.held is distinct from held_by_entries then
            raise exception 'the held money of card % changes without its entries', new.id
                using errcode = 'integrity_constraint_violation';
        end if;
    end if;
    return null;
end;
$$;

-- Before the commit, the card is where its newest movement is.
create function movement_continues_its_history() returns trigger
language plpgsql as $$
begin
    if (select seq >= new.seq from cards where account_id = new.account_id and id = new.card_id) is not true then
        raise exception 'movement % is ahead of its card %', new.seq, new.card_id
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

-- The same for entries.
create function authorization_entry_continues_its_history() returns trigger
language plpgsql as $$
begin
    if (select event_seq >= new.sequence from cards where account_id = new.account_id and id = new.card_id) is not true then
        raise exception 'entry % is ahead of its card %', new.sequence, new.card_id
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

-- An authorisation holds what its newest entry says.
create function authorization_stands_where_its_entries_leave_it() returns trigger
language plpgsql as $$
begin
    if (
        select authorization_id = new.id and ordinal = new.last_ordinal and held_after = new.held
        from authorization_entries
        where account_id = new.account_id and card_id = new.card_id and sequence = new.entry_sequence
    ) is not true then
        raise exception 'authorization % does not stand where its entries leave it', new.id
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

-- A position in a list of an account: after all that the account has in the table, and mostly the time in microseconds. An
-- identity column would count for each node alone. The last ten bits keep transactions apart that draw at the same moment.
--
-- Those lists whose numbers are drawn under no other lock take one, as number_in_commit_order does.
create function number_by_clock() returns trigger
language plpgsql as $$
declare
    list text := tg_table_name || ' ' || new.account_id;
    newest bigint;
begin
    if tg_nargs > 0 then
        if tg_argv[0] = 'user' then
            list := list || ' ' || new.user_id;
        end if;
        perform pg_advisory_xact_lock(hashtextextended(list, 1));
    end if;
    execute format('select max(number) from %s where account_id = $1', tg_relid::regclass) into newest using new.account_id;
    new.number := greatest(
        (extract(epoch from clock_timestamp()) * 1000000)::bigint,
        coalesce(newest >> 10, 0) + 1
    ) << 10 | (pg_current_xact_id()::text::bigint & 1023);
    return new;
end;
$$;

-- As before, but one caller at a time: whoever comes meanwhile deletes nothing. A lock of single rows in all accounts is nothing
-- that a distributed database takes.
create or replace function delete_old_audit_events(age interval, at_most bigint) returns bigint
language plpgsql security definer as $$
declare
    deleted bigint;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('delete_old_audit_events', 1)) then
        return 0;
    end if;
    perform set_config('core_api.deletes_old_audit_events', 'on', true);
    with old as materialized (
        select account_id, number
        from audit_events
        where created_at < now() - greatest(age, interval '30 days')
        limit at_most
    )
    delete from audit_events
    using old
    where audit_events.account_id = old.account_id and audit_events.number = old.number;
    get diagnostics deleted = row_count;
    perform set_config('core_api.deletes_old_audit_events', 'off', true);
    return deleted;
end;
$$;

do $$
begin
    execute format(
        'alter function delete_old_audit_events(interval, bigint) set search_path = pg_catalog, %I, pg_temp', current_schema()
    );
end;
$$;

do $$
declare
    guard text;
begin
    foreach guard in array array[
        'authorization_entry_continues_its_history',
        'authorization_stands_where_its_entries_leave_it',
        'card_stands_where_its_movements_leave_it',
        'movement_continues_its_history',
        'number_by_clock'
    ] loop
        execute format('alter function %I() set search_path = pg_catalog, %I, pg_temp', guard, current_schema());
    end loop;
end;
$$;

-- Puts the guards of single rows in the place of those of whole statements.
create procedure guard_rows_of_shards()
language plpgsql as $$
begin
    drop trigger cards_change_with_a_movement on cards;
    create trigger cards_change_with_a_movement
        after update on cards
        for each row
        when (old.balance <> new.balance or old.seq <> new.seq or old.held <> new.held)
        execute function card_stands_where_its_movements_leave_it();

    drop trigger movements_continue on movements;
    create constraint trigger movements_continue
        after insert on movements
        deferrable initially deferred
        for each row execute function movement_continues_its_history();

    drop trigger authorization_entries_continue on authorization_entries;
    create constraint trigger authorization_entries_continue
        after insert on authorization_entries
        deferrable initially deferred
        for each row execute function authorization_entry_continues_its_history();

    drop trigger authorizations_begin_with_an_entry on authorizations;
    create trigger authorizations_begin_with_an_entry
        after insert on authorizations
        for each row execute function authorization_stands_where_its_entries_leave_it();

    drop trigger authorizations_change_with_an_entry on authorizations;
    create trigger authorizations_change_with_an_entry
        after update on authorizations
        for each row execute function authorization_stands_where_its_entries_leave_it();

    drop trigger audit_events_are_numbered on audit_events;
    create trigger audit_events_are_numbered
        before insert on audit_events
        for each row execute function number_by_clock('account');

    drop trigger sessions_are_numbered on sessions;
    create trigger sessions_are_numbered
        before insert on sessions
        for each row execute function number_by_clock('user');

    create trigger api_keys_are_numbered
        before insert on api_keys
        for each row execute function number_by_clock();
    create trigger event_blocks_are_numbered
        before insert on event_blocks
        for each row execute function number_by_clock();
    create trigger users_are_numbered
        before insert on users
        for each row execute function number_by_clock();
    create trigger webhook_endpoints_are_numbered
        before insert on webhook_endpoints
        for each row execute function number_by_clock();

    -- A shard cannot write to the table that every node has. Every version that knows shards writes there itself.
    drop trigger users_have_emails on users;

    -- The session that deletes old events is not the one in which their node checks it: what counts there is their age.
    drop trigger audit_events_are_kept on audit_events;
    create trigger audit_events_are_kept
        before delete on audit_events
        for each row
        when (old.created_at >= now() - interval '30 days')
        execute function audit_events_are_append_only();
end;
$$;

do $$
begin
    execute format('alter procedure guard_rows_of_shards() set search_path = pg_catalog, %I, pg_temp', current_schema());
end;
$$;

revoke execute on procedure guard_rows_of_shards() from public;
