//! Small histories with one defect each, which the checker must find.

mod events;
mod messages;
mod payments;
mod postings;
mod undoing;

use std::collections::HashMap;

use record::{Answer, Attempt, Body, Form, Kind, Request, Sums};

use super::*;
use crate::ledger::{Authorization, Entry, Movement, Told};

const CARD: &str = "card_1";

/// A second, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// The history and the ledger of one card, which agree until a test breaks one of them.
#[derive(Clone)]
struct World {
    attempts: Vec<Attempt>,
    card: Card,
    stored: HashMap<String, i16>,
    /// When the next operation is sent. It is answered a second later.
    now: u64,
}

impl World {
    fn new() -> Self {
        let card = Card { status: "active".to_owned(), ..Card::default() };
        let mut world = Self { attempts: Vec::new(), card, stored: HashMap::new(), now: 100 * SECOND };
        world.tell("card.created", None);
        world.tell("card.activated", None);
        world
    }

    /// The next event of the card. Returns its place.
    fn tell(&mut self, kind: &str, movement_seq: Option<i64>) -> i64 {
        self.card.event_seq += 1;
        let sequence = self.card.event_seq;
        self.card.told.push(Told { sequence, kind: kind.to_owned(), movement_seq });
        sequence
    }

    /// The newest movement did not happen.
    fn undo_movement(&mut self) {
        let gone = self.card.movements.pop().expect("a movement");
        let card = &mut self.card;
        (card.seq, card.event_seq, card.balance) = (card.seq - 1, card.event_seq - 1, card.balance - gone.amount);
        card.told.pop();
    }

    fn verdict(&self) -> Verdict {
        let mut history = History::default();
        self.attempts.iter().for_each(|attempt| history.add(attempt.clone()));
        let mut verdict = Verdict::default();
        judge(CARD, &history, &self.card, &self.stored, &mut verdict);
        verdict
    }

    /// The rules that are violated, without repetition.
    fn rules(&self) -> Vec<Rule> {
        let mut rules: Vec<_> = self.verdict().kept.iter().map(|finding| finding.rule).collect();
        rules.dedup();
        rules
    }

    #[track_caller]
    fn assert_sound(&self) {
        let verdict = self.verdict();
        assert!(verdict.kept.is_empty(), "{:#?}", verdict.kept);
    }

    #[track_caller]
    fn assert_found(&self, rule: Rule) {
        let verdict = self.verdict();
        assert!(verdict.kept.iter().any(|finding| finding.rule == rule), "{rule:?} is not in {:#?}", verdict.kept);
    }

    /// An attempt at this time, without an answer.
    fn send(&mut self, op: &str, kind: Kind, cents: impl Into<Option<i64>>) -> &mut Attempt {
        let request = Request {
            op: op.to_owned(),
            keyed: true,
            card: CARD.to_owned(),
            kind,
            cents: cents.into(),
            to: None,
            target: None,
            network_transaction: None,
            form: Form::Plain,
        };
        let (invoked, ended) = (self.now, self.now + SECOND);
        self.now += 2 * SECOND;
        self.attempts.push(Attempt { request, client: 0, replica: 0, invoked, ended, answer: None, hung_up: false, refused: false });
        self.attempts.last_mut().expect("just added")
    }

    /// An operation that was executed as the ledger has it now.
    fn done(&mut self, op: &str, kind: Kind, cents: impl Into<Option<i64>>, body: Body) -> &mut Attempt {
        let body = self.with_money(body);
        self.stored.insert(op.to_owned(), 200);
        let attempt = self.send(op, kind, cents);
        attempt.answer = Some(Answer { status: 200, body, ..Answer::default() });
        attempt
    }

    fn with_money(&self, body: Body) -> Body {
        let Card { balance, held, .. } = self.card;
        Body { balance: Some(balance), held: Some(held), available: Some(balance - held), ..body }
    }

    fn refused(&mut self, op: &str, kind: Kind, cents: i64, code: &str) -> &mut Attempt {
        let attempt = self.send(op, kind, cents);
        attempt.answer = Some(Answer { status: 409, code: Some(code.to_owned()), ..Answer::default() });
        attempt
    }

