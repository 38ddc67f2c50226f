-- Money is in minor units (cents) and bounded by 2^53-1, up to which a double counts them one by one.

create table cards (
    account_id uuid not null,
    id uuid not null,
    number bigint not null,
    customer_id uuid,
    status text not null default 'inactive',
    currency text not null,
    balance bigint not null default 0,
    -- The seq of the card's newest movement; 0 before the first.
    seq bigint not null default 0,
    created_at timestamptz not null default now(),
    constraint cards_pkey primary key (account_id, id),
    constraint cards_account_fkey foreign key (account_id) references accounts (account_id),
    constraint cards_customer_fkey foreign key (account_id, customer_id) references customers (account_id, id),
    constraint cards_number_unique unique (account_id, number),
    constraint cards_status_known check (status in ('inactive', 'active', 'blocked', 'cancelled')),
    constraint cards_currency_known check (currency in ('USD', 'EUR', 'COP')),
    constraint cards_balance_bounds check (balance between 0 and 9007199254740991),
    constraint cards_seq_not_negative check (seq >= 0)
) with (fillfactor = 80);

create index cards_by_customer on cards (account_id, customer_id, number);
