//! A dump of a database, and a new cluster that it is restored into.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use core_api::database::private::PrivatePostgres;

use super::Database;

/// A Postgres of its own, in this folder, whose database the tests serve.
pub async fn own_postgres(folder: &Path) -> (PrivatePostgres, Database) {
    let postgres = PrivatePostgres::start(folder, &["fsync=off", "max_connections=60", "shared_buffers=32MB"]).await.expect("a Postgres");
    let database = Database::at(postgres.options());
    (postgres, database)
}

/// Copies a database into an empty one of another cluster, through a dump.
pub fn dump_and_restore(from: &Database, to: &Database, dump: &Path) {
    let find = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
    let found = Command::new(find).arg("--find").output().expect("scripts/postgres runs");
    let programs = PathBuf::from(String::from_utf8(found.stdout).expect("a path").trim());
    for (program, database, option) in [("pg_dump", from, "-f"), ("pg_restore", to, "-d")] {
        let mut command = Command::new(programs.join(program));
        command.arg("-h").arg(database.options.get_socket().expect("a socket")).args(["-p", "5432", "-U", "core_api"]);
        match option {
            "-f" => command.args(["-Fc", "-d", "core_api", "-f"]).arg(dump),
            _ => command.args(["--exit-on-error", "-d", "core_api"]).arg(dump),
        };
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
