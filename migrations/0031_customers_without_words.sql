-- no-transaction
create index concurrently customers_without_words on customers (account_id, id) where not has_words;
