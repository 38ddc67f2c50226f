//! One Postgres for the whole test process, one database for each test, copied from a migrated template.

use std::{
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use core_api::{
    app::Server,
    database::{
        self, Pool,
        private::{PrivateError, PrivatePostgres},
    },
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};
use tokio::sync::OnceCell;

use super::{bouncer::Bouncer, world};

/// A test's database is thrown away, so nothing in it needs to survive a power cut.
const SETTINGS: [&str; 4] = ["fsync=off", "full_page_writes=off", "max_connections=400", "shared_buffers=64MB"];

const TEMPLATE: &str = "template_api";

static CLUSTER: OnceCell<PrivatePostgres> = OnceCell::const_new();
static BOUNCER: OnceLock<Option<Bouncer>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of one test's own: migrated, with the sandbox's logins and nothing else in it.
#[derive(Clone, Debug)]
pub struct Database {
    pub options: PgConnectOptions,
}

impl Database {
    pub async fn new() -> Self {
        let cluster = CLUSTER.get_or_init(start).await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect_with(&cluster.options()).await.expect("the cluster answers");
        run(&mut admin, format!("create database {name} template {TEMPLATE}")).await;
        admin.close().await.expect("closed");
        let bouncer = BOUNCER.get_or_init(|| Bouncer::in_front_of(&cluster.options()));
        let options = bouncer.as_ref().map_or_else(|| cluster.options(), Bouncer::options);
        Self { options: options.database(&name) }
    }

    /// A database with nothing in it at all.
    pub async fn empty() -> Self {
        let database = Self::new().await;
        let name = database.options.get_database().expect("named").to_owned();
        let mut admin = PgConnection::connect_with(&database.options.clone().database("postgres")).await.expect("the cluster answers");
        run(&mut admin, format!("drop database {name}")).await;
        run(&mut admin, format!("create database {name}")).await;
        database
    }

    /// Its `DATABASE_URL`, with a password that must not be shown.
    pub fn url(&self) -> String {
        let socket = self.options.get_socket().expect("a socket").display().to_string();
        format!("postgres://core_api:hunter2@localhost/{}?host={socket}", self.options.get_database().expect("a name"))
    }

    /// A look at the tables behind the API's back.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options).await.expect("the database answers")
    }

    /// Waits until enough of the clock hour is left for a test that counts within one.
    pub async fn within_one_hour(&self) {
        let left = self.number("select 3600 - extract(epoch from now())::bigint % 3600").await;
        if left < 20 {
            tokio::time::sleep(Duration::from_secs(left.unsigned_abs() + 1)).await;
        }
    }

    pub fn pool(&self) -> Pool {
        database::pool(self.options.clone(), 2, Duration::from_secs(20))
    }

    pub async fn execute(&self, sql: &str) {
        let mut connection = self.connect().await;
        run(&mut connection, sql.to_owned()).await;
        connection.close().await.expect("closed");
    }

    /// One number, by any statement.
    pub async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        let row = connection.fetch_one(AssertSqlSafe(sql.to_owned())).await.expect("a row");
        let number = row.get(0);
        connection.close().await.expect("closed");
        number
    }

    /// How many rows there are of everything that a request could leave behind.
    pub async fn rows(&self) -> i64 {
        self.number("select (select count(*) from customers) + (select count(*) from cards) + (select count(*) from movements)").await
    }
}

async fn run(connection: &mut PgConnection, sql: String) {
    connection.execute(AssertSqlSafe(sql)).await.expect("the statement runs");
}

async fn start() -> PrivatePostgres {
    // Clients and servers are all in this process: a test with many of them needs many sockets.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, most.min(16_384), most).expect("raised");
    }
    let cluster = start_in_a_free_folder().await;
    let mut admin = PgConnection::connect_with(&cluster.options()).await.expect("the cluster answers");
    let stale = "select datname::text from pg_database where datname like 'test%' or datname = 'template_api'";
    let stale = admin.fetch_all(stale).await.expect("the databases of an earlier run");
    let stale: Vec<String> = stale.iter().map(|row| row.get(0)).collect();
    for name in stale {
        run(&mut admin, format!("drop database {name}")).await;
    }
    run(&mut admin, format!("create database {TEMPLATE}")).await;
    admin.close().await.expect("closed");
    // A server that starts and stops leaves the schema and the sandbox's logins.
    let server = Server::start(&world::settings(), cluster.options().database(TEMPLATE)).await.expect("a server starts");
    server.serve(async {}).await.expect("a server stops");
    cluster
}

/// A second test process at the same time gets a second folder.
async fn start_in_a_free_folder() -> PrivatePostgres {
    for slot in 0..8 {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{slot}"));
        match PrivatePostgres::start(&folder, &SETTINGS).await {
            Ok(cluster) => return cluster,
            Err(PrivateError::InUse(_)) => {}
            Err(error) => panic!("no Postgres to test against: {error}"),
        }
    }
    panic!("eight test processes at once are too many");
}
