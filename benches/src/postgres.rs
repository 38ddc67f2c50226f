//! A private Postgres: as durable as in production, on a socket only, and stopped when this program ends.

use std::{
    fs::{self, File},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::unistd::{Uid, User};
use tokio::{process, time::sleep};

use crate::Failure;

/// Stops Postgres at once when the input ends, which it does however this program ends.
const WATCHED: &str = r#"exec 3<&0; "$@" </dev/null 3<&- & postgres=$!; cat <&3 >/dev/null; kill -QUIT "$postgres"; wait "$postgres""#;

/// As durable as Postgres is by default, regardless of what a distribution changed, and with room for 256 clients and the service.
const SETTINGS: [&str; 6] =
    ["fsync=on", "synchronous_commit=on", "full_page_writes=on", "max_connections=400", "shared_buffers=256MB", "listen_addresses="];

/// The superuser, and the default database of the service.
pub const NAME: &str = "core_api";

/// A running Postgres. Dropping it stops it.
#[derive(Debug)]
pub struct Postgres {
    shell: Child,
    programs: PathBuf,
    socket: PathBuf,
}

impl Postgres {
    /// Creates a cluster in the folder, starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// The programs are missing, or Postgres does not start.
    pub async fn start(folder: &Path) -> Result<Self, Failure> {
        let programs = programs()?;
        let home = folder.join("postgres");
        let (data, socket) = (home.join("data"), home.join("socket"));
        fs::create_dir_all(&socket)?;
        // Postgres does not run as root.
        let owner = if Uid::effective().is_root() { Some(User::from_name("postgres")?.ok_or("there is no user postgres")?) } else { None };
        let command = |program: &str| {
            let mut command = Command::new(program);
            if let Some(user) = &owner {
                command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            }
            command.current_dir(&home).stdin(Stdio::null());
            command
        };
        if let Some(user) = &owner {
            chown(&home, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            chown(&socket, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        let mut initdb = command(&programs.join("initdb").to_string_lossy());
        initdb.arg("-D").arg(&data).args(["-U", NAME, "-A", "trust", "-E", "UTF8", "--no-locale"]);
        let created = initdb.output()?;
        if !created.status.success() {
            return Err(format!("initdb failed: {}", String::from_utf8_lossy(&created.stderr)).into());
        }
        let mut shell = command("/bin/sh");
        shell.args(["-c", WATCHED, "sh"]).arg(programs.join("postgres")).arg("-D").arg(&data);
        shell.arg("-c").arg(format!("unix_socket_directories={}", socket.display()));
        for setting in SETTINGS {
            shell.args(["-c", setting]);
        }
        let log = File::create(folder.join("postgres.log"))?;
        let shell = shell.process_group(0).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let postgres = Self { shell, programs, socket };
        for _ in 0..200 {
            if postgres.query("postgres", "select 1").is_ok() {
                postgres.query("postgres", &format!("create database {NAME}"))?;
                return Ok(postgres);
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(format!("Postgres did not start: {}", fs::read_to_string(folder.join("postgres.log"))?).into())
    }

    /// The `DATABASE_URL` of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{NAME}@localhost/{database}?host={}", self.socket.display())
    }

    /// A client program, set up to connect here.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-h").arg(&self.socket).args(["-U", NAME]).stdin(Stdio::null());
        command
    }

    /// The result of a statement.
    ///
    /// # Errors
    ///
    /// The statement fails.
    pub fn query(&self, database: &str, sql: &str) -> Result<String, Failure> {
        result_of(self.psql(database, sql).output()?)
    }

    /// The result of a long statement, during which other tasks run and this program can be interrupted.
    ///
    /// # Errors
    ///
    /// The statement fails.
    pub async fn long_query(&self, database: &str, sql: &str) -> Result<String, Failure> {
        result_of(process::Command::from(self.psql(database, sql)).kill_on_drop(true).output().await?)
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut command = self.client("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
        command
    }
}

fn result_of(answer: Output) -> Result<String, Failure> {
    if answer.status.success() {
        Ok(String::from_utf8(answer.stdout)?.trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&answer.stderr).trim().into())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The data is disposable, so no orderly shutdown is needed.
        drop(self.shell.stdin.take());
        let _reaped = self.shell.wait();
    }
}

/// The folder with the programs of Postgres: `PG_BIN`, or else the newest of Debian's packages.
fn programs() -> Result<PathBuf, Failure> {
    let complete = |folder: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file());
    let mut installed: Vec<(u32, PathBuf)> = Path::new("/usr/lib/postgresql")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    installed.sort();
    let newest_first = installed.into_iter().rev().map(|(_, folder)| folder);
    let mut candidates = std::env::var_os("PG_BIN").map(PathBuf::from).into_iter().chain(newest_first);
    candidates.find(complete).ok_or_else(|| "no folder contains initdb, postgres and psql: set PG_BIN".into())
}
