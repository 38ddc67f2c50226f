-- A card can be replaced by a new one, that by another, and so on. All of them point at the newest one, which has the limits:
-- what was spent with any of them counts. A card that was never replaced, and replaces none, points at nothing.

alter table cards add column newest_id uuid;
