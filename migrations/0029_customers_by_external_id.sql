-- no-transaction
create unique index concurrently customers_by_external_id on customers (account_id, external_id) where external_id is not null;
