-- no-transaction
create index concurrently movements_by_authorization on movements (account_id, authorization_id)
    where authorization_id is not null and kind in ('capture_reversal', 'refund', 'refund_reversal');
