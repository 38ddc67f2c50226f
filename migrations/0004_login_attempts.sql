-- What is held against a login, and what speaks for it.

-- Addresses from which a user has logged in: guesses made elsewhere do not keep the user out from there.
create table login_sources (
    account_id uuid not null,
    user_id uuid not null,
    -- An IPv4 address, or the first 64 bits of an IPv6 one.
    source text not null,
    last_login_at timestamptz not null default now(),
    constraint login_sources_pkey primary key (account_id, user_id, source),
    constraint login_sources_user_fkey foreign key (account_id, user_id) references users (account_id, id),
    constraint login_sources_source_length check (char_length(source) between 1 and 100)
);

create index login_sources_by_age on login_sources (last_login_at);

-- Failed logins, counted over all replicas. A guess names an email that may be nobody's, and has to be
-- counted all the same: so this belongs to no account, hence no account_id.
create table failed_logins (
    -- SHA-256 of what is counted: an email at an address, an email, an address. Neither stands here in clear.
    key bytea not null,
    failures integer not null,
    -- The count begins anew after this.
    ends_at timestamptz not null,
    constraint failed_logins_pkey primary key (key),
    constraint failed_logins_key_length check (octet_length(key) = 32),
    constraint failed_logins_failures_positive check (failures > 0)
) with (fillfactor = 80);

create index failed_logins_by_end on failed_logins (ends_at);
