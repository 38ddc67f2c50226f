-- The numbers of audit events and of sessions are the cursors of their lists. An identity column counts when a row is
-- written, and transactions commit in another order: a reader that has passed a number would never see a smaller one
-- that commits later.
--
-- So a number is drawn under a lock that is held until the commit: whoever draws the next number of the same list does
-- so after the rows before it are visible. The lock is one of each account for audit events, and of each user for
-- sessions. It is the last that a transaction takes, or the only one, so that no two transactions can wait for each
-- other.
--
-- Customers, cards and users need no such lock: their numbers are drawn under the lock of the account's row.

-- The owner of the schema draws the number: a role that serves has no right to the sequence.
create function number_in_commit_order() returns trigger
language plpgsql security definer as $$
declare
    list text := tg_table_name || ' ' || new.account_id;
begin
    if tg_table_name = 'sessions' then
        list := list || ' ' || new.user_id;
    end if;
    perform pg_advisory_xact_lock(hashtextextended(list, 1));
    new.number := nextval(pg_get_serial_sequence(format('%I.%I', tg_table_schema, tg_table_name), 'number'));
    return new;
end;
$$;

do $$
begin
    execute format('alter function number_in_commit_order() set search_path = pg_catalog, %I, pg_temp', current_schema());
end;
$$;

-- A trigger that exists fires without this right. Without it nobody makes a trigger of their own, which would run what a
-- type of theirs does as the owner.
revoke execute on function number_in_commit_order() from public;

create trigger audit_events_are_numbered
    before insert on audit_events
    for each row execute function number_in_commit_order();

create trigger sessions_are_numbered
    before insert on sessions
    for each row execute function number_in_commit_order();

-- How often a session was refreshed in a clock hour. The update that counts locks the row, so the count is exact.
alter table sessions
    add column refreshes_since timestamptz,
    add column refreshes integer not null default 0;

-- Audit events stay, unless the deployment sets for how long. Only this function deletes them, and none that is younger
-- than thirty days, whoever calls it. It belongs to the owner of the schema: a role that serves may not delete events.
create function delete_old_audit_events(age interval, at_most bigint) returns bigint
language plpgsql security definer as $$
declare
    deleted bigint;
begin
    perform set_config('core_api.deletes_old_audit_events', 'on', true);
    -- Skips events that another replica is deleting.
    with old as (
        select account_id, number
        from audit_events
        where created_at < now() - greatest(age, interval '30 days')
        limit at_most
        for update skip locked
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

revoke execute on function delete_old_audit_events(interval, bigint) from public;

drop trigger audit_events_append_only on audit_events;

create trigger audit_events_append_only
    before update on audit_events
    for each row execute function audit_events_are_append_only();

create trigger audit_events_are_kept
    before delete on audit_events
    for each row
    when (
        current_setting('core_api.deletes_old_audit_events', true) is distinct from 'on'
        or old.created_at >= now() - interval '30 days'
    )
    execute function audit_events_are_append_only();
