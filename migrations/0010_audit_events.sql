-- The audit log: who did what, and from where. Each event is written in the transaction that did it, and never changes.
--
-- No foreign key leads to the account or to the user: it would lock their one row for every event, and 128 writers of one
-- account would share half the rate. Both are known to exist, since the request's session was just read, and nothing
-- deletes them.
create table audit_events (
    account_id uuid not null,
    -- The order of the log and the cursor of its pages.
    number bigint generated always as identity,
    id uuid not null,
    type text not null,
    -- Null: nobody was logged in, or the command line did it.
    user_id uuid,
    session_id uuid,
    subject_kind text not null,
    subject_id uuid not null,
    before jsonb,
    after jsonb,
    request_id text,
    address text,
    created_at timestamptz not null default statement_timestamp(),
    constraint audit_events_pkey primary key (account_id, number),
    constraint audit_events_subject_known check (subject_kind in ('account', 'user', 'session', 'customer', 'card'))
);

create index audit_events_by_subject on audit_events (account_id, subject_id, number);
create index audit_events_by_user on audit_events (account_id, user_id, number);

create function audit_events_are_append_only() returns trigger
language plpgsql as $$
begin
    raise exception 'audit events are append-only: % refused', tg_op
        using errcode = 'integrity_constraint_violation';
end;
$$;

create trigger audit_events_append_only
    before update or delete on audit_events
    for each row execute function audit_events_are_append_only();

create trigger audit_events_no_truncate
    before truncate on audit_events
    for each statement execute function audit_events_are_append_only();
