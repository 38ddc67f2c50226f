//! The environment of every measurement: a folder, a Postgres in it, and the service under test.

use std::path::{Path, PathBuf};

use crate::{Failure, folder::Folder, postgres::Postgres, server::Server};

/// Settings of the service, as environment variables.
pub type Settings = [(&'static str, &'static str)];

/// Everything that a measurement runs on. The fields are dropped in this order: Postgres before its folder.
#[derive(Debug)]
pub struct Testbed {
    /// The Postgres.
    pub postgres: Postgres,
    /// The folder with its data and the logs.
    pub folder: Folder,
    binary: PathBuf,
    settings: &'static Settings,
}

impl Testbed {
    /// Creates the folder and starts Postgres in it. `settings` apply to every server.
    ///
    /// # Errors
    ///
    /// The binary does not exist, or Postgres does not start.
    pub async fn create(name: &str, binary: &Path, settings: &'static Settings) -> Result<Self, Failure> {
        let binary = binary.canonicalize().map_err(|error| format!("{}: {error}", binary.display()))?;
        let folder = Folder::create(name)?;
        let postgres = Postgres::start(folder.path()).await?;
        Ok(Self { postgres, folder, binary, settings })
    }

    /// Starts a server on a database.
    ///
    /// # Errors
    ///
    /// The server does not start.
    pub async fn serve(&self, database: &str) -> Result<Server, Failure> {
        self.serve_with(database, &[]).await
    }

    /// Starts a server with more settings.
    ///
    /// # Errors
    ///
    /// The server does not start.
    pub async fn serve_with(&self, database: &str, settings: &Settings) -> Result<Server, Failure> {
        let settings = self.settings.iter().chain(settings).copied();
        Server::start(&self.binary, &self.postgres.url(database), self.folder.path(), settings).await
    }
}
