//! A database that is distributed by account, on Citus (<https://docs.citusdata.com>): every table with `account_id` is split
//! into shards by it, and all rows of an account are on one node.
//!
//! The functions of Citus exist only where its extension does, so their statements are not checked when this is compiled.

use std::io;

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use super::{DatabaseError, connect_patiently, migrate};

/// Tables that every node has a copy of: they belong to no account, and only the owner writes them. Citus would let the role
/// that serves insert rows only if it could also update them.
const ON_EVERY_NODE: [&str; 1] = ["_sqlx_migrations"];

/// Tables that stay on the coordinator, which all replicas connect to: they belong to no account.
const ON_THE_COORDINATOR: [&str; 2] = ["deployment", "failed_logins"];

/// Tables that are split by another column: a login knows an email, and no account.
const BY_ANOTHER_COLUMN: [(&str, &str); 1] = [("user_emails", "email_key")];

/// The table that is split first. All others have their rows of an account where it has the account's.
const FIRST: &str = "accounts";

const HAS_CITUS: &str = "select exists (select from pg_extension where extname = 'citus')";

/// What a session needs in which tables are split, or those that are split change.
const SESSION: &str = "
    set citus.enable_unsafe_triggers = on;
    set citus.multi_shard_modify_mode = 'sequential';
    set client_min_messages = warning";

/// The settings of the sessions that serve on the nodes. What a session sets for itself stays on the coordinator.
const ON_THE_NODES: [&str; 3] = ["lock_timeout = '2s'", "enable_seqscan = off", "jit = off"];

/// The role that serves, or the owner if it serves.
const ROLE: &str = "coalesce($1::text, current_user::text)";

/// Why a database cannot be distributed, or is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DistributionError {
    /// There is no Citus.
    #[error(
        "the database has no Citus; on each node add citus to shared_preload_libraries and run `create extension citus`, then add the \
         workers on the coordinator with citus_add_node"
    )]
    NoCitus,
    /// This node is not the coordinator.
    #[error("this database is a worker; DATABASE_URL must name the coordinator")]
    NotTheCoordinator,
    /// No node may have shards.
    #[error("no node may have shards; add workers on the coordinator with citus_add_node")]
    NoNodes,
    /// A migration of this version is missing.
    #[error("the schema is not up to date; run `core-api migrate` first")]
    NotMigrated,
    /// A later version has added a table that this one does not know.
    #[error(
        "the table {0} belongs to no account, and this version does not know where it should be; distribute with the version that added it"
    )]
    UnknownTable(String),
    /// The database is distributed, and the setting says that it is not.
    #[error("the database is distributed by account; set CORE_API__DATABASE__SHARDED=true")]
    IsSharded,
    /// The setting says that the database is distributed, and it is not.
    #[error("the database is not distributed; run `core-api distribute`, or set CORE_API__DATABASE__SHARDED=false")]
    IsNotSharded,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributed {
    /// The tables that were split by account now.
    pub split: Vec<String>,
    /// How many nodes may have shards.
    pub nodes: i64,
}

/// Distributes a database by account, with all that is in it, or what a later version has added to it. All of it is one
/// transaction. No replica may run meanwhile.
///
/// # Errors
/// The database cannot be distributed, and is left as it is.
pub async fn distribute(options: &PgConnectOptions, serving_role: Option<&str>) -> Result<Distributed, DatabaseError> {
    let mut connection = connect_patiently(options).await?;
    let nodes = require_nodes(&mut connection).await?;
    if !migrate::is_current(&mut connection).await.map_err(DatabaseError::Distribute)? {
        return Err(DistributionError::NotMigrated.into());
    }
    let split = split(&mut connection).await?;
    settle(&mut connection, serving_role).await.map_err(DatabaseError::Distribute)?;
    connection.close().await.map_err(DatabaseError::Connect)?;
    Ok(Distributed { split, nodes })
}

/// Whether the database is distributed. What counts is which of the ledger's guards it has, since they decide how cards are
/// written.
pub(super) async fn is_distributed(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        select exists (
            select
            from pg_trigger
            where tgrelid = to_regclass('movements') and tgname = 'movements_continue' and tgconstraint <> 0
        ) as "is_distributed!"
        "#
    )
    .fetch_one(connection)
    .await
}