    /// A read of what the ledger has now.
    fn read(&mut self, op: &str) -> &mut Attempt {
        let body = self.with_money(Body::default());
        let attempt = self.send(op, Kind::Read, None);
        attempt.answer = Some(Answer { status: 200, body, ..Answer::default() });
        attempt
    }

    /// A status change.
    fn status(&mut self, op: &str, to: &str) -> &mut Attempt {
        self.card.status = to.to_owned();
        self.tell(&format!("card.{to}"), None);
        let attempt = self.done(op, Kind::Status, None, Body::default());
        attempt.request.to = Some(to.to_owned());
        attempt
    }

    /// A movement in the ledger.
    fn movement(&mut self, id: &str, kind: &str, amount: i64) -> &mut Movement {
        let before = self.card.balance;
        (self.card.seq, self.card.balance) = (self.card.seq + 1, before + amount);
        let seq = Some(self.card.seq);
        self.tell("movement.created", seq);
        if before >= 0 && before + amount < 0 {
            self.tell("card.overdrawn", seq);
        }
        let card = &mut self.card;
        let (id, kind) = (format!("mov_{id}"), kind.to_owned());
        card.movements.push(Movement { id, kind, amount, seq: card.seq, balance_after: card.balance, ..Movement::default() });
        card.movements.last_mut().expect("just added")
    }

    /// A posting by the account.
    fn post(&mut self, op: &str, kind: Kind, cents: i64) -> &mut Attempt {
        let (name, amount) = match kind {
            Kind::TopUp => ("top_up", cents),
            Kind::Purchase => ("purchase", -cents),
            Kind::Withdrawal => ("withdrawal", -cents),
            _ => ("refund", cents),
        };
        let id = self.movement(op, name, amount).id.clone();
        self.done(op, kind, cents, Body { movement: Some(id), ..Body::default() })
    }

    /// An entry in the ledger, and its effect.
    fn entry(&mut self, id: &str, authorization: &str, kind: &str, amount: i64, change: impl FnOnce(&mut Authorization)) -> &mut Entry {
        self.enter(id, authorization, kind, (amount, None), change)
    }

    /// An entry that posts this movement, or none. The movement comes after it.
    fn enter(
        &mut self,
        id: &str,
        authorization: &str,
        kind: &str,
        (amount, movement_seq): (i64, Option<i64>),
        change: impl FnOnce(&mut Authorization),
    ) -> &mut Entry {
        let sequence = self.tell(&event_of(kind), movement_seq);
        let card = &mut self.card;
        let earlier = card.entries.iter().rev().find(|entry| entry.authorization == authorization);
        let (ordinal, previous) = earlier.map_or((1, None), |entry| (entry.ordinal + 1, Some(entry.sequence)));
        let row = card.authorizations.entry(authorization.to_owned()).or_default();
        let held_before = row.sums.held;
        change(row);
        row.sequence = sequence;
        let held_after = row.sums.held;
        card.held += held_after - held_before;
        card.entries.push(Entry {
            id: format!("ent_{id}"),
            sequence,
            authorization: authorization.to_owned(),
            ordinal,
            previous,
            kind: kind.to_owned(),
            amount,
            held_before,
            held_after,
            card_balance: card.balance,
            card_held: card.held,
            movement_seq,
            decline: None,
            at: self.now + SECOND / 2,
        });
        card.entries.last_mut().expect("just added")
    }

    /// What an answer says of an authorisation now.
    fn answered(&self, authorization: &str) -> Body {
        let row = &self.card.authorizations[authorization];
        let (id, status, sequence, sums) = (authorization.to_owned(), row.status.clone(), row.sequence, row.sums);
        Body { authorization: Some(record::Authorization { id, status, sequence, sums }), ..Body::default() }
    }

    /// An authorisation `auth_<op>` of this much, whose hold ends in an hour.
    fn authorize(&mut self, op: &str, asked: i64, approved: i64, form: Form) -> &mut Attempt {
        let (id, expires_at) = (format!("auth_{op}"), Some(self.now + 3600 * SECOND));
        let kind = if asked == approved { "authorization" } else { "partial_authorization" };
        self.entry(op, &id, kind, approved, |row| {
            *row = Authorization {
                status: "pending".to_owned(),
                sums: Sums { authorized: approved, held: approved, ..Sums::default() },
                requested: asked,
                stand_in: form == Form::StandIn,
                network_transaction: Some(op.to_owned()),
                expires_at,
                ..Authorization::default()
            };
        });
        let body = self.answered(&id);
        let attempt = self.done(op, Kind::Authorize, asked, body);
        (attempt.request.form, attempt.request.network_transaction) = (form, Some(op.to_owned()));
        attempt
    }

