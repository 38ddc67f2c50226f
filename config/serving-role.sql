-- Creates the role that serves, or changes its password. It owns nothing; `core-api migrate` grants it what it needs. Run by a
-- superuser:
--   psql -v password=... -f config/serving-role.sql

select 'create role core_api_server' where not exists (select from pg_roles where rolname = 'core_api_server') \gexec

alter role core_api_server
    login nosuperuser nocreatedb nocreaterole noreplication nobypassrls
    password :'password';
