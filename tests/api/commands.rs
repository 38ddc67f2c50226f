//! The command line: what prevents a start, and how users are created.

use std::{
    io::{Read, Write},
    process::Stdio,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::support::{
    Database, World,
    binary::{assert_refused, core_api, core_api_on, folder, run, sandbox},
};

fn key(bytes: u8) -> String {
    format!("k1:{}", STANDARD.encode((0..bytes).collect::<Vec<_>>()))
}

#[tokio::test]
async fn production_refuses_to_start_with_missing_or_unsafe_settings() {
    let empty = Database::empty().await;
    let production = || {
        let mut command = core_api();
        command.env("CORE_API_ENV", "production");
        command
    };
    assert_refused(&run(production().env("CORE_API__AUTH__SIGNING_KEYS", key(32))), "DATABASE_URL is not set");
    assert_refused(&run(production().env("DATABASE_URL", empty.owner_url())), "SIGNING_KEYS is not set");
    assert_refused(
        &run(production().env("DATABASE_URL", empty.owner_url()).env("CORE_API__AUTH__SIGNING_KEYS", key(31))),
        "fewer than 32 bytes",
    );
    assert_refused(&run(production().env("DATABASE_URL", empty.owner_url()).env("CORE_API__AUTH__SIGNING_KEYS", "hunter2")), "kid:base64");
    for (weak, shown) in [(vec![0; 32], "AAAA"), (b"hunter2".repeat(8), "aHVudGVy")] {
        let list = format!("{},live-2:{}", key(32), STANDARD.encode(weak));
        let refused = run(production().env("DATABASE_URL", empty.owner_url()).env("CORE_API__AUTH__SIGNING_KEYS", list));
        assert_refused(&refused, "signing key \"live-2\" is not random");
        assert!(!String::from_utf8_lossy(&refused.stderr).contains(shown), "the key was printed");
    }
    let twice = format!("{0},{0}", key(32));
    assert_refused(
        &run(production().env("DATABASE_URL", empty.owner_url()).env("CORE_API__AUTH__SIGNING_KEYS", twice)),
        "\"k1\" is given twice",
    );
    assert_eq!(empty.number("select count(*) from pg_tables where schemaname = 'public'").await, 0, "a refused start created tables");

    let other = World::new().await.database;
    assert_refused(
        &run(production().env("DATABASE_URL", other.url()).env("CORE_API__AUTH__SIGNING_KEYS", key(32))),
        "this database is the sandbox's",
    );

    assert_refused(&run(production().arg("migrate").env("DATABASE_URL", other.url())), "this database is the sandbox's");

    let name = empty.options.get_database().expect("a name").to_owned();
    empty.execute(&format!("alter database {name} set synchronous_commit = off")).await;
    assert_refused(
        &run(production().env("DATABASE_URL", empty.owner_url()).env("CORE_API__AUTH__SIGNING_KEYS", key(32))),
        "synchronous_commit = off",
    );
}

#[tokio::test]
async fn invalid_settings_are_refused_by_name() {
    let folder = folder();
    assert_refused(&run(sandbox(folder.path()).env("CORE_API_ENV", "staging")), "CORE_API_ENV");
    assert_refused(&run(sandbox(folder.path()).env("CORE_API__RATE_LIMIT__PER_HOUR", "many")), "rate_limit.per_hour");
    assert_refused(&run(sandbox(folder.path()).env("DATABASE_URL", "mysql://hunter2@db")), "DATABASE_URL takes postgres://");
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn users_created_from_the_command_line_can_log_in() {
    let world = World::new().await;
    let run = |arguments: &[&str], input: &str| {
        let mut command = core_api_on(&world.database);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
        process.stdin.take().expect("a piped input").write_all(input.as_bytes()).expect("the input is written");
        let mut output = String::new();
        process.stdout.take().expect("a piped output").read_to_string(&mut output).expect("text");
        (process.wait().expect("an exit status").success(), output.trim().to_owned())
    };
    let (created, account) = run(&["account", "create", "Acme", "--rate-limit", "7"], "");
    assert!(created && account.starts_with("acc_"), "{account}");
    let user = ["user", "create", "--account", &account, "--email", "ana@acme.com", "--role", "viewer"];
    let (created, id) = run(&user, "a long enough password\n");
    assert!(created && id.starts_with("usr_"), "{id}");
    assert!(!run(&user, "a long enough password\n").0, "an email was taken twice");
    let ana = world.anonymous().logged_in("ana@acme.com", "a long enough password").await;
    assert_eq!(ana.get("/cards").await.number("x-ratelimit-limit"), 7);
    ana.post("/cards", json!({"currency": "USD"})).await.problem(403, "insufficient_permissions");

    let listed = run(&["user", "list", "--account", &account], "").1;
    assert_eq!(listed, format!("{id}\tana@acme.com\tviewer\tenabled"));
    assert!(run(&["user", "disable", "--account", &account, &id], "").0);
    ana.get("/cards").await.problem(401, "unauthenticated");
    assert!(run(&["user", "list", "--account", &account], "").1.ends_with("viewer\tdisabled"));
    for weak in ["short\n", "secure_password\n", "\n"] {
        let user = ["user", "create", "--account", &account, "--email", "eva@acme.com", "--role", "viewer"];
        assert!(!run(&user, weak).0, "{weak:?}");
    }
    let nobody = "usr_01h455vb4pex5vsknk084sn02q";
    for (arguments, refusal) in [
        (vec!["user", "disable", "--account", &account, nobody], "the account has no user with this id"),
        (
            vec!["user", "create", "--account", &account, "--email", "ana@acme.com", "--role", "viewer"],
            "another user of the account has this email",
        ),
    ] {
        let mut command = core_api_on(&world.database);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        process.stdin.take().expect("a piped input").write_all(b"a long enough password\n").unwrap_or_default();
        assert_refused(&process.wait_with_output().expect("its end"), refusal);
    }
    let logged = "select count(*) from audit_events where user_id is null and type in ('account_created', 'user_created', 'user_disabled')";
    assert_eq!(world.database.number(logged).await, 4 + 3, "4 of the seeded accounts and 3 of this test");
}

#[tokio::test]
async fn every_command_refuses_an_account_that_does_not_exist() {
    let database = Database::new().await;
    let unknown = "acc_01h455vb4pex5vsknk084sn02q";
    for arguments in [
        vec!["user", "list", "--account", unknown],
        vec!["user", "create", "--account", unknown, "--email", "ana@acme.com", "--role", "viewer"],
        vec!["user", "disable", "--account", unknown, "usr_01h455vb4pex5vsknk084sn02q"],
        vec!["key", "list", "--account", unknown],
        vec!["key", "create", "--account", unknown, "--name", "gateway", "--role", "network"],
        vec!["key", "revoke", "--account", unknown, "key_01h455vb4pex5vsknk084sn02q"],
    ] {
        let refused = run(core_api_on(&database).env("CORE_API__LOG__LEVEL", "error").args(&arguments).stdin(Stdio::null()));
        assert_refused(&refused, "no account has this one");
        assert_eq!(String::from_utf8_lossy(&refused.stderr).lines().count(), 1, "{arguments:?}");
        let malformed = core_api_on(&database).args(arguments.iter().map(|word| word.replace(unknown, "acme"))).output().expect("its end");
        let message = String::from_utf8_lossy(&malformed.stderr).into_owned();
        assert_eq!(malformed.status.code(), Some(2), "{message}");
        assert!(message.contains("such as acc_01"), "{message}");
    }
    let unlimited = core_api_on(&database).args(["account", "create", "Acme", "--rate-limit", "0"]).output().expect("its end");
    let message = String::from_utf8_lossy(&unlimited.stderr).into_owned();
    assert!(unlimited.status.code() == Some(2) && message.contains("from 1 to 4294967295, such as 5000"), "{message}");
}

#[tokio::test]
async fn an_api_key_created_from_the_command_line_works_until_it_is_revoked() {
    let world = World::new().await;
    let admin = world.admin().await;
    let audit = admin.get("/audit-events?type=account_created").await.ok();
    let account = audit["auditEvents"][0]["subjectId"].as_str().expect("an id").to_owned();
    let core_api = |arguments: &[&str]| run(core_api_on(&world.database).args(arguments).stdin(Stdio::null()));
    let printed = |arguments: &[&str]| {
        let output = core_api(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let create = ["key", "create", "--account", &account, "--name", "Back office", "--role", "viewer"];
    let output = printed(&[&create[..], &["--expires-in", "90d"]].concat());
    // One line, so that a shell can put it into a variable.
    let key = output.strip_suffix('\n').expect("a line").to_owned();
    assert!(key.starts_with("cak_sandbox_") && !key.contains('\n'), "{key}");
    let program = world.anonymous().with_token(&key);
    program.get("/cards").await.ok();
    program.post("/cards", json!({"currency": "USD"})).await.problem(403, "insufficient_permissions");
    let lifetime = "select extract(epoch from expires_at - created_at)::bigint from api_keys where name = 'Back office'";
    assert!((7_775_990..=7_776_010).contains(&world.database.number(lifetime).await));

    let listed = admin.get("/api-keys").await.ok();
    let (seeded, id) = (&listed["apiKeys"][0], listed["apiKeys"][1]["apiKeyId"].as_str().expect("an id"));
    let lines = printed(&["key", "list", "--account", &account]);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[0], format!("{}\tSandbox gateway\tnetwork\tactive", seeded["apiKeyId"].as_str().expect("an id")));
    assert!(lines[1].starts_with(&format!("{id}\tBack office\tviewer\tactive until 20")), "{lines:?}");

    assert_eq!(printed(&["key", "revoke", "--account", &account, id]), "");
    program.get("/cards").await.problem(401, "unauthenticated");
    assert!(printed(&["key", "list", "--account", &account]).ends_with("\tBack office\tviewer\trevoked\n"));
    let refused = core_api(&["key", "revoke", "--account", &account, "key_01h455vb4pex5vsknk084sn02q"]);
    assert_refused(&refused, "the account has no API key with this id");
    for (option, value) in [("--role", "root"), ("--expires-in", "soon"), ("--name", " ")] {
        let refused = core_api_on(&world.database).args(create).args([option, value]).output().expect("its end");
        assert_eq!(refused.status.code(), Some(2), "{option} {value}");
    }
    let gateway = ["user", "create", "--account", &account, "--email", "gateway@acme.com", "--role", "network"];
    let refused = core_api_on(&world.database).args(gateway).stdin(Stdio::null()).output().expect("its end");
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && message.contains("a user's role is admin, operator or viewer"), "{message}");
    let logged = "select count(*) from audit_events where type in ('api_key_created', 'api_key_revoked') and user_id is null";
    assert_eq!(world.database.number(logged).await, 2 + 2, "2 of the seeded accounts and 2 of this test");
}
