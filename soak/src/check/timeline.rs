//! All that happened to a card, replayed in its order: what the card had, and how each authorisation stood, at each moment.

use std::collections::{HashMap, HashSet};

use crate::{
    ledger::{Card, Entry, Movement},
    standing::Standing,
    told::MOVEMENT,
    verdict::{Rule, Verdict},
};

/// How far the clocks of the driver and of the database may be apart, in nanoseconds.
pub const CLOCK_TOLERANCE: u64 = 1_000_000_000;

/// A movement, an entry, or an entry with the movement that it posted, which has the next number.
#[derive(Debug)]
pub struct Event<'a> {
    pub sequence: i64,
    pub entry: Option<&'a Entry>,
    pub movement: Option<&'a Movement>,
}

/// What was undone of a movement: of a capture or a purchase what was reversed and refunded, of a refund what was reversed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Undone {
    pub reversed: i64,
    pub refunded: i64,
}

/// A hold that could be seen as expired before it was: it stood from one place to another.
#[derive(Debug)]
struct Overdue {
    due: u64,
    from: usize,
    to: usize,
    held: i64,
    /// The place at which it and all that were due before it have ended.
    all_end_by: usize,
}

/// The history of a card. A place is the number of events before it.
#[derive(Debug)]
pub struct Timeline<'a> {
    pub card: &'a Card,
    pub events: Vec<Event<'a>>,
    /// The balance and the held money at each place.
    pub money: Vec<(i64, i64)>,
    /// The places at which each authorisation changed, and how it stood then.
    standings: HashMap<&'a str, Vec<(usize, Standing)>>,
    /// The same of each movement of which something was undone, by its `seq`.
    undone: HashMap<i64, Vec<(usize, Undone)>>,
    overdue: Vec<Overdue>,
    movements_by_id: HashMap<&'a str, &'a Movement>,
    by_network_transaction: HashMap<&'a str, &'a str>,
}

impl<'a> Timeline<'a> {
    /// Replays a card.
    pub fn replay(id: &str, card: &'a Card, verdict: &mut Verdict) -> Self {
        let events = merge(card);
        let mut timeline = Self {
            card,
            events: Vec::new(),
            money: vec![(0, 0)],
            standings: HashMap::new(),
            undone: HashMap::new(),
            overdue: Vec::new(),
            movements_by_id: card.movements.iter().map(|movement| (movement.id.as_str(), movement)).collect(),
            by_network_transaction: by_network_transaction(card),
        };
        let mut seq = 0;
        for event in events {
            let (mut balance, mut held) = timeline.now();
            if let Some(movement) = event.movement {
                check_movement(id, movement, seq, balance, held, event.entry.is_some(), verdict);
                (seq, balance) = (movement.seq, balance + movement.amount);
                timeline.undo(id, movement, verdict);
            }
            if let Some(entry) = event.entry {
                timeline.check_approval(id, entry, verdict);
                held += entry.held_after - entry.held_before;
                if (entry.card_balance, entry.card_held) != (balance, held) {
                    let what =
                        format!("{id}: entry {} leaves {:?}, not {:?}", entry.id, (entry.card_balance, entry.card_held), (balance, held));
                    verdict.found(Rule::Hold, what);
                }
            }
            timeline.follow(id, &event, verdict);
            timeline.money.push((balance, held));
            timeline.events.push(event);
        }
        timeline.check_card(id, seq, verdict);
        timeline.find_overdue();
        timeline
    }

    fn now(&self) -> (i64, i64) {
        self.money.last().copied().unwrap_or_default()
    }

    /// The available money at a place.
    pub fn available(&self, place: usize) -> i64 {
        self.money[place].0 - self.money[place].1
    }

