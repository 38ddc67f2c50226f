//! `core-api distribute`, and the setting that has to be what the database is. What a distributed database does is shown by all
//! other tests, if they run on one.

use crate::support::{
    Database, World,
    binary::{Process, assert_refused, core_api_on, run},
};

/// What the ledger's guards are, and how many triggers there are.
const GUARDS: &str = "
    select count(*) * 1000 + count(*) filter (where tgconstraint <> 0) from pg_trigger where not tgisinternal or tgconstraint <> 0";

#[tokio::test]
async fn a_postgres_without_citus_is_not_distributed_and_stays_as_it_is() {
    let database = Database::new().await;
    if database.is_sharded {
        return;
    }
    let before = database.number(GUARDS).await;
    let output = run(core_api_on(&database).arg("distribute").env("DATABASE_URL", database.owner_url()));
    for reason in ["no Citus", "create extension citus", "citus_add_node"] {
        assert_refused(&output, reason);
    }
    assert_eq!(database.number(GUARDS).await, before);
    World::on(database, |_| {}).await.admin().await.given_card().await;
}

#[tokio::test]
async fn a_replica_serves_only_if_the_database_is_what_the_setting_says() {
    let database = Database::new().await;
    let (is, is_not) = (database.is_sharded, !database.is_sharded);
    let words =
        if is { ["is distributed by account", "CORE_API__DATABASE__SHARDED=true"] } else { ["not distributed", "core-api distribute"] };
    for command in ["serve", "migrate"] {
        let output = run(core_api_on(&database).arg(command).env("CORE_API__DATABASE__SHARDED", is_not.to_string()));
        for reason in words {
            assert_refused(&output, reason);
        }
    }
    let served = Process::start(&mut core_api_on(&database));
    drop(served);
    let settings = run(core_api_on(&database).arg("config"));
    let settings = String::from_utf8(settings.stdout).expect("text");
    assert!(settings.lines().any(|line| line.starts_with(&format!("database.sharded = \"{is}\""))), "{settings}");
}
