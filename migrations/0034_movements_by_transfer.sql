-- no-transaction
create unique index concurrently movements_by_transfer on movements (account_id, transfer_id, kind) where transfer_id is not null;