    /// A declined authorisation.
    fn decline(&mut self, op: &str, asked: i64, code: &str) -> &mut Attempt {
        let id = format!("auth_{op}");
        self.entry(op, &id, "declined", asked, |row| {
            let (network_transaction, decline) = (Some(op.to_owned()), Some(code.to_owned()));
            *row =
                Authorization { status: "declined".to_owned(), requested: asked, network_transaction, decline, ..Authorization::default() };
        });
        let body = self.answered(&id);
        let attempt = self.done(op, Kind::Authorize, asked, body);
        attempt.request.network_transaction = Some(op.to_owned());
        attempt
    }

    /// A step of an authorisation that moves no money.
    fn step(
        &mut self,
        op: &str,
        (kind, entry_kind): (Kind, &str),
        authorization: &str,
        (cents, amount): (Option<i64>, i64),
        change: impl FnOnce(&mut Authorization),
    ) -> &mut Attempt {
        let entry = Some(self.entry(op, authorization, entry_kind, amount, change).id.clone());
        let body = Body { entry, ..self.answered(authorization) };
        let attempt = self.done(op, kind, cents, body);
        attempt.request.target = Some(authorization.to_owned());
        attempt
    }

    /// A capture.
    fn capture(
        &mut self,
        op: &str,
        authorization: &str,
        (cents, amount): (Option<i64>, i64),
        form: Form,
        change: impl FnOnce(&mut Authorization),
    ) -> &mut Attempt {
        let seq = self.card.seq + 1;
        self.enter(op, authorization, "capture", (amount, Some(seq)), change).card_balance -= amount;
        let movement = self.movement(op, "capture", -amount);
        movement.authorization = Some(authorization.to_owned());
        let id = movement.id.clone();
        let body = Body { movement: Some(id), ..self.answered(authorization) };
        let attempt = self.done(op, Kind::Capture, cents, body);
        (attempt.request.target, attempt.request.form) = (Some(authorization.to_owned()), form);
        attempt
    }

    /// A movement of the network that has no entry.
    fn undo(
        &mut self,
        op: &str,
        (kind, movement_kind): (Kind, &str),
        amount: i64,
        (target, authorization, related_seq): (&str, Option<&str>, Option<i64>),
        change: impl FnOnce(&mut Sums),
    ) -> &mut Attempt {
        let sequence = self.card.event_seq + 1;
        let movement = self.movement(op, movement_kind, amount);
        (movement.authorization, movement.related_seq) = (authorization.map(str::to_owned), related_seq);
        let id = movement.id.clone();
        let mut body = Body::default();
        if let Some(authorization) = authorization {
            let row = self.card.authorizations.get_mut(authorization).expect("the authorisation");
            change(&mut row.sums);
            row.sequence = sequence;
            body = self.answered(authorization);
        }
        let attempt = self.done(op, kind, amount.abs(), Body { movement: Some(id), ..body });
        attempt.request.target = (!target.is_empty()).then(|| target.to_owned());
        attempt
    }

    fn attempt(&mut self, op: &str) -> &mut Attempt {
        self.attempts.iter_mut().find(|attempt| attempt.request.op == op).expect("the attempt")
    }

    fn answer(&mut self, op: &str) -> &mut Answer {
        self.attempt(op).answer.as_mut().expect("an answer")
    }

    fn forget(&mut self, op: &str) {
        self.attempts.retain(|attempt| attempt.request.op != op);
        self.stored.remove(op);
    }
}

/// The type of the event of an entry.
fn event_of(kind: &str) -> String {
    let what = match kind {
        "authorization" | "partial_authorization" => "approved",
        "increment" => "incremented",
        "adjustment" => "adjusted",
        "reversal" => "reversed",
        "capture" | "late_capture" => "captured",
        "expiry" => "expired",
        "release" => "released",
        same => same,
    };
    format!("authorization.{what}")
}
