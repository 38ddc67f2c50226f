//! The comparison: Postgres doing the same work on single rows, as fast as pgbench can ask for it.

use std::{fs, path::PathBuf, time::Duration};

use tokio::process::Command;

use crate::{Failure, postgres::Postgres, sample::Sample};

/// A database of its own, so that neither is in the other's way but for the disk and the cores.
const DATABASE: &str = "comparison";

/// The same shape as the service's tables, without their constraints.
const TABLES: &str = "
    create table bench_cards (account_id uuid, id uuid, balance bigint not null, seq bigint not null,
        primary key (account_id, id)) with (fillfactor = 80);
    create table bench_movements (account_id uuid, card_id uuid, seq bigint, id uuid not null, amount bigint not null,
        balance_after bigint not null, created_at timestamptz not null, primary key (account_id, card_id, seq));
    insert into bench_cards
        select '01a20446-86b3-74d8-81b9-818324052b45', lpad(to_hex(n), 32, '0')::uuid, 0, 0 from generate_series(1, 5000) n";

/// The account of all the rows, and the card by its number.
const CARD: &str = "account_id = '01a20446-86b3-74d8-81b9-818324052b45' and id = lpad(to_hex(cast(:n as integer)), 32, '0')::uuid";

/// What pgbench does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// A top-up of one of 5,000 cards.
    Spread,
    /// A top-up of always the same card.
    Hot,
    /// One of 5,000 cards, read.
    Read,
}

/// The comparison, ready to run.
#[derive(Debug)]
pub struct Pgbench {
    folder: PathBuf,
}

impl Pgbench {
    /// Makes the tables and the scripts.
    pub fn prepare(postgres: &Postgres, folder: PathBuf) -> Result<Self, Failure> {
        postgres.ask("postgres", &format!("create database {DATABASE}"))?;
        postgres.ask(DATABASE, TABLES)?;
        postgres.ask(DATABASE, "vacuum analyze")?;
        for script in [Script::Spread, Script::Hot, Script::Read] {
            fs::write(folder.join(script.file()), script.text())?;
        }
        Ok(Self { folder })
    }

    /// Runs a script with so many clients.
    pub async fn run(&self, postgres: &Postgres, script: Script, clients: u32, time: Duration) -> Result<Sample, Failure> {
        let written = Self::written(postgres)?;
        let mut command = postgres.client("pgbench");
        command.args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string(), "-T", &time.as_secs().to_string()]);
        command.arg("-f").arg(self.folder.join(script.file())).arg(DATABASE);
        let ran = Command::from(command).kill_on_drop(true).output().await?;
        let (told, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        let (Some(done), true) = (processed(&told), ran.status.success()) else {
            return Err(format!("pgbench ended with {}: {told}{errors}", ran.status).into());
        };
        if done == 0 {
            return Err(format!("{clients} clients of pgbench took longer to connect than the {} s of a run", time.as_secs()).into());
        }
        // Statements that find no row would be fast, and prove nothing.
        let wrote = Self::written(postgres)? - written;
        if wrote != if script == Script::Read { 0 } else { done } {
            return Err(format!("pgbench ran {done} transactions of {script:?}, and {wrote} rows were written").into());
        }
        let rate = rate(&told).ok_or_else(|| format!("pgbench says no rate: {told}"))?;
        Ok(Sample { rate, p50: None, p99: None })
    }

    /// How many top-ups the cards have had.
    fn written(postgres: &Postgres) -> Result<u64, Failure> {
        Ok(postgres.ask(DATABASE, "select sum(seq) from bench_cards")?.parse()?)
    }
}

impl Script {
    const fn file(self) -> &'static str {
        match self {
            Self::Spread => "spread.sql",
            Self::Hot => "hot.sql",
            Self::Read => "read.sql",
        }
    }

    /// One statement, which is one transaction.
    fn text(self) -> String {
        let which = if self == Self::Hot { "\\set n 1" } else { "\\set n random(1, 5000)" };
        let statement = match self {
            Self::Read => format!("select account_id, id, balance, seq from bench_cards where {CARD};"),
            Self::Spread | Self::Hot => format!(
                "with moved as (update bench_cards set balance = balance + 1, seq = seq + 1 where {CARD} \
                 returning account_id, id, seq, balance) \
                 insert into bench_movements (account_id, card_id, seq, id, amount, balance_after, created_at) \
                 select account_id, id, seq, gen_random_uuid(), 1, balance, now() from moved;"
            ),
        };
        format!("{which}\n{statement}\n")
    }
}

/// Transactions in a hundred seconds, without the time to connect.
fn rate(told: &str) -> Option<u64> {
    let rate = told.lines().find_map(|line| line.strip_prefix("tps = "))?;
    let (whole, part) = rate.split_whitespace().next()?.split_once('.')?;
    format!("{whole}{}", part.get(..2)?).parse().ok()
}

/// Transactions in all.
fn processed(told: &str) -> Option<u64> {
    told.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_parsed_from_the_output_of_pgbench() {
        let told = "number of transactions actually processed: 26152\nnumber of failed transactions: 0 (0.000%)\nlatency average = 1.5 ms\ntps = 5230.418 (without initial connection time)\n";
        assert_eq!((rate(told), processed(told)), (Some(523_041), Some(26_152)));
        assert_eq!(rate("pgbench: error"), None);
    }
}
