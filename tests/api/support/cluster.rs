//! One Postgres per test process, and one database per test, copied from a migrated template.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use core_api::database::{self, Pool, private::SERVING_ROLE};
use sqlx::{AssertSqlSafe, Connection, Error, Executor, PgConnection, Row, postgres::PgConnectOptions};
use tokio::sync::OnceCell;

use super::{
    nodes::{Cluster, Lease},
    pgbouncer::PgBouncer,
    shard::Shard,
};

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static PGBOUNCER: OnceLock<Option<PgBouncer>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The database of one test: migrated, with the sandbox's logins and no other data.
#[derive(Clone, Debug)]
pub struct Database {
    /// How to connect as the owner of the schema, who may do everything. No replica is given this role.
    pub options: PgConnectOptions,
    /// Whether it is distributed, which its replicas must be told.
    pub is_sharded: bool,
    /// There is one if it is on several nodes.
    lease: Option<Arc<Lease>>,
}

impl Database {
    /// A database of a Postgres of the test's own.
    pub const fn at(options: PgConnectOptions) -> Self {
        Self { options, is_sharded: false, lease: None }
    }

    pub async fn new() -> Self {
        let cluster = CLUSTER.get_or_init(Cluster::start).await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let lease = cluster.copy_template(&name).await;
        let pgbouncer = PGBOUNCER.get_or_init(|| PgBouncer::in_front_of(&cluster.options()));
        let options = pgbouncer.as_ref().map_or_else(|| cluster.options(), PgBouncer::options);
        Self { options: options.database(&name), is_sharded: cluster.is_sharded(), lease: lease.map(Arc::new) }
    }

    /// An empty database, without a schema. It is not distributed.
    pub async fn empty() -> Self {
        let mut database = Self::new().await;
        database.is_sharded = false;
        let name = database.options.get_database().expect("named");
        CLUSTER.get_or_init(Cluster::start).await.empty(name).await;
        database
    }

    /// How replicas connect: as a role that owns nothing. What is not granted to it fails every test that needs it.
    pub fn serving(&self) -> PgConnectOptions {
        self.options.clone().username(SERVING_ROLE)
    }

    /// Migrates as the owner, and grants the role of replicas what it needs.
    pub async fn migrate(&self) {
        database::migrate(&self.options, Some(SERVING_ROLE)).await.expect("migrated");
    }

    /// The `DATABASE_URL` of replicas, with a password that must never be printed.
    pub fn url(&self) -> String {
        self.url_of(SERVING_ROLE)
    }

    /// The `DATABASE_URL` of the schema's owner.
    pub fn owner_url(&self) -> String {
        self.url_of("core_api")
    }

    fn url_of(&self, role: &str) -> String {
        let socket = self.options.get_socket().expect("a socket").display().to_string();
        format!("postgres://{role}:hunter2@localhost/{}?host={socket}", self.options.get_database().expect("a name"))
    }

    /// A direct connection of the owner, past the API.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options).await.expect("the database answers")
    }

    /// Waits for the next clock hour if less than 20 seconds of this one are left, for a test that counts within an hour.
    pub async fn avoid_hour_boundary(&self) {
        let left = self.number("select 3600 - extract(epoch from now())::bigint % 3600").await;
        if left < 20 {
            tokio::time::sleep(Duration::from_secs(left.unsigned_abs() + 1)).await;
        }
    }

    pub fn pool(&self) -> Pool {
        self.pool_of(2, Duration::from_secs(20))
    }

    pub fn pool_of(&self, max_connections: u32, acquire_timeout: Duration) -> Pool {
        let open = if self.is_sharded { database::pool_on_shards } else { database::pool };
        open(self.serving(), max_connections, acquire_timeout)
    }

    /// Runs statements as the owner. What the coordinator of a distributed Postgres does not take runs on the test account's shard.
    pub async fn execute(&self, sql: &str) {
        let mut connection = self.connect().await;
        let done = connection.execute(AssertSqlSafe(sql.to_owned())).await;
        connection.close().await.expect("closed");
        match done {
            Err(Error::Database(_)) if self.is_on_nodes() => self.shard().await.execute(sql).await,
            done => done,
        }
        .expect("the statements run");
    }

    /// Runs statements as the owner on each node, and there on what is of the node alone.
    pub async fn execute_on_each_node(&self, sql: &str) {
        if !self.is_on_nodes() {
            return self.execute(sql).await;
        }
        let mut connection = self.connect().await;
        let nodes = connection.fetch_all("select nodename from pg_dist_node").await.expect("the nodes");
        connection.close().await.expect("closed");
        for node in nodes {
            let mut connection =
                PgConnection::connect_with(&self.options.clone().socket(node.get::<String, _>(0))).await.expect("connected");
            run(&mut connection, format!("set citus.enable_ddl_propagation = off; {sql}")).await;
            connection.close().await.expect("closed");
        }
    }

    /// The number that a statement returns. What the coordinator of a distributed Postgres does not take is asked of the test
    /// account's shard.
    pub async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        let row = connection.fetch_one(AssertSqlSafe(sql.to_owned())).await;
        connection.close().await.expect("closed");
        match row {
            Err(Error::Database(_)) if self.is_on_nodes() => self.shard().await.number(sql).await,
            row => row.expect("a row").get(0),
        }
    }

    /// A connection to where the data of the test account is.
    pub async fn shard(&self) -> Shard {
        Shard::of(self).await
    }

    /// Whether it is on several nodes.
    pub const fn is_on_nodes(&self) -> bool {
        self.lease.is_some()
    }

    /// The number of customers, cards and movements, which are what a refused request might leave behind.
    pub async fn rows(&self) -> i64 {
        self.number("select (select count(*) from customers) + (select count(*) from cards) + (select count(*) from movements)").await
    }

    /// Polls until a statement returns this number, for at most ten seconds.
    pub async fn wait_for(&self, number: i64, sql: &str) {
        let began = Instant::now();
        loop {
            let found = self.number(sql).await;
            if found == number {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{found} instead of {number}: {sql}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Locks every row of a table, so that a request that wants to change one has to wait.
    pub async fn lock_rows(&self, table: &str) -> RowLocks {
        let mut connection = self.connect().await;
        run(&mut connection, "begin".to_owned()).await;
        // A distributed Postgres locks rows of one account at a time.
        let accounts = connection.fetch_all("select account_id::text from accounts order by 1").await.expect("accounts");
        for account in accounts {
            let account: String = account.get(0);
            run(&mut connection, format!("select from {table} where account_id = '{account}' for update")).await;
        }
        RowLocks(connection)
    }

    /// Waits until at least this many connections of the database wait for a lock, on all of its nodes.
    pub async fn wait_for_lock_waiters(&self, count: usize) {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        let waiters = if self.is_on_nodes() {
            format!("select least(sum(result::int), {count}) from run_command_on_all_nodes($${waiting}$$)")
        } else {
            format!("select least(count, {count}) from ({waiting}) waiting")
        };
        self.wait_for(i64::try_from(count).expect("a small number"), &waiters).await;
    }
}

/// Row locks of an open transaction. Dropping them closes its connection.
pub struct RowLocks(PgConnection);

impl RowLocks {
    /// Changes nothing and releases the locks.
    pub async fn release(mut self) {
        run(&mut self.0, "rollback".to_owned()).await;
    }

    /// Runs a statement, commits it and thereby releases the locks.
    pub async fn commit(mut self, sql: &str) {
        run(&mut self.0, format!("{sql}; commit")).await;
    }
}

async fn run(connection: &mut PgConnection, sql: String) {
    connection.execute(AssertSqlSafe(sql)).await.expect("the statement runs");
}
