-- Tenants, their people and their logins. Every table from here on leads with account_id,
-- in its primary key and its foreign keys: a tenant's rows are one island.

create table accounts (
    account_id uuid not null,
    name text not null,
    -- null: the deployment's default (rate_limit.per_hour)
    requests_per_hour integer,
    -- Counters behind customers.number and cards.number. The row lock of the update that
    -- counts is what makes list order equal to commit order.
    customers_created bigint not null default 0,
    cards_created bigint not null default 0,
    created_at timestamptz not null default now(),
    constraint accounts_pkey primary key (account_id),
    constraint accounts_name_length check (char_length(name) between 1 and 200),
    constraint accounts_requests_per_hour_positive check (requests_per_hour > 0)
);

create table users (
    account_id uuid not null,
    id uuid not null,
    email text not null,
    -- The email as it is compared: ASCII lower case, computed by the service.
    email_key text not null,
    password_hash text not null,
    role text not null,
    disabled_at timestamptz,
    created_at timestamptz not null default now(),
    constraint users_pkey primary key (account_id, id),
    constraint users_account_fkey foreign key (account_id) references accounts (account_id),
    -- A login names no account, so an email names one user in the whole deployment.
    constraint users_email_unique unique (email_key),
    constraint users_email_length check (char_length(email) between 3 and 254),
    constraint users_role_known check (role in ('admin', 'operator', 'viewer'))
);

-- One row per login. A request is authenticated only while its session's row says so.
create table sessions (
    account_id uuid not null,
    id uuid not null,
    user_id uuid not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    ended_at timestamptz,
    constraint sessions_pkey primary key (account_id, id),
    constraint sessions_user_fkey foreign key (account_id, user_id) references users (account_id, id)
);

create index sessions_by_user on sessions (account_id, user_id);

-- Refresh tokens are kept as SHA-256 and never deleted while their session lives:
-- a used one that comes back is how a stolen one is noticed.
create table refresh_tokens (
    account_id uuid not null,
    session_id uuid not null,
    token_hash bytea not null,
    created_at timestamptz not null default now(),
    used_at timestamptz,
    constraint refresh_tokens_pkey primary key (account_id, session_id, token_hash),
    constraint refresh_tokens_session_fkey foreign key (account_id, session_id) references sessions (account_id, id),
    constraint refresh_tokens_hash_length check (octet_length(token_hash) = 32)
);

-- The hour's count, one row per account: the next hour writes over the last one's row,
-- so there is nothing to clean up.
create table quota_usage (
    account_id uuid not null,
    window_start timestamptz not null,
    used integer not null,
    constraint quota_usage_pkey primary key (account_id),
    constraint quota_usage_account_fkey foreign key (account_id) references accounts (account_id),
    constraint quota_usage_used_positive check (used > 0)
) with (fillfactor = 50);
