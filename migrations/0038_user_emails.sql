-- Which accounts have a user with an email. A login names an email and mostly no account: it finds the accounts here, and the
-- users by their accounts. On a Postgres that is distributed by account, this table is split by email. So it has no foreign key.

create table user_emails (
    -- As in `users`. The email of a user does not change, and no user is deleted.
    email_key text not null,
    account_id uuid not null,
    user_id uuid not null,
    constraint user_emails_pkey primary key (email_key, account_id)
);

-- The version before this one creates users, too, and knows nothing of this table.
create function users_have_emails() returns trigger
language plpgsql as $$
begin
    insert into user_emails (email_key, account_id, user_id)
    values (new.email_key, new.account_id, new.id)
    on conflict do nothing;
    return null;
end;
$$;

do $$
begin
    execute format('alter function users_have_emails() set search_path = pg_catalog, %I, pg_temp', current_schema());
end;
$$;

create trigger users_have_emails after insert on users
for each row execute function users_have_emails();

-- The trigger waits for transactions that are creating users, so these are all there are.
insert into user_emails (email_key, account_id, user_id)
select email_key, account_id, id
from users
on conflict do nothing;
