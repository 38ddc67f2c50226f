//! The memory of the idle service.

use bench::{Failure, Testbed, http::Connection, postgres::NAME, server::Server};

use crate::{account, report::Report};

/// The number of open idle connections.
const CONNECTIONS: usize = 5_000;

/// Measures a freshly started server, and then the same server with many idle connections.
pub async fn measure(testbed: &Testbed, report: &mut Report) -> Result<(), Failure> {
    // Only the first start migrates and hashes passwords.
    testbed.serve(NAME).await?.stop().await?;
    let server = testbed.serve(NAME).await?;
    report.memory("after start", server.memory(), None);
    let connections = open(&server).await?;
    report.memory("with 5,000 idle connections", server.memory(), None);
    drop(connections);
    server.stop().await
}

/// Opens connections that send one request each.
async fn open(server: &Server) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(server.address()).await?;
        connection.send(account::liveness_check()).await?;
        connections.push(connection);
    }
    Ok(connections)
}