/// Whether Citus distributes the database.
pub(super) async fn is_on_shards(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    if !is_distributed(connection).await? {
        return Ok(false);
    }
    one(connection, HAS_CITUS).await
}

/// Requires that the database is distributed if the setting says so, and only then.
///
/// # Errors
/// It is not what the setting says, or not reachable.
pub async fn require(options: &PgConnectOptions, sharded: bool) -> Result<(), DatabaseError> {
    let mut connection = connect_patiently(options).await?;
    let found = is_distributed(&mut connection).await.map_err(DatabaseError::Connect)?;
    connection.close().await.map_err(DatabaseError::Connect)?;
    match (sharded, found) {
        (true, false) => Err(DistributionError::IsNotSharded.into()),
        (false, true) => Err(DistributionError::IsSharded.into()),
        (true, true) | (false, false) => Ok(()),
    }
}

/// The value of a setting with which connections to each node begin. On a database that Citus does not distribute, its own.
///
/// # Errors
/// The database is unavailable, or one of its nodes is.
#[expect(clippy::disallowed_methods, reason = "a function of Citus is not there when this is compiled")]
pub async fn of_every_node(connection: &mut PgConnection, setting: &str) -> Result<Vec<String>, sqlx::Error> {
    if !one(connection, HAS_CITUS).await? {
        let own = sqlx::query_scalar!(r#"select reset_val as "value!" from pg_settings where name = $1"#, setting);
        return own.fetch_all(connection).await;
    }
    let asked = "
        select success, result
        from run_command_on_all_nodes(format('select reset_val from pg_settings where name = %L', $1::text))";
    let nodes = sqlx::query(asked).bind(setting).fetch_all(connection).await?;
    let value = |row: &PgRow| if row.try_get(0)? { row.try_get(1) } else { Err(no_answer()) };
    nodes.iter().map(value).collect()
}

fn no_answer() -> sqlx::Error {
    io::Error::new(io::ErrorKind::NotConnected, "a node of the database does not answer").into()
}

/// Prepares a session for migrations of a database that is distributed.
pub(super) async fn set_up_for_migrations(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute(SESSION).await.map(drop)
}

/// Splits the tables that a migration has added to a database that is distributed.
pub(super) async fn split_new_tables(connection: &mut PgConnection, serving_role: Option<&str>) -> Result<(), DatabaseError> {
    require_nodes(connection).await?;
    split(connection).await?;
    settle(connection, serving_role).await.map_err(DatabaseError::Distribute)
}

async fn require_nodes(connection: &mut PgConnection) -> Result<i64, DatabaseError> {
    let has_citus: bool = one(connection, HAS_CITUS).await.map_err(DatabaseError::Distribute)?;
    if !has_citus {
        return Err(DistributionError::NoCitus.into());
    }
    let group: i32 = one(connection, "select groupid from pg_dist_local_group").await.map_err(DatabaseError::Distribute)?;
    if group != 0 {
        return Err(DistributionError::NotTheCoordinator.into());
    }
    let nodes = "select count(*) from pg_dist_node where isactive and shouldhaveshards and noderole = 'primary'";
    match one(connection, nodes).await.map_err(DatabaseError::Distribute)? {
        0 => Err(DistributionError::NoNodes.into()),
        nodes => Ok(nodes),
    }
}

/// Splits every table of accounts that is not split yet.
async fn split(connection: &mut PgConnection) -> Result<Vec<String>, DatabaseError> {
    set_up_for_migrations(connection).await.map_err(DatabaseError::Distribute)?;
    let tables = whole_tables(connection).await.map_err(DatabaseError::Distribute)?;
    let placed = |table: &str| ON_EVERY_NODE.contains(&table) || ON_THE_COORDINATOR.contains(&table);
    if let Some(unknown) = tables.iter().find(|table| !table.has_account && !placed(&table.name)) {
        return Err(DistributionError::UnknownTable(unknown.name.clone()).into());
    }
    let (split, undivided): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.has_account && !placed(&table.name));
    let copied: Vec<_> = undivided.into_iter().filter(|table| ON_EVERY_NODE.contains(&table.name.as_str())).collect();
    place(connection, &split, &copied).await.map_err(DatabaseError::Distribute)?;
    Ok(split.into_iter().map(|table| table.name).collect())
}