    /// The movement with this id.
    pub fn movement(&self, id: &str) -> Option<&'a Movement> {
        self.movements_by_id.get(id).copied()
    }

    /// The authorisation that a `networkTransactionId` names, unless it was declined.
    pub fn of_network_transaction(&self, id: &str) -> Option<&'a str> {
        self.by_network_transaction.get(id).copied()
    }

    /// How an authorisation stood at a place.
    pub fn standing(&self, authorization: &str, place: usize) -> Option<&Standing> {
        at(self.standings.get(authorization)?, place)
    }

    /// What was undone of a movement at a place.
    pub fn undone(&self, seq: i64, place: usize) -> Undone {
        self.undone.get(&seq).and_then(|undone| at(undone, place)).copied().unwrap_or_default()
    }

    /// What is left to reverse of a movement at a place: reversals and refunds give it back, and of an authorisation's capture no
    /// more than is left of all that it captured.
    pub fn left_to_reverse(&self, original: &Movement, place: usize) -> i64 {
        let undone = self.undone(original.seq, place);
        let left = original.amount.abs() - undone.reversed - undone.refunded;
        let authorization = original.authorization.as_deref().filter(|_| original.kind != "refund");
        let standing = authorization.and_then(|authorization| self.standing(authorization, place));
        standing.map_or(left, |standing| left.min(standing.returnable()))
    }

    /// Whether the card can have shown this held money at a place, at some time between two. What is due is gone at once.
    pub fn can_show(&self, held: i64, place: usize, from: u64, to: u64) -> bool {
        let certain = from.saturating_sub(CLOCK_TOLERANCE);
        let mut shown = self.money[place].1;
        let mut can = shown == held;
        for hold in self.overdue_at(place, to.saturating_add(CLOCK_TOLERANCE)) {
            shown -= hold.held;
            can = shown == held || can && hold.due > certain;
        }
        can
    }

    /// What is due at a place, at a time.
    pub fn due(&self, place: usize, time: u64) -> i64 {
        self.overdue_at(place, time).map(|hold| hold.held).sum()
    }

    /// Whether an authorisation can be seen as expired at a place before a time.
    pub fn is_due(&self, authorization: &str, place: usize, time: u64) -> bool {
        let due = self.card.authorizations.get(authorization).and_then(|authorization| authorization.expires_at);
        due.is_some_and(|due| due <= time.saturating_add(CLOCK_TOLERANCE))
            && self.standing(authorization, place).is_some_and(|standing| standing.status == "pending")
    }

    /// The holds that are due at a place before a time, the first due first.
    fn overdue_at(&self, place: usize, time: u64) -> impl Iterator<Item = &Overdue> {
        let first = self.overdue.partition_point(|hold| hold.all_end_by <= place);
        let last = self.overdue.partition_point(|hold| hold.due <= time).max(first);
        self.overdue[first..last].iter().filter(move |hold| (hold.from..hold.to).contains(&place))
    }

    /// Approvals take no more than is available, unless the network made them, and a partial one takes exactly that.
    fn check_approval(&self, id: &str, entry: &Entry, verdict: &mut Verdict) {
        let available = self.available(self.events.len());
        let authorization = self.card.authorizations.get(&entry.authorization);
        let stand_in = authorization.is_some_and(|authorization| authorization.stand_in);
        let fits = match entry.kind.as_str() {
            "authorization" => stand_in || entry.amount <= available,
            "increment" => entry.amount <= available,
            "partial_authorization" => {
                entry.amount == available && authorization.is_some_and(|authorization| authorization.requested > available)
            }
            _ => true,
        };
        if !fits {
            verdict.found(Rule::Overspent, format!("{id}: the {} {} of {} met {available}", entry.kind, entry.id, entry.amount));
        }
    }

    /// Checks that no more is undone of a movement or of an authorisation than there was.
    fn undo(&mut self, id: &str, movement: &'a Movement, verdict: &mut Verdict) {
        let place = self.events.len() + 1;
        let taken = movement.amount.abs();
        let original = movement.related_seq.and_then(|seq| usize::try_from(seq - 1).ok()).and_then(|index| self.card.movements.get(index));
        let fits = match (movement.kind.as_str(), original) {
            ("capture_reversal", Some(original)) => {
                let undone = self.undone(original.seq, place);
                self.note(original.seq, place, Undone { reversed: undone.reversed + taken, ..undone });
                matches!(original.kind.as_str(), "capture" | "purchase") && undone.reversed + undone.refunded + taken <= -original.amount
            }
            ("refund_reversal", Some(original)) => {
                let undone = self.undone(original.seq, place);
                self.note(original.seq, place, Undone { reversed: undone.reversed + taken, ..undone });
                // What is taken back of a refund can be refunded again.
                if let Some(refunded) = original.related_seq {
                    let undone = self.undone(refunded, place);
                    self.note(refunded, place, Undone { refunded: undone.refunded - taken, ..undone });
                }
                original.kind == "refund" && undone.reversed + taken <= original.amount
            }
            ("refund", Some(original)) => {
                let undone = self.undone(original.seq, place);
                self.note(original.seq, place, Undone { refunded: undone.refunded + taken, ..undone });
                original.authorization.is_some() || undone.refunded + taken <= -original.amount - undone.reversed
            }
            ("capture_reversal" | "refund_reversal", None) => false,
            _ => true,
        };
        let gives_back = matches!(movement.kind.as_str(), "refund" | "capture_reversal");
        let linked = movement.authorization.as_deref().filter(|_| gives_back);
        let fits = fits
            && linked
                .is_none_or(|authorization| self.standing(authorization, place).is_some_and(|standing| taken <= standing.returnable()));
        if !fits {
            verdict.found(Rule::Exceeded, format!("{id}: the {} {} of {taken} exceeds what was left", movement.kind, movement.id));
        }
    }

    fn note(&mut self, seq: i64, place: usize, undone: Undone) {
        self.undone.entry(seq).or_default().push((place, undone));
    }

    /// Replays the event's authorisation.
    fn follow(&mut self, id: &str, event: &Event<'a>, verdict: &mut Verdict) {
        let entry = event.entry;
        let posted = event.movement.and_then(|movement| Some((movement, movement.authorization.as_deref()?)));
        let Some(authorization) = entry.map(|entry| entry.authorization.as_str()).or(posted.map(|(_, authorization)| authorization)) else {
            return;
        };
        let place = self.events.len() + 1;
        let before = self.standings.get(authorization).and_then(|changes| changes.last()).map(|(_, standing)| standing);
        let after = match (entry, before, posted) {
            (Some(entry), _, None) if matches!(entry.kind.as_str(), "capture" | "late_capture") => {
                Err(format!("the {} {} has no movement", entry.kind, entry.id))
            }
            (Some(entry), _, Some((movement, named))) if (named, movement.amount) != (&entry.authorization, -entry.amount) => {
                Err(format!("the {} {} posts {} of {named}", entry.kind, entry.id, movement.amount))
            }
            (Some(entry), None, None) => Standing::begin(entry),
            (Some(entry), Some(before), _) => before.step(entry),
            (None, Some(before), Some((movement, _))) if !matches!(movement.kind.as_str(), "capture" | "purchase") => {
                Ok(before.posted(&movement.kind, movement.amount, event.sequence))
            }
            _ => Err(format!("event {} belongs to nothing", event.sequence)),
        };
        match after {
            Ok(after) => self.standings.entry(authorization).or_default().push((place, after)),
            Err(what) => verdict.found(Rule::Hold, format!("{id}: {authorization}: {what}")),
        }
    }

    /// Compares the end with the rows of the card and of its authorisations.
    fn check_card(&self, id: &str, seq: i64, verdict: &mut Verdict) {
        let Card { balance, held, .. } = *self.card;
        let replayed = self.now();
        if (self.card.seq, balance) != (seq, replayed.0) {
            let what =
                format!("{id}: the card has seq {} and balance {balance}, its history ends at {seq} and {}", self.card.seq, replayed.0);
            verdict.found(Rule::Chain, what);
        }
        let end = self.events.len();
        let sum: i64 = self.card.authorizations.values().map(|authorization| authorization.sums.held).sum();
        if (held, held) != (replayed.1, sum) {
            verdict.found(Rule::Hold, format!("{id}: the card holds {held}, its entries {}, its authorisations {sum}", replayed.1));
        }
        for (authorization, row) in &self.card.authorizations {
            let standing = self.standing(authorization, end);
            if standing.is_none_or(|at| (at.status, at.sums, at.sequence) != (row.status.as_str(), row.sums, row.sequence)) {
                verdict.found(Rule::Hold, format!("{id}: {authorization} is {row:?}, its entries leave {standing:?}"));
            }
        }
        for authorization in self.standings.keys().filter(|authorization| !self.card.authorizations.contains_key(**authorization)) {
            verdict.found(Rule::Hold, format!("{id}: {authorization} has entries and does not exist"));
        }
    }

    /// Collects the holds that were still there when they were due.
    fn find_overdue(&mut self) {
        let end = self.events.len() + 1;
        for (authorization, changes) in &self.standings {
            let Some(due) = self.card.authorizations.get(*authorization).and_then(|row| row.expires_at) else { continue };
            for (index, (from, standing)) in changes.iter().enumerate().filter(|(_, (_, standing))| standing.sums.held > 0) {
                let to = changes.get(index + 1).map_or(end, |(to, _)| *to);
                let ended = self.events.get(to - 1).and_then(|event| event.entry).map_or(u64::MAX, |entry| entry.at);
                if ended.saturating_add(CLOCK_TOLERANCE) > due {
                    self.overdue.push(Overdue { due, from: *from, to, held: standing.sums.held, all_end_by: to });
                }
            }
        }
        self.overdue.sort_unstable_by_key(|hold| hold.due);
        let mut all_end_by = 0;
        for hold in &mut self.overdue {
            all_end_by = all_end_by.max(hold.to);
            hold.all_end_by = all_end_by;
        }
    }
}

