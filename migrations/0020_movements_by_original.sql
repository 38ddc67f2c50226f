-- no-transaction
create index concurrently movements_by_original on movements (account_id, card_id, related_seq) where related_seq is not null;
