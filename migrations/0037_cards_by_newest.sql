-- no-transaction
create index concurrently cards_by_newest on cards (account_id, newest_id) where newest_id is not null;
