//! The comparison: Postgres doing the same work on single rows, driven by pgbench.

use std::{fs, path::PathBuf, time::Duration};

use bench::{Failure, postgres::Postgres};
use tokio::process::Command;

use crate::sample::Sample;

/// A separate database, so that both share only the disk and the cores.
const DATABASE: &str = "comparison";

/// Tables of the same shape as those of the service, without their constraints.
const TABLES: &str = "
    create table bench_cards (account_id uuid, id uuid, balance bigint not null, seq bigint not null,
        primary key (account_id, id)) with (fillfactor = 80);
    create table bench_movements (account_id uuid, card_id uuid, seq bigint, id uuid not null, amount bigint not null,
        balance_after bigint not null, created_at timestamptz not null, primary key (account_id, card_id, seq));
    insert into bench_cards
        select '01a20446-86b3-74d8-81b9-818324052b45', lpad(to_hex(n), 32, '0')::uuid, 0, 0 from generate_series(1, 5000) n";

/// The account that all rows belong to.
const ACCOUNT: &str = "'01a20446-86b3-74d8-81b9-818324052b45'";

/// Selects a card by its number. All rows belong to one account.
const CARD: &str = "account_id = '01a20446-86b3-74d8-81b9-818324052b45' and id = lpad(to_hex(cast(:n as integer)), 32, '0')::uuid";

/// A workload of pgbench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// A top-up of one of 5,000 cards.
    Spread,
    /// A top-up of the same card every time.
    Hot,
    /// A read of one of 5,000 cards.
    Read,
    /// A transfer between two of 5,000 cards.
    Transfer,
}

/// The comparison, ready to run.
#[derive(Debug)]
pub struct Pgbench {
    folder: PathBuf,
}

impl Pgbench {
    /// Creates the tables and the scripts.
    pub fn prepare(postgres: &Postgres, folder: PathBuf) -> Result<Self, Failure> {
        postgres.query("postgres", &format!("create database {DATABASE}"))?;
        postgres.query(DATABASE, TABLES)?;
        postgres.query(DATABASE, "vacuum analyze")?;
        for script in [Script::Spread, Script::Hot, Script::Read, Script::Transfer] {
            fs::write(folder.join(script.file()), script.text())?;
        }
        Ok(Self { folder })
    }

    /// Runs a script with this many clients.
    pub async fn run(&self, postgres: &Postgres, script: Script, clients: u32, time: Duration) -> Result<Sample, Failure> {
        let written = Self::written(postgres)?;
        let mut command = postgres.client("pgbench");
        command.args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string(), "-T", &time.as_secs().to_string()]);
        command.arg("-f").arg(self.folder.join(script.file())).arg(DATABASE);
        let ran = Command::from(command).kill_on_drop(true).output().await.map_err(|error| format!("pgbench: {error}"))?;
        let (output, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        let (Some(done), true) = (processed(&output), ran.status.success()) else {
            return Err(format!("pgbench ended with {}: {output}{errors}", ran.status).into());
        };
        if done == 0 {
            return Err(format!("{clients} pgbench clients took longer than {} s to connect", time.as_secs()).into());
        }
        // Statements that match no row would be fast and meaningless.
        let rows = Self::written(postgres)? - written;
        let expected = match script {
            Script::Read => 0,
            Script::Spread | Script::Hot => done,
            Script::Transfer => 2 * done,
        };
        if rows != expected {
            return Err(format!("pgbench ran {done} transactions of {script:?}, but {rows} rows were written").into());
        }
        let rate = rate(&output).ok_or_else(|| format!("pgbench reported no rate: {output}"))?;
        Ok(Sample { rate, p50: None, p99: None })
    }

    /// The number of top-ups on all cards.
    fn written(postgres: &Postgres) -> Result<u64, Failure> {
        Ok(postgres.query(DATABASE, "select sum(seq) from bench_cards")?.parse()?)
    }
}

impl Script {
    const fn file(self) -> &'static str {
        match self {
            Self::Spread => "spread.sql",
            Self::Hot => "hot.sql",
            Self::Read => "read.sql",
            Self::Transfer => "transfer.sql",
        }
    }

    /// The script: one statement, which is one transaction.
    fn text(self) -> String {
        let card = match self {
            Self::Hot => "\\set n 1",
            // Two cards, of which the first has the lower number: no two transactions wait for one another in a circle.
            Self::Transfer => "\\set n random(1, 4999)\n\\set m :n + 1",
            Self::Spread | Self::Read => "\\set n random(1, 5000)",
        };
        let statement = match self {
            Self::Read => format!("select account_id, id, balance, seq from bench_cards where {CARD};"),
            // The rows are locked in one order, and then both change.
            Self::Transfer => format!(
                "with pair as materialized (select account_id, id, case when id = {first} then -1 else 1 end as change from bench_cards \
                 where account_id = {ACCOUNT} and id in ({first}, {second}) order by id for no key update), \
                 moved as (update bench_cards set balance = balance + change, seq = seq + 1 from pair \
                 where bench_cards.account_id = pair.account_id and bench_cards.id = pair.id \
                 returning bench_cards.account_id, bench_cards.id, seq, change, balance) \
                 insert into bench_movements (account_id, card_id, seq, id, amount, balance_after, created_at) \
                 select account_id, id, seq, gen_random_uuid(), change, balance, now() from moved;",
                first = "lpad(to_hex(cast(:n as integer)), 32, '0')::uuid",
                second = "lpad(to_hex(cast(:m as integer)), 32, '0')::uuid",
            ),
            Self::Spread | Self::Hot => format!(
                "with moved as (update bench_cards set balance = balance + 1, seq = seq + 1 where {CARD} \
                 returning account_id, id, seq, balance) \
                 insert into bench_movements (account_id, card_id, seq, id, amount, balance_after, created_at) \
                 select account_id, id, seq, gen_random_uuid(), 1, balance, now() from moved;"
            ),
        };
        format!("{card}\n{statement}\n")
    }
}

/// Transactions per hundred seconds, without the time to connect.
fn rate(output: &str) -> Option<u64> {
    let rate = output.lines().find_map(|line| line.strip_prefix("tps = "))?;
    let (whole, part) = rate.split_whitespace().next()?.split_once('.')?;
    format!("{whole}{}", part.get(..2)?).parse().ok()
}

/// The total number of transactions.
fn processed(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_parsed_from_the_output_of_pgbench() {
        let output = "number of transactions actually processed: 26152\nnumber of failed transactions: 0 (0.000%)\nlatency average = 1.5 ms\ntps = 5230.418 (without initial connection time)\n";
        assert_eq!((rate(output), processed(output)), (Some(523_041), Some(26_152)));
        assert_eq!(rate("pgbench: error"), None);
    }
}
