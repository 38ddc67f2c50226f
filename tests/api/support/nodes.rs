//! The Postgres of a test process, and the databases on it. With `TEST_CITUS` it is a distributed one, and each database is on
//! all of its nodes.

use std::{
    env,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use core_api::{
    app::Server,
    database::{
        self,
        private::{PrivateError, PrivatePostgres, SERVING_ROLE},
    },
};
use futures_util::future::join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};

use super::{citus, world};

/// Test databases are disposable, so none has to survive a power failure.
const SETTINGS: [&str; 4] = ["fsync=off", "full_page_writes=off", "max_connections=400", "shared_buffers=64MB"];

/// What each node of Citus needs besides. Each database has a background process on each node. Few shards are enough to be
/// spread over both workers, and each costs a table. Tests add triggers.
const CITUS_SETTINGS: [&str; 4] =
    ["max_worker_processes=100", "citus.shard_count=4", "max_locks_per_transaction=256", "citus.enable_unsafe_triggers=on"];

const TEMPLATE: &str = "template_api";

/// The commands that give a database the settings of the template, which a copy does not get by itself.
const TEMPLATE_SETTINGS: &str = "
    select format(
        'alter %s %s set %s to %L',
        case setrole when 0 then 'database' else format('role %s in database', setrole::regrole) end,
        '{database}',
        split_part(setting, '=', 1),
        substr(setting, strpos(setting, '=') + 1))
    from pg_db_role_setting, unnest(setconfig) setting
    where setdatabase = (select oid from pg_database where datname = 'template_api')";

/// Connections to the template prevent copies of it. Citus has some of its own, and opens new ones if it may.
const CLOSE_TEMPLATE: [&str; 2] = [
    "alter database template_api with allow_connections false",
    "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = 'template_api'",
];

/// The connections to a database that are not of Citus itself.
const CONNECTIONS: &str = "select pid::text from pg_stat_activity
    where datname = '{database}' and backend_type = 'client backend' and application_name not like 'citus%'";

/// One node, or a coordinator and its workers.
pub struct Cluster {
    nodes: Vec<Node>,
    /// The databases of tests that have ended.
    ended: Arc<Mutex<Vec<String>>>,
}

struct Node {
    postgres: PrivatePostgres,
    /// The commands that give a database its settings.
    settings: Vec<String>,
}

/// Tells the cluster when nobody needs a database any more.
#[derive(Debug)]
pub struct Lease {
    name: String,
    ended: Arc<Mutex<Vec<String>>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Ok(mut ended) = self.ended.lock() {
            ended.push(std::mem::take(&mut self.name));
        }
    }
}

impl Cluster {
    /// Starts the Postgres, and migrates the template.
    pub async fn start() -> Self {
        let cluster = start_in_free_folder().await;
        join_all(cluster.nodes.iter().map(Node::drop_stale)).await;
        cluster.create(TEMPLATE).await;
        let template = cluster.options().database(TEMPLATE);
        database::migrate(&template, Some(SERVING_ROLE)).await.expect("migrated");
        // Starting a server creates the sandbox's logins.
        let server = Server::start(&world::settings(), template.clone().username(SERVING_ROLE)).await.expect("the server starts");
        server.serve(async {}).await.expect("the server stops");
        if cluster.is_distributed() {
            database::distribute(&template, Some(SERVING_ROLE)).await.expect("distributed");
        }
        if has_guards_of_shards() {
            cluster.nodes[0].run_in(TEMPLATE, "call guard_rows_of_shards()").await;
        }
        cluster.close_template().await
    }

    /// Whether databases are as on shards.
    pub fn is_sharded(&self) -> bool {
        self.is_distributed() || has_guards_of_shards()
    }

    /// The node that tests connect to.
    pub fn options(&self) -> PgConnectOptions {
        self.nodes[0].postgres.options()
    }

    /// Copies the template.
    pub async fn copy_template(&self, name: &str) -> Option<Lease> {
        self.drop_ended().await;
        join_all(self.nodes.iter().map(async |node| {
            let settings = node.settings.iter().map(|setting| setting.replace("{database}", name));
            let copy = [format!("create database {name} template {TEMPLATE}")];
            node.run(copy.into_iter().chain(settings)).await;
        }))
        .await;
        // A database of a distributed Postgres has processes and connections even if nobody uses it.
        self.is_distributed().then(|| Lease { name: name.to_owned(), ended: Arc::clone(&self.ended) })
    }

    /// Replaces a database by an empty one.
    pub async fn empty(&self, name: &str) {
        while !self.drop(name).await {}
        self.create(name).await;
    }

    /// Creates an empty database.
    async fn create(&self, name: &str) {
        join_all(self.nodes.iter().map(|node| node.run([format!("create database {name}")]))).await;
        if self.is_distributed() {
            let nodes: Vec<_> = self.nodes.iter().map(|node| node.postgres.options().database(name)).collect();
            citus::join(&nodes).await.expect("the nodes are joined");
        }
    }

