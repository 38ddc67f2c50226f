-- no-transaction
-- For finding old events. The index is small, because events are stored in about the order of their time.
create index concurrently audit_events_by_age on audit_events using brin (created_at);
