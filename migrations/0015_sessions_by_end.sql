-- no-transaction
-- For finding sessions that are over.
create index concurrently sessions_by_end on sessions (least(ended_at, expires_at));