    /// Returns whether nothing is left of it.
    async fn drop(&self, name: &str) -> bool {
        if !self.is_distributed() {
            self.nodes[0].run([format!("drop database {name}")]).await;
            return true;
        }
        // The processes of Citus on each node connect to the other nodes.
        join_all(self.nodes.iter().map(|node| node.try_to(format!("alter database {name} with allow_connections false")))).await;
        let dropped = self.nodes.iter().map(|node| node.try_to(format!("drop database if exists {name} with (force)")));
        join_all(dropped).await.into_iter().all(|dropped| dropped)
    }

    /// Drops the databases that nobody is connected to any more.
    async fn drop_ended(&self) {
        let ended = std::mem::take(&mut *self.ended.lock().expect("not poisoned"));
        for name in ended {
            let connections = self.nodes[0].names(CONNECTIONS.replace("{database}", &name)).await;
            if !connections.is_empty() || !self.drop(&name).await {
                self.ended.lock().expect("not poisoned").push(name);
            }
        }
    }

    async fn close_template(mut self) -> Self {
        if self.is_distributed() {
            for node in &mut self.nodes {
                node.close_template().await;
            }
        }
        self
    }

    fn is_distributed(&self) -> bool {
        self.nodes.len() > 1
    }
}

impl Node {
    async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.postgres.options()).await.expect("the cluster answers")
    }

    async fn run(&self, statements: impl IntoIterator<Item = String>) {
        let mut admin = self.connect().await;
        for sql in statements {
            admin.execute(AssertSqlSafe(sql)).await.expect("the statement runs");
        }
        admin.close().await.expect("closed");
    }

    async fn run_in(&self, database: &str, sql: &'static str) {
        let mut owner = PgConnection::connect_with(&self.postgres.options().database(database)).await.expect("the cluster answers");
        owner.execute(sql).await.expect("the statement runs");
        owner.close().await.expect("closed");
    }

    /// Returns whether the statement ran.
    async fn try_to(&self, sql: String) -> bool {
        let mut admin = self.connect().await;
        let ran = admin.execute(AssertSqlSafe(sql)).await.is_ok();
        admin.close().await.expect("closed");
        ran
    }

    async fn names(&self, sql: impl Into<String>) -> Vec<String> {
        let mut admin = self.connect().await;
        let rows = admin.fetch_all(AssertSqlSafe(sql.into())).await.expect("rows");
        admin.close().await.expect("closed");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Drops the databases of an earlier run, also if that was killed between the two phases of a commit.
    async fn drop_stale(&self) {
        let mut admin = self.connect().await;
        let prepared = admin.fetch_all("select database::text, gid from pg_prepared_xacts").await.expect("rows");
        admin.close().await.expect("closed");
        for row in prepared {
            let name: String = row.get(0);
            self.run([format!("alter database {name} with allow_connections true")]).await;
            let of = self.postgres.options().database(&name);
            let mut owner = PgConnection::connect_with(&of).await.expect("the cluster answers");
            let sql = format!("rollback prepared '{}'", row.get::<String, _>(1));
            owner.execute(AssertSqlSafe(sql)).await.expect("rolled back");
            owner.close().await.expect("closed");
        }
        let stale = self.names("select datname::text from pg_database where datname like 'test%' or datname = 'template_api'").await;
        self.run(stale.iter().map(|name| format!("drop database {name} with (force)"))).await;
    }

    async fn close_template(&mut self) {
        self.settings = self.names(TEMPLATE_SETTINGS).await;
        self.run(CLOSE_TEMPLATE.map(str::to_owned)).await;
        while !self.names("select pid::text from pg_stat_activity where datname = 'template_api'").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether `TEST_SHARDS` is set: each database is one shard, with the guards that a shard has, on a Postgres that is not
/// distributed. So the statements of shards run everywhere.
fn has_guards_of_shards() -> bool {
    env::var_os("TEST_SHARDS").is_some()
}

/// Concurrent test processes get different folders.
async fn start_in_free_folder() -> Cluster {
    // Clients and servers share this process, so tests with many of them need many sockets.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard).expect("the limit is raised");
    }
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for slot in 0..8 {
        let started = match citus::programs() {
            Some(programs) => start_distributed(&programs, &parent.join(format!("citus-{slot}"))).await,
            None => PrivatePostgres::start(&parent.join(format!("postgres-{slot}")), &SETTINGS).await.map(|postgres| vec![postgres]),
        };
        match started {
            Ok(nodes) => {
                let nodes = nodes.into_iter().map(|postgres| Node { postgres, settings: Vec::new() }).collect();
                return Cluster { nodes, ended: Arc::default() };
            }
            Err(PrivateError::InUse(_)) => {}
            Err(error) => panic!("no Postgres to test against: {error}"),
        }
    }
    panic!("eight other test processes are running");
}

async fn start_distributed(programs: &Path, folder: &Path) -> Result<Vec<PrivatePostgres>, PrivateError> {
    let settings = [&SETTINGS[..], &CITUS_SETTINGS].concat();
    let mut nodes = Vec::new();
    for name in citus::NODES {
        nodes.push(citus::start_node(programs, &folder.join(name), &settings).await?);
    }
    Ok(nodes)
}
