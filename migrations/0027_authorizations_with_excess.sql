-- no-transaction
create index concurrently authorizations_with_excess on authorizations (account_id, card_id) where excess > 0;
