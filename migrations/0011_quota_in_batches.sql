-- Requests of an account are counted several at a time. What the last count let in, of how many an hour:
-- the statement that counts reads both back.
alter table quota_usage
    add column admitted integer,
    add column per_hour integer;
