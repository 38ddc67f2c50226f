//! The shard of the test account, for a test's own statements that a distributed Postgres does not take for all shards at once.
//! Elsewhere it is the whole database.

use sqlx::{AssertSqlSafe, Connection, Error, Executor, PgConnection, Row, postgres::PgQueryResult};

use super::Database;

/// The node of the test account, and the number that ends the name of each of the account's tables there.
const PLACE: &str = "
    select nodename, string_agg(shardid::text, ',')
    from citus_shards
    where citus_table_type = 'distributed' and shardid = get_shard_id_for_distribution_column(
        table_name, (select account_id from accounts order by (name = 'Test account') desc, account_id limit 1))
    group by nodename";

/// What is named otherwise on a shard, and how it is named there.
const NAMES: &str = "
    select regexp_replace(name, '_[0-9]+$', ''), name
    from (
        select relname::text as name from pg_class where relnamespace = 'public'::regnamespace
        union select conname::text from pg_constraint
        union select tgname::text from pg_trigger where not tgisinternal
    ) names
    where substring(name from '_([0-9]+)$') = any(string_to_array('{shards}', ','))";

/// The tables by their own names, for statements of the service, whose text does not change.
const VIEWS: &str = "
    do $$ declare name text; begin
        for name in
            select relname from pg_class
            where relkind = 'r' and relnamespace = 'public'::regnamespace
                and substring(relname from '_([0-9]+)$') = any(string_to_array('{shards}', ','))
        loop
            execute format('create temp view %I as select * from %I', regexp_replace(name, '_[0-9]+$', ''), name);
        end loop;
    end $$";

/// What a session needs that sees and changes shards, and not the tables of which they are parts.
const SETTINGS: &str = "
    set citus.override_table_visibility = off;
    set citus.enable_manual_changes_to_shards = on;
    set citus.enable_ddl_propagation = off";

/// A direct connection of the owner. What it changes is committed at once, unless a statement begins a transaction.
pub struct Shard {
    pub connection: PgConnection,
    /// Each name of the whole database that is another one on the shard, and that one.
    names: Vec<(String, String)>,
}

impl Shard {
    /// Connects to the node that the test account is on.
    pub(super) async fn of(database: &Database) -> Self {
        let mut connection = database.connect().await;
        if !database.is_on_nodes() {
            return Self { connection, names: Vec::new() };
        }
        let place = connection.fetch_one(PLACE).await.expect("an account's place");
        let (node, shards): (String, String) = (place.get(0), place.get(1));
        connection.close().await.expect("closed");
        let mut connection = PgConnection::connect_with(&database.options.clone().socket(node)).await.expect("the node answers");
        connection.execute(SETTINGS).await.expect("set");
        let names = connection.fetch_all(AssertSqlSafe(NAMES.replace("{shards}", &shards))).await.expect("names");
        connection.execute(AssertSqlSafe(VIEWS.replace("{shards}", &shards))).await.expect("the views are created");
        Self { connection, names: names.iter().map(|row| (row.get(0), row.get(1))).collect() }
    }

    /// Runs statements, all or none of them.
    pub async fn execute(&mut self, sql: &str) -> Result<PgQueryResult, Error> {
        let sql = self.with_names_of_shard(sql);
        self.connection.execute(AssertSqlSafe(sql)).await
    }

    /// The number that a statement returns.
    pub async fn number(&mut self, sql: &str) -> i64 {
        let sql = self.with_names_of_shard(sql);
        self.connection.fetch_one(AssertSqlSafe(sql)).await.expect("a row").get(0)
    }

    fn with_names_of_shard(&self, sql: &str) -> String {
        let mut named = String::new();
        for word in sql.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
            let bare = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            let other = self.names.iter().find(|(name, _)| name == bare);
            named.push_str(other.map_or(bare, |(_, other)| other));
            named.push_str(&word[bare.len()..]);
        }
        named
    }
}
