create table customers (
    account_id uuid not null,
    id uuid not null,
    -- Position in the account's list, in the order of commits.
    number bigint not null,
    name text not null,
    email text not null,
    email_key text not null,
    created_at timestamptz not null default now(),
    constraint customers_pkey primary key (account_id, id),
    constraint customers_account_fkey foreign key (account_id) references accounts (account_id),
    constraint customers_number_unique unique (account_id, number),
    constraint customers_email_unique unique (account_id, email_key),
    constraint customers_name_length check (char_length(name) between 1 and 200),
    constraint customers_email_length check (char_length(email) between 3 and 254)
);
