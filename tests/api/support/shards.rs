//! A database whose tables are split by account, and what a statement touches in it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Connection, Error, Executor, PgConnection, Row, postgres::PgRow};

use super::Database;

/// Each table again in a schema of its own, with the same defaults, identity columns, unique constraints and indexes.
/// A table with `account_id` has four leaves by its hash. A unique constraint without `account_id` cannot stand on
/// such a table and is left out. So are the checks, the triggers and the foreign keys: the sample rows would break
/// them. `user_emails` is whole: logins look there for the accounts of an email.
const LAYOUT: &str = "
do $layout$
declare
    whole record;
    other record;
begin
    create schema shards;
    for whole in
        select class.oid as id, relname as name, account.attnum as account
        from pg_class class
        left join pg_attribute account
            on account.attrelid = class.oid and account.attname = 'account_id' and class.relname <> 'user_emails'
        where relnamespace = 'public'::regnamespace and relkind = 'r' and relname not like '\\_%'
    loop
        execute format('create table shards.%1$I (like public.%1$I including defaults including identity)', whole.name)
            || case when whole.account is null then '' else ' partition by hash (account_id)' end;
        if whole.account is not null then
            for leaf in 0..3 loop
                execute format(
                    'create table shards.%I partition of shards.%I for values with (modulus 4, remainder %s)',
                    whole.name || '_' || leaf, whole.name, leaf
                );
            end loop;
        end if;
        for other in
            select format('alter table shards.%I add constraint %I ', whole.name, conname) || pg_get_constraintdef(oid) as command
            from pg_constraint
            where conrelid = whole.id and contype in ('p', 'u') and (whole.account is null or whole.account = any(conkey))
            union all
            select replace(pg_get_indexdef(indexrelid), ' ON public.', ' ON shards.')
            from pg_index
            where indrelid = whole.id and not indisunique
        loop
            execute other.command;
        end loop;
    end loop;
end
$layout$";

/// The unique constraints that [`LAYOUT`] left out.
const LEFT_OUT: &str = "
    select conname::text
    from pg_constraint
    where connamespace = 'public'::regnamespace and contype in ('p', 'u') and conrelid::regclass::text not like '\\_%'
    except
    select conname from pg_constraint where connamespace = 'shards'::regnamespace";

/// The tables that are whole go, so that no statement finds them.
const DROP_WHOLE: &str = "
do $drop$
begin
    execute (select 'drop table ' || string_agg(oid::regclass::text, ', ') || ' cascade'
        from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and relname not like '\\_%');
    -- A function that a statement calls finds the tables of the session.
    alter function delete_old_audit_events reset search_path;
end
$drop$";

/// What the transaction has a lock on. A table that is split is there with no leaf, too.
const LOCKED: &str = "
    select coalesce(parent.relname, held.relname)::text, case when held.relispartition then right(held.relname, 1)::text end,
        held.relispartition or held.relkind = 'p'
    from pg_locks
    join pg_class held on held.oid = pg_locks.relation
    left join pg_inherits on inhrelid = held.oid
    left join pg_class parent on parent.oid = inhparent
    where pid = pg_backend_pid() and held.relkind in ('r', 'p') and held.relnamespace = 'shards'::regnamespace";

/// Where the tables are, and that the statements of a function are planned for their values, too.
const SETTINGS: &str = "set local search_path = shards, public; set local plan_cache_mode = force_custom_plan";

/// The columns that need a value, and those that statements compare.
const COLUMNS: &str = "
    select relname::text, attname::text, typname::text
    from pg_class
    join pg_attribute on attrelid = pg_class.oid
    join pg_type on pg_type.oid = atttypid
    where relnamespace = 'shards'::regnamespace and relkind in ('r', 'p') and not relispartition
        and attnum > 0 and (attnotnull or attname in ('customer_id', 'holds_due_at', 'lease_token')) and attidentity = ''
    order by relname, attnum";

