//! What the reader of a feed got: the events of the account, in the order of the feed, each once.

use std::{
    error::Error,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use record::{Event, Message};
use sqlx::{AssertSqlSafe, Executor, Row as _, postgres::PgRow};
use uuid::Uuid;

use crate::{
    ledger::{Ledger, nanoseconds, type_id, uuid},
    timeline::CLOCK_TOLERANCE,
    verdict::{Rule, Verdict},
};

/// How many events are read at a time.
const PAGE: usize = 10_000;

/// An event of the feed.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub event: Event,
    /// The place in the feed. A block without one is after all others.
    pub position: Option<i64>,
    pub ordinal: i32,
    /// Nanoseconds since 1970.
    pub at: u64,
}

/// Every event belongs to a block.
pub async fn check_blocks(ledger: &mut Ledger, verdict: &mut Verdict) -> Result<(), Box<dyn Error>> {
    let sql = "select count(*) from events where not exists (
        select from event_blocks where event_blocks.account_id = events.account_id and event_blocks.number = events.block)";
    let lost: i64 = ledger.0.fetch_one(sql).await?.try_get(0)?;
    if lost > 0 {
        verdict.found(Rule::Feed, format!("{lost} events belong to no block"));
    }
    Ok(())
}

/// Compares what a reader got with the feed of its account.
pub async fn check(ledger: &mut Ledger, file: &Path, settled: u64, verdict: &mut Verdict) -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(File::open(file)?).lines().map(|line| Ok::<Event, Box<dyn Error>>(serde_json::from_str(&line?)?));
    let mut next = lines.next().transpose()?;
    let Some(account) = account_of(ledger, next.as_ref().map(|event| event.id.as_str())).await? else {
        verdict.found(Rule::Feed, format!("{} begins with {next:?}, which is not in a feed", file.display()));
        return Ok(());
    };
    let mut reader = Comparison::default();
    let mut after = (0, 0);
    loop {
        let rows = page(ledger, account, after).await?;
        for row in &rows {
            after = (row.position.unwrap_or(i64::MAX), row.ordinal);
            if reader.takes(row, next.as_ref(), settled, verdict) {
                next = lines.next().transpose()?;
            }
        }
        if rows.len() < PAGE {
            break;
        }
    }
    for row in unplaced(ledger, account).await? {
        reader.takes(&row, None, settled, verdict);
    }
    while let Some(event) = next {
        verdict.found(Rule::Feed, format!("a reader got {event:?} beyond the feed, or again"));
        next = lines.next().transpose()?;
    }
    verdict.read_events += reader.count;
    Ok(())
}

/// A reader's place in the feed.
#[derive(Debug, Default)]
pub struct Comparison {
    pub count: usize,
    /// Whether it differed. Then the rest would, too.
    has_failed: bool,
}

impl Comparison {
    /// Whether the reader got the event of this row next. It need not have got the last ones, if they came too late.
    pub fn takes(&mut self, row: &Row, next: Option<&Event>, settled: u64, verdict: &mut Verdict) -> bool {
        let is_late = row.at.saturating_add(CLOCK_TOLERANCE) >= settled;
        match next {
            Some(event) if *event == row.event => {
                self.count += 1;
                return true;
            }
            None if is_late => {}
            _ if self.has_failed => {}
            _ => {
                self.has_failed = true;
                verdict.found(Rule::Feed, format!("a reader got {next:?}, the feed has {row:?} there"));
            }
        }
        false
    }
}

/// All events of the account that the messages are of.
pub async fn rows_of_messages(ledger: &mut Ledger, file: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let first = BufReader::new(File::open(file)?).lines().next().transpose()?;
    let first: Option<Message> = first.map(|line| serde_json::from_str(&line)).transpose()?;
    let Some(account) = account_of(ledger, first.as_ref().map(|message| message.event.id.as_str())).await? else {
        return Ok(Vec::new());
    };
    let mut all: Vec<Row> = Vec::new();
    loop {
        let after = all.last().map_or((0, 0), |row| (row.position.unwrap_or(i64::MAX), row.ordinal));
        let rows = page(ledger, account, after).await?;
        let is_last = rows.len() < PAGE;
        all.extend(rows);
        if is_last {
            all.extend(unplaced(ledger, account).await?);
            return Ok(all);
        }
    }
}

/// The account that an event is of.
async fn account_of(ledger: &mut Ledger, id: Option<&str>) -> Result<Option<Uuid>, Box<dyn Error>> {
    let Some(id) = id else { return Ok(None) };
    // It is among the first of its account, and few accounts have a feed.
    for row in ledger.0.fetch_all("select account_id::text from event_feeds").await? {
        let account = uuid(&row, 0)?;
        if page(ledger, account, (0, 0)).await?.iter().any(|row| row.event.id == id) {
            return Ok(Some(account));
        }
    }
    Ok(None)
}

async fn page(ledger: &mut Ledger, account: Uuid, (position, ordinal): (i64, i32)) -> Result<Vec<Row>, Box<dyn Error>> {
    let condition = format!(
        "blocks.position is not null and (blocks.position, events.ordinal) > ({position}, {ordinal})
        and blocks.position >= {position}"
    );
    select(ledger, account, &condition).await
}

/// What has no place in the feed yet.
async fn unplaced(ledger: &mut Ledger, account: Uuid) -> Result<Vec<Row>, Box<dyn Error>> {
    select(ledger, account, "blocks.position is null").await
}

async fn select(ledger: &mut Ledger, account: Uuid, condition: &str) -> Result<Vec<Row>, Box<dyn Error>> {
    let sql = format!(
        "select events.id::text, events.type, events.card_id::text, events.sequence, blocks.position, events.ordinal,
            (extract(epoch from events.created_at) * 1000000)::bigint
        from event_blocks blocks
        join events on events.account_id = blocks.account_id and events.block = blocks.number
        where blocks.account_id = '{account}'::uuid and {condition}
        order by blocks.position, events.ordinal
        limit {PAGE}"
    );
    ledger.0.fetch_all(AssertSqlSafe(sql)).await?.iter().map(row).collect()
}

fn row(row: &PgRow) -> Result<Row, Box<dyn Error>> {
    let card = row.try_get::<Option<&str>, _>(2)?.map(Uuid::parse_str).transpose()?;
    Ok(Row {
        event: Event {
            id: type_id("msg", uuid(row, 0)?),
            kind: row.try_get(1)?,
            card: card.map(|id| type_id("card", id)),
            sequence: row.try_get(3)?,
        },
        position: row.try_get(4)?,
        ordinal: row.try_get(5)?,
        at: nanoseconds(row.try_get(6)?),
    })
}
