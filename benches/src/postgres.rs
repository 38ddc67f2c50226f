//! A Postgres of its own: as durable as in production, on a socket only, gone when this program is.

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

/// Waits for its input to end, which it does however this program ends; then Postgres ends at once.
const WATCHED: &str = r#"exec 3<&0; "$@" </dev/null 3<&- & postgres=$!; cat <&3 >/dev/null; kill -QUIT "$postgres"; wait "$postgres""#;

/// Durable as Postgres is by default, whatever a distribution made of that; and room for 256 clients beside the service.
const SETTINGS: [&str; 6] =
    ["fsync=on", "synchronous_commit=on", "full_page_writes=on", "max_connections=400", "shared_buffers=256MB", "listen_addresses="];

/// The superuser, and the database that the service has if it needs no other.
pub const NAME: &str = "core_api";

/// A Postgres that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Postgres {
    shell: Child,
    programs: PathBuf,
    socket: PathBuf,
}

impl Postgres {
    /// Makes one in the folder, and waits until it answers.
    pub async fn start(folder: &Path) -> Result<Self, Failure> {
        let programs = programs()?;
        let home = folder.join("postgres");
        let (data, socket) = (home.join("data"), home.join("socket"));
        fs::create_dir_all(&socket)?;
        // Postgres refuses root.
        let lesser = if Uid::effective().is_root() { Some(User::from_name("postgres")?.ok_or("there is no user postgres")?) } else { None };
        let command = |program: &str| {
            let mut command = Command::new(program);
            if let Some(user) = &lesser {
                command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            }
            command.current_dir(&home).stdin(Stdio::null());
            command
        };
        if let Some(user) = &lesser {
            chown(&home, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            chown(&socket, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        let mut initdb = command(&programs.join("initdb").to_string_lossy());
        initdb.arg("-D").arg(&data).args(["-U", NAME, "-A", "trust", "-E", "UTF8", "--no-locale"]);
        let made = initdb.output()?;
        if !made.status.success() {
            return Err(format!("initdb failed: {}", String::from_utf8_lossy(&made.stderr)).into());
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
            if postgres.ask("postgres", "select 1").is_ok() {
                postgres.ask("postgres", &format!("create database {NAME}"))?;
                return Ok(postgres);
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(format!("Postgres did not start: {}", fs::read_to_string(folder.join("postgres.log"))?).into())
    }

    /// What the service is told.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{NAME}@localhost/{database}?host={}", self.socket.display())
    }

    /// One of its client programs, told where to connect.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-h").arg(&self.socket).args(["-U", NAME]).stdin(Stdio::null());
        command
    }

    /// What a database answers to a statement.
    pub fn ask(&self, database: &str, sql: &str) -> Result<String, Failure> {
        told(self.psql(database, sql).output()?)
    }

    /// The same for one that takes long: meanwhile other things go on, and this program can be ended.
    pub async fn ask_patiently(&self, database: &str, sql: &str) -> Result<String, Failure> {
        told(process::Command::from(self.psql(database, sql)).kill_on_drop(true).output().await?)
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut command = self.client("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
        command
    }
}

fn told(answer: Output) -> Result<String, Failure> {
    if answer.status.success() {
        Ok(String::from_utf8(answer.stdout)?.trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&answer.stderr).trim().into())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its data is thrown away with it, so it need not end in order.
        drop(self.shell.stdin.take());
        let _reaped = self.shell.wait();
    }
}

/// Where Postgres' programs are: `PG_BIN`, else the newest that Debian's packages brought.
fn programs() -> Result<PathBuf, Failure> {
    let complete = |folder: &PathBuf| ["initdb", "postgres", "psql", "pgbench"].iter().all(|program| folder.join(program).is_file());
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
    candidates.find(complete).ok_or_else(|| "no folder with initdb, postgres, psql and pgbench: set PG_BIN".into())
}
