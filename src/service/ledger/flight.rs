//! A flight of postings: decided by where their cards are thought to stand, and written in one statement
//! that leaves out every card that stands elsewhere. What was left out is decided anew, and what cannot be
//! written so takes the locked road.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use sqlx::PgConnection;

use crate::database::{Pool, Pools};

use super::{
    CardKey, Job, Movement, Posted,
    known::Known,
    locked,
    plan::{self, Plan, Step, Wanted},
    short,
    store::{self, Draft, Kept, Stand},
};
use crate::domain::{id::MovementId, posting::Entry};
use crate::service::{
    batch::Flight,
    error::{Error, Result},
    idempotency::Outcome,
    unit,
};

/// How often what was left out is decided anew before it takes the locked road.
const ATTEMPTS: usize = 3;

/// How long a posting may wait for its turn on a card.
const PATIENCE: Duration = Duration::from_secs(3);

/// Cards on the locked road at once, of one flight.
const LOCKED_AT_ONCE: usize = 8;

/// What one attempt left.
#[derive(Default)]
struct Left {
    /// To be decided anew.
    again: Vec<Job>,
    /// Under a key whose answer is there already, or is being made elsewhere.
    repeated: Vec<Job>,
    /// Deciding anew would come to the same.
    stuck: bool,
}

/// Carries a flight: every job gets an answer of its own.
pub(super) async fn carry(pools: &Pools, known: &Known, jobs: Vec<Job>, mut flight: Flight<CardKey, Job>) {
    let mut left = Left { again: jobs, ..Left::default() };
    for _ in 0..ATTEMPTS {
        if left.again.is_empty() || left.stuck {
            break;
        }
        let Left { again, repeated, .. } = left;
        left = attempt(&pools.batches, known, again).await;
        left.repeated.extend(repeated);
    }
    left.again.append(&mut left.repeated);
    if left.again.is_empty() {
        return;
    }
    let cards = by_card(left.again);
    flight.make_way(&cards.iter().map(|(card, _)| *card).collect());
    stream::iter(cards)
        .for_each_concurrent(LOCKED_AT_ONCE, async |(card, jobs)| {
            for job in jobs {
                let answer = if job.since.elapsed() > PATIENCE {
                    Err(Error::Overloaded)
                } else {
                    locked::post(&pools.requests, &job.actor, &job.posting, job.once.as_ref()).await
                };
                job.answer(answer);
            }
            known.forget(&card);
        })
        .await;
}

/// The jobs of each card, in the order they came in.
fn by_card(jobs: Vec<Job>) -> Vec<(CardKey, Vec<Job>)> {
    let mut cards: Vec<(CardKey, Vec<Job>)> = Vec::new();
    for job in jobs {
        let card = job.key();
        match cards.iter_mut().find(|(key, _)| *key == card) {
            Some((_, jobs)) => jobs.push(job),
            None => cards.push((card, vec![job])),
        }
    }
    cards
}

/// Writes what can be written in one statement, and answers it.
async fn attempt(pool: &Pool, known: &Known, jobs: Vec<Job>) -> Left {
    if let Err(error) = get_to_know(pool, known, &jobs).await {
        for job in jobs {
            job.answer(Err(error.shared_copy()));
        }
        return Left::default();
    }
    let plan = plan::plan(&jobs.iter().map(wanted).collect::<Vec<_>>(), |card| known.get(card));
    if plan.steps.is_empty() {
        return Left { again: jobs, stuck: true, ..Left::default() };
    }
    let at = match written_at(pool, &jobs).await {
        Ok(at) => at,
        Err(error) => return give_up(known, jobs, &plan, &error),
    };
    let drafts: Vec<Draft> = plan.entries.iter().filter_map(|(index, entry)| jobs.get(*index).map(|job| draft(job, *entry, at))).collect();
    let (steps, movements) = (plan.steps.clone(), drafts.iter().map(|draft| draft.id).collect::<Vec<_>>());
    let written = unit::autocommit(pool, move |unit| Box::pin(async move { write(unit, &drafts, &steps, at).await })).await;
    match written {
        Ok(stands) => settle(known, jobs, &plan, &movements, stands),
        Err(error) => give_up(known, jobs, &plan, &error),
    }
}

/// Writes drafts in one statement.
async fn write(
    connection: &mut PgConnection,
    drafts: &[Draft],
    steps: &[Step],
    at: Option<DateTime<Utc>>,
) -> std::result::Result<Vec<(CardKey, Stand)>, sqlx::Error> {
    match short::write(connection, drafts, steps).await {
        Some(written) => written,
        None => store::write_all(connection, drafts, steps, at).await,
    }
}

