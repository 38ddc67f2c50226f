//! What the role that serves may do. The role that migrates owns the schema, and grants the other one what its statements
//! need: rows of tables. So a server that is taken over can neither change the ledger's movements nor drop the triggers
//! that guard them.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// What may be done with the rows of each table. Rows are locked by the right to update them.
const GRANTS: [(&str, &[&str]); 30] = [
    ("_sqlx_migrations", &["SELECT"]),
    ("accounts", &["SELECT", "INSERT", "UPDATE"]),
    ("api_keys", &["SELECT", "INSERT", "UPDATE"]),
    ("audit_events", &["SELECT", "INSERT"]),
    ("authorization_entries", &["SELECT", "INSERT"]),
    ("authorizations", &["SELECT", "INSERT", "UPDATE"]),
    ("card_controls", &["SELECT", "INSERT", "UPDATE"]),
    ("card_status_changes", &["SELECT", "INSERT"]),
    ("cards", &["SELECT", "INSERT", "UPDATE"]),
    ("customers", &["SELECT", "INSERT", "UPDATE"]),
    ("customer_words", &["SELECT", "INSERT", "DELETE"]),
    ("deployment", &["SELECT", "INSERT"]),
    ("event_blocks", ALL_OF_ROWS),
    ("event_feeds", &["SELECT", "INSERT", "UPDATE"]),
    ("events", &["SELECT", "INSERT", "DELETE"]),
    ("failed_logins", ALL_OF_ROWS),
    ("idempotency_keys", ALL_OF_ROWS),
    ("limit_usage", ALL_OF_ROWS),
    ("limits", ALL_OF_ROWS),
    ("login_sources", ALL_OF_ROWS),
    ("movements", &["SELECT", "INSERT"]),
    ("quota_usage", &["SELECT", "INSERT", "UPDATE"]),
    ("refresh_tokens", ALL_OF_ROWS),
    ("refresh_usage", &["SELECT", "INSERT", "UPDATE"]),
    ("sessions", ALL_OF_ROWS),
    ("webhook_attempts", ALL_OF_ROWS),
    ("webhook_deliveries", ALL_OF_ROWS),
    ("webhook_endpoints", ALL_OF_ROWS),
    ("user_emails", &["SELECT", "INSERT"]),
    ("users", &["SELECT", "INSERT", "UPDATE"]),
];

/// What may be done with a table that is not listed.
const ALL_OF_ROWS: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE"];

fn rights(table: &str) -> &'static [&'static str] {
    GRANTS.iter().find(|(name, _)| *name == table).map_or(ALL_OF_ROWS, |(_, rights)| rights)
}

/// Whether a role may do what it should with each table that this role owns.
pub(super) async fn are_in_force(connection: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    let tables = granted(connection, role).await?;
    Ok(tables.iter().all(|(table, granted)| granted.iter().map(String::as_str).eq(rights(table).iter().copied().collect::<BTreeSet<_>>())))
}

/// The tables of the schema that this role owns, each with what another role may do.
async fn granted(connection: &mut PgConnection, role: &str) -> Result<Vec<(String, BTreeSet<String>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select
            tables.relname::text as "table!",
            coalesce(array_agg(granted.privilege_type) filter (where granted.grantee is not null), '{}') as "rights!"
        from pg_class tables
        left join lateral aclexplode(tables.relacl) granted
            on granted.grantee = (select oid from pg_roles where rolname = $1::text)
        where tables.relkind in ('r', 'p')
            and tables.relnamespace = current_schema()::regnamespace
            and tables.relowner = current_user::regrole
        group by tables.relname
        "#,
        role,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.table, row.rights.into_iter().collect())).collect())
}

/// Grants a role what it should have, and takes everything else from it. Tables of later migrations begin with the rights of
/// a table that is not listed.
pub(super) async fn put_in_force(connection: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    let schema = sqlx::query_scalar!(r#"select current_schema()::text as "name!""#).fetch_one(&mut *connection).await?;
    let tables = granted(connection, role).await?;
    let (role, schema) = (quoted(role), quoted(&schema));
    let every = ALL_OF_ROWS.join(", ");
    let mut commands = vec![
        // Before version 15 of Postgres everybody may create tables in the schema public.
        format!("revoke create on schema {schema} from public"),
        format!("revoke all on schema {schema} from {role}"),
        format!("grant usage on schema {schema} to {role}"),
        format!("alter default privileges in schema {schema} grant {every} on tables to {role}"),
        format!("grant execute on function {schema}.delete_old_audit_events(interval, bigint) to {role}"),
    ];
    for (table, _) in &tables {
        let (rights, table) = (rights(table).join(", "), quoted(table));
        commands.push(format!("revoke all on table {schema}.{table} from {role}"));
        commands.push(format!("grant {rights} on table {schema}.{table} to {role}"));
    }
    let mut transaction = connection.begin().await?;
    for command in commands {
        transaction.execute(AssertSqlSafe(command)).await?;
    }
    transaction.commit().await
}

/// An identifier, in quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_quotes() {
        assert_eq!(quoted(r#"a"; drop table cards; --"#), r#""a""; drop table cards; --""#);
    }

    #[test]
    fn nothing_may_change_a_movement_or_an_audit_event() {
        for table in ["movements", "audit_events"] {
            assert_eq!(rights(table), ["SELECT", "INSERT"]);
        }
    }
}