fn by_network_transaction(card: &Card) -> HashMap<&str, &str> {
    let approved = card.authorizations.iter().filter(|(_, row)| row.status != "declined");
    approved.filter_map(|(id, row)| Some((row.network_transaction.as_deref()?, id.as_str()))).collect()
}

/// The newest of some changes at a place.
fn at<T>(changes: &[(usize, T)], place: usize) -> Option<&T> {
    let newest = changes.partition_point(|(at, _)| *at <= place).checked_sub(1)?;
    Some(&changes[newest].1)
}

/// Puts entries and movements in their order. The place of a movement without an entry is that of the event which tells of it;
/// one that has no event comes right after the movement before it.
fn merge(card: &Card) -> Vec<Event<'_>> {
    let by_seq: HashMap<_, _> = card.movements.iter().map(|movement| (movement.seq, movement)).collect();
    let with_entry: HashSet<_> = card.entries.iter().filter_map(|entry| entry.movement_seq).collect();
    let told = card.told.iter().filter(|told| told.kind == MOVEMENT);
    let sequences: HashMap<_, _> = told.filter_map(|told| Some((told.movement_seq?, told.sequence))).collect();
    let mut events: Vec<Event<'_>> = Vec::with_capacity(card.entries.len() + card.movements.len());
    for entry in &card.entries {
        let movement = entry.movement_seq.and_then(|seq| by_seq.get(&seq).copied());
        events.push(Event { sequence: entry.sequence, entry: Some(entry), movement });
    }
    let mut before = 0;
    for movement in &card.movements {
        before = sequences.get(&movement.seq).copied().unwrap_or(before);
        if !with_entry.contains(&movement.seq) {
            events.push(Event { sequence: before, entry: None, movement: Some(movement) });
        }
    }
    events.sort_by_key(|event| event.sequence);
    events
}

/// Checks that a movement continues the history, and spends no more than is available if the account may refuse it.
fn check_movement(id: &str, movement: &Movement, seq: i64, balance: i64, held: i64, has_entry: bool, verdict: &mut Verdict) {
    if movement.seq != seq + 1 {
        verdict.found(Rule::Chain, format!("{id}: seq {} follows {seq}", movement.seq));
    }
    let Movement { kind, amount, balance_after, .. } = movement;
    if *balance_after != balance + amount {
        verdict.found(Rule::Chain, format!("{id}: at seq {}, {balance} plus {amount} is not {balance_after}", movement.seq));
    }
    if matches!(kind.as_str(), "purchase" | "withdrawal") && !has_entry && -amount > balance - held {
        verdict.found(Rule::Overspent, format!("{id}: the {kind} {} of {amount} met {balance} with {held} held", movement.id));
    }
}