/// Asks where the cards stand that nobody remembers.
async fn get_to_know(pool: &Pool, known: &Known, jobs: &[Job]) -> Result<()> {
    let strangers: HashSet<CardKey> = jobs.iter().map(Job::key).filter(|card| known.get(card).is_none()).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let strangers: Vec<CardKey> = strangers.into_iter().collect();
    let found = unit::read(pool, move |unit| Box::pin(async move { store::positions(unit, &strangers).await })).await?;
    for (card, position) in found {
        known.learn(card, position);
    }
    Ok(())
}

/// The time of what is written, by the database's clock, where an answer is stored: it may show the time, and it is
/// written with the movement. None: the statement takes its own.
///
/// It is read once it is known where the cards stand. A card that is written elsewhere after that is a conflict, so the
/// times of a card's movements are in the order of its history.
async fn written_at(pool: &Pool, jobs: &[Job]) -> Result<Option<DateTime<Utc>>> {
    if jobs.iter().all(|job| job.once.is_none()) {
        return Ok(None);
    }
    unit::read(pool, |unit| Box::pin(store::now(unit))).await.map(Some)
}

fn wanted(job: &Job) -> Wanted {
    Wanted { card: job.key(), kind: job.posting.kind, amount: job.posting.amount }
}

fn draft(job: &Job, entry: Entry, at: Option<DateTime<Utc>>) -> Draft {
    let id = MovementId::new();
    let kept = job.once.as_ref().zip(at).map(|(once, at)| {
        let receipt = (once.render)(Ok(&posted(job, id, entry, at)));
        Kept { key: once.key.as_str().to_owned(), fingerprint: once.fingerprint, body: receipt.body }
    });
    Draft {
        actor: job.actor.clone(),
        card: job.card,
        kind: job.posting.kind,
        description: job.posting.description.clone(),
        id,
        entry,
        kept,
    }
}

fn posted(job: &Job, id: MovementId, entry: Entry, created_at: DateTime<Utc>) -> Posted {
    let movement = Movement {
        id,
        seq: entry.seq,
        kind: job.posting.kind,
        amount: entry.amount,
        balance_after: entry.balance_after,
        description: job.posting.description.as_str().to_owned(),
        created_at,
    };
    Posted { card: job.card, movement }
}

/// Answers the postings of the cards that were moved; learns where the others stand.
fn settle(known: &Known, jobs: Vec<Job>, plan: &Plan, movements: &[MovementId], stands: Vec<(CardKey, Stand)>) -> Left {
    let stands: std::collections::HashMap<CardKey, Stand> = stands.into_iter().collect();
    for step in &plan.steps {
        match stands.get(&step.card) {
            Some(Stand::Moved { .. }) => known.learn(step.card, step.to),
            Some(Stand::Elsewhere { position: Some(position), .. }) => known.learn(step.card, *position),
            Some(Stand::Elsewhere { position: None, .. }) | None => known.forget(&step.card),
        }
    }
    let mut entries = plan.entries.iter().zip(movements).map(|((index, entry), id)| (*index, *entry, *id)).peekable();
    let mut left = Left::default();
    for (index, job) in jobs.into_iter().enumerate() {
        let planned = entries.next_if(|(planned, ..)| *planned == index);
        match (planned, stands.get(&job.key())) {
            (Some((_, entry, id)), Some(Stand::Moved { at })) => {
                let posted = posted(&job, id, entry, *at);
                job.answer(Ok(Outcome::Fresh(posted)));
            }
            (_, Some(Stand::Elsewhere { repeated, .. }))
                if job.once.as_ref().is_some_and(|once| repeated.iter().any(|key| key == once.key.as_str())) =>
            {
                left.repeated.push(job);
            }
            _ => left.again.push(job),
        }
    }
    left
}

/// Tells everybody what is known of a flight that was not confirmed.
fn give_up(known: &Known, jobs: Vec<Job>, plan: &Plan, error: &Error) -> Left {
    for step in &plan.steps {
        known.forget(&step.card);
    }
    let planned: HashSet<usize> = plan.entries.iter().map(|(index, _)| *index).collect();
    let mut left = Left::default();
    for (index, job) in jobs.into_iter().enumerate() {
        match error {
            // The statement was refused as a whole: a key that a twin elsewhere took in the same moment, or one
            // posting that the database does not take. Each is tried by itself, so that none fails for another.
            Error::Internal { .. } => left.again.push(job),
            _ if error.is_retryable() => left.again.push(job),
            _ if planned.contains(&index) => job.answer(Err(error.shared_copy())),
            _ => left.again.push(job),
        }
    }
    left.stuck = true;
    left
}
