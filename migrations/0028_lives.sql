-- What customers and cards carry for their account, how cards came by their status, and the words by which customers are found.

alter table cards
    add column label text,
    -- A JSON object of strings, in the order in which it was given.
    add column metadata text,
    -- The account's own name for the card.
    add column external_id text,
    add column replaces uuid,
    add column replaced_by uuid,
    add constraint cards_label_length check (char_length(label) between 1 and 100) not valid,
    add constraint cards_external_id_length check (char_length(external_id) between 1 and 100) not valid;

alter table customers
    add column metadata text,
    add column external_id text,
    -- Null until the first change.
    add column updated_at timestamptz,
    add column erased_at timestamptz,
    -- Whether customer_words has the words of the name and the email. A version without these words leaves it false.
    add column has_words boolean not null default false,
    add constraint customers_external_id_length check (char_length(external_id) between 1 and 100) not valid;

-- Each status that a card took, from its creation on. A card that an earlier version created begins with its next status:
-- what came before, the audit log may know.
create table card_status_changes (
    account_id uuid not null,
    card_id uuid not null,
    -- The place of the change in the card's history.
    sequence bigint not null,
    -- Null: the card was created.
    from_status text,
    to_status text not null,
    reason text,
    -- The event of the audit log that tells of it too.
    audit_event_id uuid not null,
    user_id uuid,
    api_key_id uuid,
    request_id text,
    created_at timestamptz not null default statement_timestamp(),
    constraint card_status_changes_pkey primary key (account_id, card_id, sequence),
    constraint card_status_changes_card_fkey foreign key (account_id, card_id) references cards (account_id, id),
    constraint card_status_changes_reason_length check (char_length(reason) between 1 and 100)
);

-- The words of the names of customers, and their emails, as a search compares them: without case and accents. Words are
-- compared byte by byte, so that those with a common beginning stand together. It has no foreign key: whoever writes a row
-- has the lock of its customer.
create table customer_words (
    account_id uuid not null,
    customer_id uuid not null,
    word text collate "C" not null,
    -- The customer's place in the list of the account.
    number bigint not null,
    constraint customer_words_pkey primary key (account_id, customer_id, word)
);

create index customer_words_by_word on customer_words (account_id, word, number, customer_id);
