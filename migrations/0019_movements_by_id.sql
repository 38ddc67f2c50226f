-- no-transaction
create index concurrently movements_by_id on movements (account_id, id) where kind <> 'top_up';
