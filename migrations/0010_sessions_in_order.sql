-- The sessions of a user that were not ended, newest first: what a login counts, and what ends them.
create index sessions_open_by_user on sessions (account_id, user_id, number) where ended_at is null;
drop index sessions_by_user;
