-- How often the sessions of an account were refreshed in a clock hour. Each refresh adds rows, and the hourly quota of
-- requests does not count it.
create table refresh_usage (
    account_id uuid not null,
    window_start timestamptz not null,
    used integer not null,
    constraint refresh_usage_pkey primary key (account_id),
    constraint refresh_usage_used_positive check (used > 0)
) with (fillfactor = 50);
