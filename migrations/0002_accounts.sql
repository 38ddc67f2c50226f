-- Tenants, and what each used of its hour. Every table of an account leads with account_id, in its primary key
-- and its foreign keys: one account's rows can live on one shard.

create table accounts (
    account_id uuid not null,
    name text not null,
    -- Null: the deployment's default (rate_limit.per_hour).
    requests_per_hour integer,
    -- Counters behind customers.number and cards.number. The update that counts locks this row until the commit,
    -- so the order of a list is the order of commits.
    customers_created bigint not null default 0,
    cards_created bigint not null default 0,
    created_at timestamptz not null default now(),
    constraint accounts_pkey primary key (account_id),
    constraint accounts_name_length check (char_length(name) between 1 and 200),
    constraint accounts_requests_per_hour_positive check (requests_per_hour > 0)
);

-- The requests of the current clock hour, one row an account. The next hour overwrites the row, so nothing has to be
-- deleted.
create table quota_usage (
    account_id uuid not null,
    window_start timestamptz not null,
    used integer not null,
    -- How many requests the last statement admitted, and the quota it counted against. It reads both back.
    admitted integer,
    per_hour integer,
    constraint quota_usage_pkey primary key (account_id),
    constraint quota_usage_account_fkey foreign key (account_id) references accounts (account_id),
    constraint quota_usage_used_positive check (used > 0)
) with (fillfactor = 50);
