-- An email names one user of an account, and may name users of several accounts. So creating a user tells nothing about
-- other accounts, and takes no email from them.
--
-- The constraint keeps its name: an older replica that creates a user names it. Such a replica logs in whichever user of
-- an email it finds first.

alter table users
    drop constraint users_email_unique,
    add constraint users_email_unique unique (account_id, email_key);

-- For logins, which name an email and mostly no account.
create index users_by_email on users (email_key);
