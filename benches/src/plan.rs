//! The lines of the table, what each is compared with, and the order in which a turn runs them.

use crate::{Line, hashes, pgbench::Script};

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Top-ups over all cards.
    Spread,
    /// The same with keys.
    Keys,
    /// Purchases with keys, over all cards.
    Purchases,
    /// Authorisations with keys, over all cards.
    Authorize,
    /// Authorisations with keys, of one card.
    AuthorizeHot,
    /// Authorisations with keys, over all cards, each with its capture.
    AuthorizeAndCapture,
    /// The same with one card.
    AuthorizeAndCaptureHot,
    /// Authorisations with keys, over as many cards that each have a limit.
    AuthorizeLimited,
    /// Authorisations with keys, over 20 cards of a customer that has a limit.
    AuthorizeShared,
    /// Transfers with keys, between neighbours of all cards.
    Transfers,
    /// Top-ups over all cards of an account with a feed.
    Fed,
    /// Top-ups of one card.
    Hot,
    /// Top-ups of a few other cards.
    Others,
    /// The same while many other clients top up all cards.
    OthersBesideSpread,
    /// The same while as many clients top up one card.
    OthersBesideHot,
    /// Reads of cards.
    Read,
    /// The newest movements of a card.
    FirstPage,
    /// The oldest movements of a card.
    LastPage,
    /// Logins.
    Login,
    /// Postgres without the service.
    Pgbench(Script),
    /// argon2id without the service.
    Argon2,
}

/// A workload and its number of clients.
pub type Run = (Work, u32);

/// What a line is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// Nothing.
    Nothing,
    /// The rate of this run.
    Run(Run),
    /// The best rate of pgbench's top-ups over several numbers of clients.
    BestPgbench,
    /// The p99 of this run, instead of its rate.
    P99(Run),
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What is measured.
    pub run: Run,
    /// What it is compared with.
    pub against: Against,
    /// The minimum ratio, in hundredths.
    pub target: Option<u64>,
    line: Line,
}

/// The runs from which the best rate of pgbench is taken.
pub const BEST_OF: [Run; 3] = [top_up(8), top_up(64), top_up(256)];

/// The clients that top up the other cards, and the clients of the concurrent load.
const OTHERS: u32 = 4;
pub const BESIDE: u32 = 200;
const BESIDE_SPREAD: Run = (Work::OthersBesideSpread, OTHERS);

const fn top_up(clients: u32) -> Run {
    (Work::Pgbench(Script::Spread), clients)
}