/// The account that every statement is asked for.
pub const ACCOUNT: &str = "00000000-0000-4000-8000-000000000001";

/// Every other id. It lies in another leaf, so that an id in the place of the account is noticed.
pub const OTHER: &str = "00000000-0000-4000-8000-000000000003";

/// `ACCOUNT` and `OTHER` are among so many first accounts.
const SAMPLES: u32 = 3;

/// How many accounts have rows.
const ACCOUNTS: u32 = 24;

/// What a statement touched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The leaves of each table that is split.
    pub leaves: BTreeMap<String, BTreeSet<String>>,
    /// Tables that are no account's.
    pub undivided: BTreeSet<String>,
}

impl Touched {
    /// Whether everything lies in the leaves with the same remainder: on one shard.
    pub fn is_on_one_shard(&self) -> bool {
        self.leaves.values().flatten().collect::<BTreeSet<_>>().len() <= 1
    }
}

/// A statement, with the types of its parameters as Postgres names them: `uuid`, `int8[]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    pub sql: String,
    pub types: Vec<String>,
}

impl Statement {
    /// Whether it takes lists of ids: of accounts, then.
    pub fn takes_lists(&self) -> bool {
        self.types.iter().any(|name| name == "uuid[]")
    }

    /// The statement with sample values for its parameters. The first id is the account's.
    fn filled(&self) -> String {
        let mut sql = self.sql.clone();
        for (place, name) in self.types.iter().enumerate().rev() {
            let id = if place == 0 || self.takes_lists() { ACCOUNT } else { OTHER };
            let element = name.trim_end_matches("[]");
            let value = if element == name { sample(name, id) } else { format!("array[{}]", sample(element, id)) };
            sql = sql.replace(&format!("${}", place + 1), &format!("({value}::{name})"));
        }
        sql
    }

    fn insert_targets(&self) -> Vec<&str> {
        self.sql.split("insert into ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect()
    }
}

/// One value for each type, in rows and in parameters alike, so that a statement finds rows.
fn sample(kind: &str, id: &str) -> String {
    match kind {
        "uuid" => format!("'{id}'"),
        "text" | "name" => "'x'".to_owned(),
        "int2" | "int4" | "int8" => "1".to_owned(),
        "bool" => "true".to_owned(),
        "_text" => "array['x']".to_owned(),
        "bytea" => "'\\x78'".to_owned(),
        "jsonb" => "'{}'".to_owned(),
        "timestamptz" => "'2100-01-01 00:00:00Z'".to_owned(),
        "interval" => "'1 hour'".to_owned(),
        other => panic!("there is no sample of {other} yet"),
    }
}

/// A database that is split by account, with rows of several accounts in every table.
#[derive(Debug)]
pub struct Shards {
    connection: PgConnection,
    /// The columns that need a value, by table.
    columns: BTreeMap<String, Vec<(String, String)>>,
    /// Unique constraints that cannot stand when the tables are split.
    pub left_out: BTreeSet<String>,
}

impl Shards {
    pub async fn new() -> Self {
        let mut connection = Database::new().await.connect().await;
        connection.execute(LAYOUT).await.expect("the tables are split");
        let left_out = connection.fetch_all(LEFT_OUT).await.expect("constraints").iter().map(|row| row.get(0)).collect();
        connection.execute(DROP_WHOLE).await.expect("the whole tables go");
        let mut columns: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for row in connection.fetch_all(COLUMNS).await.expect("columns") {
            columns.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
        }
        let mut shards = Self { connection, columns, left_out };
        shards.fill(false, &[]).await;
        shards.connection.execute("analyze").await.expect("analyzed");
        shards.check_samples().await;
        shards
    }

