//! Runs the tests through PgBouncer if `TEST_PGBOUNCER` names the program (1.21 or newer).

use std::{
    env, fs,
    os::unix::{
        fs::{MetadataExt, chown},
        net::UnixStream,
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::unistd::Uid;
use sqlx::postgres::PgConnectOptions;

/// The settings that `docs/scaling.md` requires. Each database gets few connections, so that they are shared. They
/// suffice for a replica whose requests all wait for a lock, for the lock's holder, and for the query that counts waiters.
const SETTINGS: &str = "pool_mode = transaction
max_prepared_statements = 200
ignore_startup_parameters = extra_float_digits
default_pool_size = 10
max_client_conn = 4000
server_idle_timeout = 5
listen_addr =
listen_port = 5432
auth_type = any";

/// The session settings of the server, applied to every connection to Postgres.
const SESSION: &str = "set lock_timeout = ''2s''; set statement_timeout = ''5s''; \
    set idle_in_transaction_session_timeout = ''10s''; set enable_seqscan = off; set jit = off; \
    set default_transaction_isolation = ''read committed''; \
    select set_config(''synchronous_commit'', ''on'', false) where current_setting(''synchronous_commit'') in (''off'', ''local'')";

/// Stops PgBouncer when the pipe from this process closes, however this process ends.
const WATCHED: &str = "\"$0\" -q \"$1\" & read -r _; kill -QUIT $!";

/// A PgBouncer that runs as the same user as Postgres, next to its socket folder.
pub struct PgBouncer {
    options: PgConnectOptions,
    // Its standard input is the pipe that `WATCHED` reads.
    _shell: Child,
}

impl PgBouncer {
    /// None unless `TEST_PGBOUNCER` is set.
    pub fn in_front_of(postgres: &PgConnectOptions) -> Option<Self> {
        let program = env::var_os("TEST_PGBOUNCER")?;
        let socket = postgres.get_socket().expect("a socket");
        let owner = fs::metadata(socket).expect("a folder");
        let folder = socket.parent().expect("a folder").join("bouncer");
        let _left_by_an_earlier_run = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("the folder is created");
        chown(&folder, Some(owner.uid()), Some(owner.gid())).expect("the owner is changed");
        let settings = folder.join("pgbouncer.ini");
        fs::write(&settings, ini(socket, &folder)).expect("the settings are written");

        let mut command = Command::new("sh");
        command.args(["-c", WATCHED]).arg(program).arg(settings).current_dir(&folder);
        if Uid::effective().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let shell = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("PgBouncer starts");
        let began = Instant::now();
        while UnixStream::connect(folder.join(".s.PGSQL.5432")).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "PgBouncer did not start: see {}/log", folder.display());
            sleep(Duration::from_millis(20));
        }
        Some(Self { options: postgres.clone().socket(&folder), _shell: shell })
    }

    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }
}

fn ini(socket: &Path, folder: &Path) -> String {
    let (socket, folder) = (socket.display(), folder.display());
    format!(
        "[databases]\n* = host={socket} port=5432 user=core_api connect_query='{SESSION}'\n\
         [pgbouncer]\n{SETTINGS}\nunix_socket_dir = {folder}\nlogfile = {folder}/log\n"
    )
}
