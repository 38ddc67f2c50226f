//! A primary whose commits wait for a standby.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use core_api::database::private::PrivatePostgres;
use nix::unistd::Uid;
use tempfile::TempDir;

use super::Database;

const SETTINGS: [&str; 2] = ["fsync=off", "max_connections=80"];

/// A primary and its standby, in a folder of their own.
pub struct Replication {
    primary: PrivatePostgres,
    standby: Option<PrivatePostgres>,
    folder: TempDir,
}

impl Replication {
    /// Starts a primary, copies it, and starts the copy as a standby. The primary does not wait for it yet.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a folder");
        let primary = PrivatePostgres::start(&folder.path().join("primary"), &SETTINGS).await.expect("a primary");
        let mut replication = Self { primary, standby: None, folder };
        copy(&replication.database(), &replication.standby_folder());
        replication.start_standby().await;
        replication
    }

    /// The primary's database.
    pub fn database(&self) -> Database {
        Database::at(self.primary.options())
    }

    pub fn stop_standby(&mut self) {
        self.standby.take().expect("a running standby").stop().expect("the standby stops");
    }

    pub async fn start_standby(&mut self) {
        self.standby = Some(PrivatePostgres::start(&self.standby_folder(), &SETTINGS).await.expect("a standby"));
    }

    fn standby_folder(&self) -> PathBuf {
        self.folder.path().join("standby")
    }
}

/// Copies the primary into the folder of a standby, as the user that the primary runs as.
fn copy(primary: &Database, folder: &Path) {
    let socket = primary.options.get_socket().expect("a socket");
    let owner = fs::metadata(socket).expect("a folder");
    fs::create_dir(folder).expect("the folder is created");
    let mut command = Command::new("pg_basebackup");
    if Uid::effective().is_root() {
        chown(folder, Some(owner.uid()), Some(owner.gid())).expect("the owner is changed");
        fs::set_permissions(folder.parent().expect("a parent"), fs::Permissions::from_mode(0o711)).expect("the folder can be entered");
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.arg("-D").arg(folder.join("data")).arg("-h").arg(socket).args(["-U", "core_api", "-R", "-c", "fast"]);
    let output = command.current_dir(folder).output().expect("pg_basebackup runs");
    // Marks the folder as one of a private Postgres.
    fs::write(folder.join("lock"), "").expect("the lock is created");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