/// The requested lines.
pub fn entries(wants: impl Fn(Line) -> bool) -> Vec<Entry> {
    let cores = u32::try_from(hashes::cores()).unwrap_or(1);
    let entry = |line, name, run, against, target| Entry { name, run, against, target, line };
    let all = [
        entry(Line::Spread, "top-ups over 5,000 cards", (Work::Spread, 1), Against::Run(top_up(1)), Some(50)),
        entry(Line::Spread, "top-ups over 5,000 cards", (Work::Spread, 8), Against::Run(top_up(8)), Some(50)),
        entry(Line::Spread, "top-ups over 5,000 cards", (Work::Spread, 64), Against::BestPgbench, Some(100)),
        entry(Line::Spread, "top-ups over 5,000 cards", (Work::Spread, 256), Against::BestPgbench, Some(140)),
        entry(Line::Keys, "with an Idempotency-Key on each", (Work::Keys, 256), Against::BestPgbench, Some(120)),
        entry(
            Line::Purchases,
            "purchases with an Idempotency-Key on each",
            (Work::Purchases, 256),
            Against::Run((Work::Keys, 256)),
            Some(90),
        ),
        entry(Line::Payments, "authorisations over 5,000 cards, with keys", (Work::Authorize, 64), Against::BestPgbench, None),
        entry(Line::Payments, "authorisations over 5,000 cards, with keys", (Work::Authorize, 256), Against::BestPgbench, Some(80)),
        entry(
            Line::Payments,
            "authorisations of one card, with keys",
            (Work::AuthorizeHot, 256),
            Against::Run((Work::Pgbench(Script::Hot), 256)),
            Some(500),
        ),
        entry(Line::Payments, "authorisations, each then captured", (Work::AuthorizeAndCapture, 64), Against::Nothing, None),
        entry(Line::Payments, "authorisations, each then captured", (Work::AuthorizeAndCapture, 256), Against::Nothing, None),
        entry(Line::Payments, "authorisations of one card, each then captured", (Work::AuthorizeAndCaptureHot, 64), Against::Nothing, None),
        entry(
            Line::Limits,
            "authorisations over 5,000 cards with a limit each",
            (Work::AuthorizeLimited, 256),
            Against::Run((Work::Authorize, 256)),
            Some(50),
        ),
        entry(
            Line::Limits,
            "authorisations over 20 cards of a customer with a limit",
            (Work::AuthorizeShared, 256),
            Against::Run((Work::Authorize, 256)),
            Some(25),
        ),
        entry(
            Line::Transfers,
            "transfers over 5,000 cards, with keys",
            (Work::Transfers, 256),
            Against::Run((Work::Pgbench(Script::Transfer), 256)),
            Some(50),
        ),
        entry(Line::Feed, "top-ups with an event each", (Work::Fed, 64), Against::Run((Work::Spread, 64)), Some(85)),
        entry(Line::Feed, "top-ups with an event each", (Work::Fed, 256), Against::Run((Work::Spread, 256)), Some(85)),
        entry(Line::Hot, "top-ups of one card", (Work::Hot, 256), Against::Run((Work::Pgbench(Script::Hot), 256)), Some(800)),
        entry(Line::Beside, "other cards", (Work::Others, OTHERS), Against::Nothing, None),
        entry(Line::Beside, "other cards, during load on all cards", BESIDE_SPREAD, Against::Nothing, None),
        entry(
            Line::Beside,
            "other cards, during load on one card (p99)",
            (Work::OthersBesideHot, OTHERS),
            Against::P99(BESIDE_SPREAD),
            Some(50),
        ),
        entry(Line::Read, "reads of a card", (Work::Read, 256), Against::Run((Work::Pgbench(Script::Read), 256)), Some(50)),
        entry(Line::Page, "first page of 1,000 movements", (Work::FirstPage, 64), Against::Nothing, None),
        entry(Line::Page, "last page of 1,000 movements", (Work::LastPage, 64), Against::Nothing, None),
        entry(Line::Login, "logins, against argon2id alone", (Work::Login, 2 * cores), Against::Run((Work::Argon2, cores)), Some(90)),
    ];
    all.into_iter().filter(|entry| wants(entry.line)).collect()
}

/// The runs of a turn: each line next to its comparison, and no run twice.
pub fn turn(entries: &[Entry]) -> Vec<Run> {
    let mut runs = Vec::new();
    for entry in entries {
        match entry.against {
            Against::Nothing => {}
            Against::Run(run) | Against::P99(run) => runs.push(run),
            Against::BestPgbench => runs.push(top_up(entry.run.1)),
        }
        runs.push(entry.run);
    }
    if entries.iter().any(|entry| entry.against == Against::BestPgbench) {
        runs.extend(BEST_OF);
    }
    let mut unique = Vec::new();
    for run in runs {
        if !unique.contains(&run) {
            unique.push(run);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_runs_each_workload_once_next_to_its_comparison() {
        let spread = turn(&entries(|line| line == Line::Spread));
        let expected: Vec<Run> = [1, 8, 64, 256].into_iter().flat_map(|clients| [top_up(clients), (Work::Spread, clients)]).collect();
        assert_eq!(spread, expected);
        let all = turn(&entries(|_| true));
        assert!(all.iter().enumerate().all(|(index, run)| !all[..index].contains(run)), "{all:?}");
    }

    #[test]
    fn a_single_line_still_runs_every_pgbench_run_it_is_compared_with() {
        let keys = turn(&entries(|line| line == Line::Keys));
        assert_eq!(keys, [top_up(256), (Work::Keys, 256), top_up(8), top_up(64)]);
    }
}
