//! What every measurement stands on: a folder, a Postgres in it, and the service that is measured.

use std::path::PathBuf;

use crate::{Failure, folder::Folder, postgres::Postgres, server::Server};

/// All of it. Dropped in this order: Postgres before its folder.
#[derive(Debug)]
pub struct Ground {
    /// The Postgres.
    pub postgres: Postgres,
    /// Where it is, and the logs are.
    pub folder: Folder,
    binary: PathBuf,
}

impl Ground {
    /// Makes the folder, and starts Postgres in it.
    pub async fn lay(binary: PathBuf) -> Result<Self, Failure> {
        let folder = Folder::make()?;
        let postgres = Postgres::start(folder.path()).await?;
        Ok(Self { postgres, folder, binary })
    }

    /// Starts a server on a database.
    pub async fn serve(&self, database: &str) -> Result<Server, Failure> {
        Server::start(&self.binary, &self.postgres.url(database), self.folder.path()).await
    }
}
