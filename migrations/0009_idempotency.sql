-- The answers to requests under an Idempotency-Key, each written in the transaction that did the work.
--
-- No foreign key leads to the account: it would lock the account's one row for every stored answer, and all writers of
-- the account would queue for it. The account is known to exist, because the request's session was just read.

create table idempotency_keys (
    account_id uuid not null,
    key text not null,
    -- SHA-256 of the method, the path and the body: the same key may not stand for another request.
    fingerprint bytea not null,
    status smallint not null,
    body bytea not null,
    created_at timestamptz not null default now(),
    constraint idempotency_keys_pkey primary key (account_id, key),
    constraint idempotency_keys_key_length check (char_length(key) between 1 and 255),
    constraint idempotency_keys_fingerprint_length check (octet_length(fingerprint) = 32),
    constraint idempotency_keys_status_decided check (status in (200, 404, 409))
);

create index idempotency_keys_by_age on idempotency_keys (created_at);
