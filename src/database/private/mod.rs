//! A private Postgres for the sandbox and the tests. It belongs to one folder, listens only on a Unix
//! socket and stops when this process ends, however it ends.
//!
//! Postgres runs under a shell that watches a pipe from this process. When the pipe closes, by
//! [`PrivatePostgres::stop`] or because this process dies, the shell tells Postgres to shut down.

mod binaries;
mod folder;
mod leftovers;

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use sqlx::{
    Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use self::folder::{Folder, Owner};

/// The name of the database and of the role that owns it.
const NAME: &str = "core_api";

/// The role that serves. It owns nothing.
pub const SERVING_ROLE: &str = "core_api_server";

/// Creates the role that serves, unless it exists.
const CREATE_SERVING_ROLE: &str = "
    do $$
    begin
        if not exists (select from pg_roles where rolname = 'core_api_server') then
            create role core_api_server login;
        end if;
    end;
    $$";

/// How long Postgres may take to start, including recovery, or to stop.
const START_STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs Postgres and stops it when standard input closes. A shell connects background commands to
/// /dev/null, so the script first moves the pipe to another descriptor.
const SUPERVISOR: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
postgres=$!
{ read -r _ <&3; kill -INT "$postgres"; } >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$postgres"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"#;

/// Why the private Postgres is not available.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The Postgres server programs are not installed.
    #[error(
        "PostgreSQL's server programs are not installed on this machine. Install them with\n\n    {0}\n\nor set DATABASE_URL to a Postgres that runs elsewhere."
    )]
    NotInstalled(&'static str),
    /// Another process uses the folder.
    #[error("{0} is in use by another core-api; stop that one, or set CORE_API__DATABASE__DATA_DIR to a folder of its own")]
    InUse(PathBuf),
    /// The folder contains other files.
    #[error("{0} has something else in it; set CORE_API__DATABASE__DATA_DIR to an empty or new folder")]
    NotOurs(PathBuf),
    /// This process runs as root, and neither user that Postgres could run as exists.
    #[error("Postgres does not run as root, and there is no user \"postgres\" or \"nobody\" to run it as")]
    NoUser,
    /// A file or process operation failed.
    #[error("CORE_API__DATABASE__DATA_DIR takes a folder for a Postgres, such as .core-api, and this one does not work: {doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Initdb(String),
    /// Postgres exited, or did not answer in time.
    #[error("Postgres did not start; see its log in {0}")]
    DidNotStart(PathBuf),
    /// Postgres runs but refused the first statement.
    #[error("the private Postgres refused its first statement")]
    Refused(#[source] sqlx::Error),
}

impl PrivateError {
    fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// A running Postgres. Dropping it stops it.
#[derive(Debug)]
pub struct PrivatePostgres {
    shell: Child,
    socket: PathBuf,
    folder: PathBuf,
    // Held until the end: two servers on one folder would destroy its data.
    _lock: nix::fcntl::Flock<File>,
}

impl PrivatePostgres {
    /// Starts Postgres on a folder, creating and initialising it if necessary. An orphaned Postgres of that
    /// folder is stopped first. `settings` are `name=value` and override Postgres' defaults.
    ///
    /// # Errors
    /// Postgres is not installed, the folder is in use or not usable, or Postgres did not start.
    pub async fn start(folder: &Path, settings: &[&str]) -> Result<Self, PrivateError> {
        Self::start_with(None, folder, settings).await
    }

    /// As [`Self::start`], with the programs in this folder, for example those of a Postgres with an extension.
    ///
    /// # Errors
    /// As those of [`Self::start`].
    pub async fn start_with(programs: Option<&Path>, folder: &Path, settings: &[&str]) -> Result<Self, PrivateError> {
        let mut postgres = Self::launch(programs, folder, settings)?;
        postgres.wait_until_ready().await?;
        Ok(postgres)
    }

    /// How to connect as the owner of everything. Only processes that may enter the folder reach the socket.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.options_for(NAME)
    }

    /// How to connect as the role that serves. It may do what [`super::migrate`] has granted to it.
    #[must_use]
    pub fn serving_options(&self) -> PgConnectOptions {
        self.options().username(SERVING_ROLE)
    }

    /// Stops Postgres and waits until it has exited.
    ///
    /// # Errors
    /// Postgres did not exit in time.
    pub fn stop(mut self) -> Result<(), PrivateError> {
        self.end()
    }

    fn options_for(&self, database: &str) -> PgConnectOptions {
        // Ignores settings in the environment that are meant for other servers, such as encryption.
        let options = PgConnectOptions::new_without_pgpass().socket(&self.socket).port(5432).username(NAME).database(database);
        options.ssl_mode(PgSslMode::Disable)
    }

    fn launch(programs: Option<&Path>, wanted: &Path, settings: &[&str]) -> Result<Self, PrivateError> {
        let owner = Owner::find(wanted)?;
        let find = |created_by: Option<&str>| programs.map_or_else(|| binaries::find(created_by), |programs| Ok(programs.to_owned()));
        // Checked before a folder is created that could not be used.
        find(None)?;
        let folder = Folder::open(wanted, &owner)?;
        let created_by = fs::read_to_string(folder.data().join("PG_VERSION")).ok();
        let binaries = find(created_by.as_deref().map(str::trim))?;
        leftovers::clean_up(&folder)?;
        if created_by.is_none() {
            initialise(&binaries, &folder, &owner)?;
        }
        let socket = folder.socket(&owner)?;
        let log = folder.path().join("postgres.log");
        let output = File::create(&log).map_err(PrivateError::io(format!("creating {}", log.display())))?;
        owner.give(&log)?;
        let errors = output.try_clone().map_err(PrivateError::io("sharing the log of Postgres"))?;
        let mut command = owner.command("/bin/sh");
        command.args(["-c", SUPERVISOR, "sh"]).arg(binaries.join("postgres")).arg("-D").arg(folder.data());
        command.args(["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", "-p", "5432"]);
        command.arg("-c").arg(format!("unix_socket_directories={}", socket.display()));
        for setting in settings {
            command.args(["-c", setting]);
        }
        command.process_group(0).current_dir(folder.path()).stdin(Stdio::piped()).stdout(output).stderr(errors);
        let shell = command.spawn().map_err(PrivateError::io("starting Postgres"))?;
        Ok(Self { shell, socket, folder: folder.path().to_owned(), _lock: folder.into_lock() })
    }

    async fn wait_until_ready(&mut self) -> Result<(), PrivateError> {
        let (began, mut reported) = (Instant::now(), false);
        let mut connection = loop {
            if let Ok(connection) = PgConnection::connect_with(&self.options_for("postgres")).await {
                break connection;
            }
            let exited = self.shell.try_wait().map_err(PrivateError::io("watching Postgres"))?.is_some();
            if exited || began.elapsed() > START_STOP_TIMEOUT {
                return Err(PrivateError::DidNotStart(self.folder.join("postgres.log")));
            }
            if !reported && began.elapsed() > super::REPORT_AFTER {
                reported = true;
                tracing::info!("the private Postgres is starting; waiting for at most {} s", START_STOP_TIMEOUT.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let exists = sqlx::query_scalar!(r#"select exists (select from pg_database where datname = $1) as "known!""#, NAME)
            .fetch_one(&mut connection)
            .await
            .map_err(PrivateError::Refused)?;
        if !exists {
            connection.execute("create database core_api").await.map_err(PrivateError::Refused)?;
        }
        connection.execute(CREATE_SERVING_ROLE).await.map_err(PrivateError::Refused)?;
        connection.close().await.map_err(PrivateError::Refused)
    }

    fn end(&mut self) -> Result<(), PrivateError> {
        drop(self.shell.stdin.take());
        let began = Instant::now();
        while self.shell.try_wait().map_err(PrivateError::io("waiting for Postgres to end"))?.is_none() {
            if began.elapsed() > START_STOP_TIMEOUT {
                return Err(PrivateError::io("waiting for Postgres to end")(io::ErrorKind::TimedOut.into()));
            }
            sleep(Duration::from_millis(5));
        }
        if !self.socket.starts_with(&self.folder) {
            // The socket's folder is in /tmp and must not be left behind.
            let _absent = fs::remove_dir(&self.socket);
        }
        Ok(())
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "the private Postgres may still be running");
        }
    }
}

/// Creates a cluster next to its final place and renames it, so that a half-made one is never used.
fn initialise(binaries: &Path, folder: &Folder, owner: &Owner) -> Result<(), PrivateError> {
    let unfinished = folder.path().join("data.new");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(PrivateError::io(format!("removing {}", unfinished.display())))?;
    }
    let mut command: Command = owner.command(binaries.join("initdb"));
    command.arg("-D").arg(&unfinished).args(["-U", NAME, "-A", "trust", "-E", "UTF8", "--no-locale"]);
    let output = command.current_dir(folder.path()).output().map_err(PrivateError::io("running initdb"))?;
    if !output.status.success() {
        return Err(PrivateError::Initdb(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    fs::rename(&unfinished, folder.data()).map_err(PrivateError::io(format!("renaming {}", unfinished.display())))
}
