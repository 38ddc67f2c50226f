//! What the service takes while it does nothing.

use crate::{Failure, account, ground::Ground, http::Connection, postgres::NAME, report::Report, server::Server};

/// How many connections are open and idle.
const CONNECTIONS: usize = 5_000;

/// Measures a server that has done nothing since it started, then with many connections that are kept open.
pub async fn measure(ground: &Ground, report: &mut Report) -> Result<(), Failure> {
    // The first start migrates and hashes, which no later one does.
    ground.serve(NAME).await?.stop().await?;
    let server = ground.serve(NAME).await?;
    report.memory("after start", server.memory(), None);
    let connections = open(&server).await?;
    report.memory("with 5,000 idle connections", server.memory(), None);
    drop(connections);
    server.stop().await
}

/// Connections that have asked once, and are kept open.
async fn open(server: &Server) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(server.address()).await?;
        connection.ask(account::alive()).await?;
        connections.push(connection);
    }
    Ok(connections)
}
