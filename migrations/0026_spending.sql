-- Controls and limits: what a card may be used for, and how much it, or all cards of a customer, may spend.
--
-- They change under the locks of all cards that they apply to, and raise `rules_version` of each, so that nothing is decided
-- on rules that were read before.

-- 0: neither the card nor its customer has ever had controls or limits.
alter table cards add column rules_version bigint not null default 0;

create table card_controls (
    account_id uuid not null,
    card_id uuid not null,
    allowed_categories text[] not null default '{}',
    blocked_categories text[] not null default '{}',
    allowed_countries text[] not null default '{}',
    blocked_countries text[] not null default '{}',
    allowed_merchants text[] not null default '{}',
    blocked_merchants text[] not null default '{}',
    -- 'first' until the first payment is approved, then 'merchant'.
    merchant_lock text,
    locked_merchant text,
    card_present text not null default 'any',
    max_payments integer,
    -- How many payments the card has made, since max_payments was set at the latest.
    payments integer not null default 0,
    version bigint not null default 1,
    updated_at timestamptz not null default now(),
    constraint card_controls_pkey primary key (account_id, card_id),
    constraint card_controls_card_fkey foreign key (account_id, card_id) references cards (account_id, id),
    constraint card_controls_max_payments_bounds check (max_payments between 1 and 1000000),
    constraint card_controls_payments_bounds check (payments >= 0),
    constraint card_controls_lock_names_merchant check ((merchant_lock is not distinct from 'merchant') = (locked_merchant is not null))
) with (fillfactor = 70);

create table limits (
    account_id uuid not null,
    id uuid not null,
    -- What it counts the payments of: a card, or all cards of a customer in its currency.
    card_id uuid,
    customer_id uuid,
    currency text not null,
    name text,
    "interval" text not null,
    time_zone text not null,
    week_start text not null,
    -- In minor units.
    amount bigint,
    count integer,
    categories text[] not null default '{}',
    countries text[] not null default '{}',
    merchants text[] not null default '{}',
    restore_on_refund boolean not null,
    status text not null default 'active',
    -- Windows that began before are not counted.
    counted_from timestamptz not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint limits_pkey primary key (account_id, id),
    constraint limits_card_fkey foreign key (account_id, card_id) references cards (account_id, id),
    constraint limits_customer_fkey foreign key (account_id, customer_id) references customers (account_id, id),
    constraint limits_of_one check (num_nonnulls(card_id, customer_id) = 1),
    constraint limits_limit_something check (num_nonnulls(amount, count) > 0),
    constraint limits_amount_bounds check (amount between 0 and 9007199254740991),
    constraint limits_count_bounds check (count between 0 and 1000000)
);

create index limits_by_card on limits (account_id, card_id) where card_id is not null;
create index limits_by_customer on limits (account_id, customer_id) where customer_id is not null;

-- What was spent in a window of a limit. It has no foreign key: whoever writes a row has the lock of a card that the limit
-- applies to, and a limit is deleted under the locks of all of them.
create table limit_usage (
    account_id uuid not null,
    limit_id uuid not null,
    -- 1970-01-01 of a limit on all time.
    window_start timestamptz not null,
    amount bigint not null default 0,
    count integer not null default 0,
    constraint limit_usage_pkey primary key (account_id, limit_id, window_start)
) with (fillfactor = 70);
