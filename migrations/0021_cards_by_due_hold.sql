-- no-transaction
create index concurrently cards_by_due_hold on cards (holds_due_at) where holds_due_at is not null;