/// A table of the schema that is on the coordinator alone.
struct Whole {
    name: String,
    has_account: bool,
}

#[expect(clippy::disallowed_methods, reason = "a function of Citus is not there when this is compiled")]
async fn whole_tables(connection: &mut PgConnection) -> Result<Vec<Whole>, sqlx::Error> {
    // The tables that others refer to come first, as they were created.
    let whole = "
        select tables.relname::text, account.attname is not null
        from pg_class tables
        left join pg_attribute account
            on account.attrelid = tables.oid and account.attname = 'account_id' and not account.attisdropped
        where tables.relkind = 'r'
            and tables.relnamespace = current_schema()::regnamespace
            and tables.oid not in (select logicalrelid from pg_dist_partition)
            and tables.oid not in (select objid from pg_depend where classid = 'pg_class'::regclass and deptype = 'e')
        order by tables.relname <> $1::text, tables.oid";
    let rows = sqlx::query(whole).bind(FIRST).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(Whole { name: row.try_get(0)?, has_account: row.try_get(1)? })).collect()
}

/// One transaction. Triggers are away meanwhile: a shard's would check, number and refuse the rows that are copied to it.
async fn place(connection: &mut PgConnection, split: &[Whole], copied: &[Whole]) -> Result<(), sqlx::Error> {
    if split.is_empty() && copied.is_empty() {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    if !is_distributed(&mut transaction).await? {
        transaction.execute("call guard_rows_of_shards()").await?;
    }
    let mut triggers = Vec::new();
    for Whole { name, .. } in split.iter().chain(copied) {
        triggers.extend(take_triggers(&mut transaction, name).await?);
    }
    for Whole { name, .. } in split {
        let other = BY_ANOTHER_COLUMN.iter().find(|(table, _)| table == name);
        let how = match other {
            Some((_, column)) => format!("'{column}', colocate_with => 'none'"),
            None if name == FIRST => "'account_id'".to_owned(),
            None => format!("'account_id', colocate_with => '{FIRST}'"),
        };
        transaction.execute(AssertSqlSafe(format!("select create_distributed_table('{name}', {how})"))).await?;
    }
    // The coordinator still has its own rows of them, which nobody sees any more.
    for Whole { name, .. } in split.iter().rev() {
        transaction.execute(AssertSqlSafe(format!("select truncate_local_data_after_distributing_table('{name}')"))).await?;
    }
    for Whole { name, .. } in copied {
        transaction.execute(AssertSqlSafe(format!("select create_reference_table('{name}')"))).await?;
    }
    for trigger in triggers {
        transaction.execute(AssertSqlSafe(trigger)).await?;
    }
    transaction.commit().await
}

/// Drops the triggers of a table. Returns the commands that create them.
async fn take_triggers(connection: &mut PgConnection, table: &str) -> Result<Vec<String>, sqlx::Error> {
    let triggers = sqlx::query!(
        r#"
        select
            pg_get_triggerdef(oid) as "definition!",
            format('drop trigger %I on %s', tgname, tgrelid::regclass) as "drop!"
        from pg_trigger
        where tgrelid = to_regclass($1::text) and not tgisinternal
        order by tgname
        "#,
        table,
    );
    let mut definitions = Vec::new();
    for trigger in triggers.fetch_all(&mut *connection).await? {
        connection.execute(AssertSqlSafe(trigger.drop)).await?;
        definitions.push(trigger.definition);
    }
    Ok(definitions)
}

/// Gives the role that serves its settings on the nodes.
#[expect(clippy::disallowed_methods, reason = "the command is put together here")]
async fn settle(connection: &mut PgConnection, serving_role: Option<&str>) -> Result<(), sqlx::Error> {
    for setting in ON_THE_NODES {
        let command =
            format!("select format('alter role %I in database %I set {}', {ROLE}, current_database())", setting.replace('\'', "''"));
        let command: String = sqlx::query_scalar(AssertSqlSafe(command)).bind(serving_role).fetch_one(&mut *connection).await?;
        connection.execute(AssertSqlSafe(command)).await?;
    }
    Ok(())
}

async fn one<T>(connection: &mut PgConnection, sql: &'static str) -> Result<T, sqlx::Error>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    connection.fetch_one(sql).await?.try_get(0)
}
