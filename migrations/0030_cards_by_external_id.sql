-- no-transaction
create unique index concurrently cards_by_external_id on cards (account_id, external_id) where external_id is not null;
