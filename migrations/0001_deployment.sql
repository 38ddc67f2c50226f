-- What this database belongs to. One row, written at the first start: a database is either
-- the sandbox or production for life, so that neither environment can be pointed at the
-- other's data by mistake. It belongs to no account, hence no account_id.

create table deployment (
    singleton boolean not null default true,
    environment text not null,
    -- The sandbox makes its own signing key and shares it between replicas here.
    -- Production's keys come from its configuration and are never stored.
    sandbox_signing_key bytea,
    created_at timestamptz not null default now(),
    constraint deployment_pkey primary key (singleton),
    constraint deployment_has_one_row check (singleton),
    constraint deployment_environment_known check (environment in ('sandbox', 'production')),
    constraint deployment_key_only_in_sandbox check (environment = 'sandbox' or sandbox_signing_key is null)
);