    /// Fills every table anew. Those that are inserted to are left without the samples' rows, and without any if they
    /// are no account's. The other ids in an account's
    /// rows are the account's own, or `OTHER`.
    async fn fill(&mut self, own_ids: bool, without: &[&str]) {
        let refills = self.columns.iter().map(|(table, columns)| refill(table, columns, own_ids, without.contains(&table.as_str())));
        let sql: String = refills.collect();
        self.connection.execute(AssertSqlSafe(sql)).await.expect("rows");
    }

    async fn check_samples(&mut self) {
        let leaf = "select count(distinct tableoid), count(distinct tableoid) filter (where account_id in ($1::uuid, $2::uuid)) from shards.accounts"
            .replace("$1", &format!("'{ACCOUNT}'"))
            .replace("$2", &format!("'{OTHER}'"));
        let row = self.connection.fetch_one(AssertSqlSafe(leaf)).await.expect("counts");
        assert_eq!(row.get::<i64, _>(0), 4, "every leaf has an account");
        assert_eq!(row.get::<i64, _>(1), 2, "ACCOUNT and OTHER are in one leaf: choose another");
    }

    /// What a statement touches for one account. `None`: Postgres cannot plan it, since it names a constraint that
    /// cannot stand.
    pub async fn touched(&mut self, statement: &Statement) -> Option<Touched> {
        self.fill(statement.takes_lists(), &statement.insert_targets()).await;
        let mut transaction = self.connection.begin().await.expect("begun");
        transaction.execute(SETTINGS).await.expect("set");
        let sql = statement.filled();
        match transaction.execute(AssertSqlSafe(sql.clone())).await {
            Ok(_) => {}
            Err(Error::Database(error)) if error.code().as_deref() == Some("42704") => return None,
            Err(error) => panic!("{error}: {sql}"),
        }
        let rows = transaction.fetch_all(LOCKED).await.expect("locks");
        for table in statement.insert_targets() {
            let inserted = format!("select exists (select from {table} where xmin = pg_current_xact_id()::xid)");
            let inserted: bool = transaction.fetch_one(AssertSqlSafe(inserted)).await.expect("a row").get(0);
            assert!(inserted, "with the sample rows it inserts nothing into {table}: {sql}");
        }
        transaction.rollback().await.expect("rolled back");
        Some(read(&rows))
    }
}

fn read(locks: &[PgRow]) -> Touched {
    let mut touched = Touched::default();
    for lock in locks {
        let table = lock.get(0);
        if lock.get(2) {
            touched.leaves.entry(table).or_default().extend(lock.get::<Option<String>, _>(1));
        } else {
            touched.undivided.insert(table);
        }
    }
    for (table, leaves) in &touched.leaves {
        assert!(!leaves.is_empty(), "with the sample values it comes to no leaf of {table}");
    }
    touched
}

/// The commands that delete a table's rows and put the sample rows there.
fn refill(table: &str, columns: &[(String, String)], own_ids: bool, is_target: bool) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<String> = columns.iter().map(|(name, kind)| value(name, kind, own_ids)).collect();
    let from = match (is_target, names.contains(&"account_id")) {
        (false, _) => 1,
        (true, true) => SAMPLES + 1,
        (true, false) => ACCOUNTS + 1,
    };
    format!(
        "delete from shards.{table};
        insert into shards.{table} ({})
        select {}
        from generate_series({from}, {ACCOUNTS}) number
        cross join lateral (select format('00000000-0000-4000-8000-%s', lpad(number::text, 12, '0'))::uuid) own (id)
        on conflict do nothing;",
        names.join(", "),
        values.join(", "),
    )
}

/// What a column of the sample rows holds.
fn value(name: &str, kind: &str, own_ids: bool) -> String {
    match name {
        "account_id" => "own.id".to_owned(),
        // A list of roles is of those that do not count.
        "role" => "'counted'".to_owned(),
        _ if kind == "uuid" && own_ids => "own.id".to_owned(),
        _ => format!("{}::{kind}", sample(kind, OTHER)),
    }
}
