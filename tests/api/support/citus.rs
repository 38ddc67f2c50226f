//! The nodes of a distributed Postgres, if `TEST_CITUS` names an installation of Postgres with Citus. The soak uses them, too.

use std::{
    env,
    path::{self, Path, PathBuf},
};

use core_api::database::private::{PrivateError, PrivatePostgres};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};

/// The folders of the nodes. The first is the coordinator, which has no shards.
pub const NODES: [&str; 3] = ["coordinator", "worker-1", "worker-2"];

/// What every node needs. Citus would turn TLS on, which a Unix socket does not have.
const SETTINGS: [&str; 4] =
    ["shared_preload_libraries=citus", "citus.node_conninfo=sslmode=disable", "ssl=off", "max_prepared_transactions=400"];

/// The folder of the programs with Citus. None: the tests run on plain Postgres.
pub fn programs() -> Option<PathBuf> {
    let prefix = env::var_os("TEST_CITUS").filter(|prefix| !prefix.is_empty())?;
    path::absolute(Path::new(&prefix).join("bin")).ok()
}

/// Starts a node. The other nodes find it by the folder of its socket.
pub async fn start_node(programs: &Path, folder: &Path, settings: &[&str]) -> Result<PrivatePostgres, PrivateError> {
    let settings = [&SETTINGS, settings].concat();
    let node = PrivatePostgres::start_with(Some(programs), folder, &settings).await?;
    name_itself(&node.options()).await.map_err(PrivateError::Refused)?;
    Ok(node)
}

/// Lets a node connect to itself.
async fn name_itself(node: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(node).await?;
    connection.execute(AssertSqlSafe(format!("alter system set citus.local_hostname = '{}'", name(node)))).await?;
    connection.execute("select pg_reload_conf()").await?;
    connection.close().await
}

/// Makes one database of the databases of this name on all nodes.
pub async fn join(nodes: &[PgConnectOptions]) -> Result<(), sqlx::Error> {
    for (index, node) in nodes.iter().enumerate() {
        let mut connection = PgConnection::connect_with(node).await?;
        connection.execute("create extension citus").await?;
        if index == 0 {
            let own = format!("select citus_set_coordinator_host('{}', 5432)", name(node));
            connection.execute(AssertSqlSafe(own)).await?;
        }
        connection.close().await?;
    }
    let [coordinator, workers @ ..] = nodes else { return Ok(()) };
    let mut connection = PgConnection::connect_with(coordinator).await?;
    for worker in workers {
        let add = format!("select citus_add_node('{}', 5432)", name(worker));
        connection.execute(AssertSqlSafe(add)).await?;
    }
    connection.close().await
}

/// The name of a node: the folder of its socket.
fn name(node: &PgConnectOptions) -> String {
    node.get_socket().map(|folder| folder.display().to_string()).unwrap_or_default()
}
