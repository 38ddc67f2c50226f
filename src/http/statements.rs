//! Statements: `GET /cards/{cardId}/statement`, as JSON or as CSV.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::{
    App, chunks,
    code::Code,
    csv,
    error::{Error, Result},
    extract::{PathId, Reader},
    faults::{self, FaultCode},
    header_fields,
    movement_body::MovementBody,
    openapi::{Filter, Operation, Tag},
    page::write_json,
    query::Query,
    time::{DayOrMoment, Timestamp},
};
use crate::domain::{
    currency::Currency,
    error::Refusal,
    id::CardId,
    money::{Money, Total},
    spending::window::TimeZone,
    word::Word,
};
use crate::service::{
    error::{Error as ServiceError, Result as ServiceResult},
    ledger::{KindTotal, Movement, Statement},
};

/// The media types of a statement. The first is for clients that accept any.
const MEDIA_TYPES: [&str; 2] = ["application/json", "text/csv"];

/// The columns of a statement as CSV.
const COLUMNS: [&str; 9] =
    ["movementId", "type", "amount", "balanceAfter", "description", "createdAt", "authorizationId", "relatedMovementId", "merchantName"];

/// A card's movements in a period, with the balances before and after them.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Statement")]
pub(super) struct StatementBody {
    card_id: CardId,
    currency: Word<Currency>,
    /// The first moment of the period.
    from: Timestamp,
    /// The first moment after the period.
    to: Timestamp,
    /// The balance at the start of the period. It and the amounts of all movements add up to `closingBalance`.
    opening_balance: Money,
    /// The balance at the end of the period, or by now if that lies ahead.
    closing_balance: Money,
    #[schemars(schema_with = "totals_schema")]
    totals: Totals,
    /// The movements of the period, oldest first.
    movements: Vec<MovementBody>,
}

/// What the movements of a type come to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MovementTotal")]
struct TotalBody {
    /// How many movements there are.
    count: i64,
    /// The sum of their amounts.
    amount: Total,
}

/// The totals by type.
struct Totals(Vec<KindTotal>);

impl Serialize for Totals {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|total| (&total.kind, TotalBody { count: total.count, amount: total.amount })))
    }
}

fn totals_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let total = generator.subschema_for::<TotalBody>();
    schemars::json_schema!({
        "description": "What the movements come to, by their type. A type without movements is left out.",
        "type": "object",
        "additionalProperties": total,
    })
}

impl From<&Statement> for StatementBody {
    fn from(statement: &Statement) -> Self {
        Self {
            card_id: statement.card,
            currency: statement.currency.clone(),
            from: Timestamp(statement.from),
            to: Timestamp(statement.to),
            opening_balance: statement.opening,
            closing_balance: statement.closing,
            totals: Totals(statement.totals.clone()),
            movements: Vec::new(),
        }
    }
}

/// One end of a period.
struct End {
    at: DateTime<Utc>,
    /// As part of a file's name, in which some systems allow no colon.
    name: String,
}

impl End {
    fn of(end: DayOrMoment, time_zone: TimeZone, query: &mut Query, field: &'static str) -> Option<Self> {
        let Some(at) = end.start_in(time_zone) else {
            query.fault(field, FaultCode::OutOfRange, "must be in a year of four digits");
            return None;
        };
        let name = match end {
            DayOrMoment::Day(day) => day.to_string(),
            DayOrMoment::Moment(_) => at.format("%Y-%m-%dT%H%M%SZ").to_string(),
        };
        Some(Self { at, name })
    }
}

/// The two ends of the period.
fn read_period(query: &mut Query) -> Option<(End, End)> {
    let (from, to) = (query.day_or_moment("from"), query.day_or_moment("to"));
    // A zone that is not valid is a fault of its own, beside those of the days.
    let time_zone = query.time_zone("timeZone").unwrap_or(TimeZone::UTC);
    let from = from.and_then(|from| End::of(from, time_zone, query, "from"));
    let to = to.and_then(|to| End::of(to, time_zone, query, "to"));
    let (from, to) = (from?, to?);
    if from.at >= to.at {
        query.fault("to", FaultCode::OutOfRange, "must be after from");
    }
    Some((from, to))
}

/// `GET /cards/{cardId}/statement`
pub(super) const GET: Operation = Operation::new("getStatement", Tag::Transactions, "Get Statement")
    .about("Retrieve a card's movements in a period, oldest first, between the balance before and the balance after them: `openingBalance` and all amounts add up to `closingBalance`. What is written while a statement is read is not in it. With `Accept: text/csv` the response is a file for spreadsheets, which begins and ends with a line for each balance, and where an apostrophe precedes what a spreadsheet would take for a formula.")
    .filters(&[
        Filter::new::<DayOrMoment>("from", "The start of the period, which is not in the future: a day in `timeZone`, or RFC 3339.").required(),
        Filter::new::<DayOrMoment>("to", "The end of the period, which is not part of it: a day in `timeZone`, or RFC 3339.").required(),
        Filter::new::<TimeZone>("timeZone", "The time zone in which days begin."),
    ])
    .response::<StatementBody>(
        r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "from": "2025-02-01T05:00:00.000Z", "to": "2025-03-01T05:00:00.000Z", "openingBalance": 50, "closingBalance": 130, "totals": {"top_up": {"count": 1, "amount": 100}, "purchase": {"count": 1, "amount": -20}}, "movements": [
            {"id": "mov_01h455vb4pex5vsknk084sn02r", "amount": 100, "description": "Balance top-up", "date": "2025-02-10T10:00:00.000Z", "type": "top_up", "balanceAfter": 150, "authorizationId": null, "transferId": null, "relatedMovementId": null, "merchant": null},
            {"id": "mov_01h455vb4pex5vsknk084sn02s", "amount": -20, "description": "Online purchase - Amazon", "date": "2025-02-10T12:00:00.000Z", "type": "purchase", "balanceAfter": 130, "authorizationId": null, "transferId": null, "relatedMovementId": null, "merchant": null}
        ]}"#,
    )
    .or_csv(
        "movementId,type,amount,balanceAfter,description,createdAt,authorizationId,relatedMovementId,merchantName\r\n\
        ,opening_balance,,50,Opening balance,2025-02-01T05:00:00.000Z,,,\r\n\
        mov_01h455vb4pex5vsknk084sn02r,top_up,100,150,Balance top-up,2025-02-10T10:00:00.000Z,,,\r\n\
        mov_01h455vb4pex5vsknk084sn02s,purchase,-20,130,Online purchase - Amazon,2025-02-10T12:00:00.000Z,,,\r\n\
        ,closing_balance,,130,Closing balance,2025-03-01T05:00:00.000Z,,,\r\n",
    )
    .refusals(&[Code::CardNotFound, Code::NotAcceptable]);

/// `GET /cards/{cardId}/statement`
pub(super) async fn get(
    State(app): State<App>,
    Reader(caller): Reader,
    PathId(id): PathId<CardId>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response> {
    let period = read_period(&mut query);
    let (from, to) = query.done_with(period)?;
    let is_csv = header_fields::preferred(&headers, &MEDIA_TYPES).ok_or(Error::NotAcceptable(&MEDIA_TYPES))? == 1;
    let id = id.map_err(|_| Refusal::CardNotFound)?;
    let ledger = app.services.ledger.clone();
    let statement = match ledger.statement(caller.account, id, from.at, to.at).await {
        Err(ServiceError::InFuture) => Err(Error::Validation(vec![faults::future("from")])),
        outcome => Ok(outcome?),
    }?;
    let (head, tail) = if is_csv { around_csv(&statement) } else { around_json(&statement)? };
    let fetch = move |after, limit| {
        let (ledger, statement) = (ledger.clone(), statement.clone());
        async move { Ok((ledger.statement_page(caller.account, &statement, after, limit).await?, None)) }
    };
    let body = if is_csv {
        chunks::body(head, tail, None, fetch, write_csv).await?
    } else {
        chunks::body(head, tail, None, fetch, write_movement).await?
    };
    let name = format!("statement-{id}-{}-{}.csv", from.name, to.name);
    respond(body, is_csv.then_some(name))
}

/// A response with a statement. One with a name is a file.
fn respond(body: Body, name: Option<String>) -> Result<Response> {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    let content_type = if name.is_some() { "text/csv; charset=utf-8; header=present" } else { "application/json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(name) = name {
        let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
        let disposition = disposition.map_err(|error| ServiceError::internal("naming a statement", error))?;
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// What comes before and after the movements in JSON: the statement without any, taken apart at its end.
fn around_json(statement: &Statement) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut head = Vec::new();
    write_json(&mut head, &StatementBody::from(statement))?;
    let tail = head.split_off(head.len().saturating_sub(b"]}".len()));
    Ok((head, tail))
}

fn write_movement(body: &mut Vec<u8>, movement: &Movement, is_first: bool) -> ServiceResult<i64> {
    if !is_first {
        body.push(b',');
    }
    write_json(body, &MovementBody::from(movement))?;
    Ok(movement.seq)
}

/// What comes before and after the movements in CSV: the names of the columns, and a line for each balance. The lines of the
/// balances have no amount, so that the sum of a column is that of the movements.
fn around_csv(statement: &Statement) -> (Vec<u8>, Vec<u8>) {
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    let line = |out: &mut Vec<u8>, kind, balance: Money, name, at| {
        csv::record(out, ["", kind, "", &balance.to_json(), name, &Timestamp(at).to_string(), "", "", ""]);
    };
    csv::record(&mut head, COLUMNS);
    line(&mut head, "opening_balance", statement.opening, "Opening balance", statement.from);
    line(&mut tail, "closing_balance", statement.closing, "Closing balance", statement.to);
    (head, tail)
}

#[expect(clippy::unnecessary_wraps, reason = "writing JSON can fail")]
fn write_csv(body: &mut Vec<u8>, movement: &Movement, _: bool) -> ServiceResult<i64> {
    let text = |id: Option<&dyn std::fmt::Display>| id.map(ToString::to_string).unwrap_or_default();
    let merchant: Option<serde_json::Value> = movement.merchant.as_deref().and_then(|json| serde_json::from_str(json).ok());
    csv::record(
        body,
        [
            &movement.id.to_string(),
            movement.kind.as_str(),
            &movement.amount.to_json(),
            &movement.balance_after.to_json(),
            &movement.description,
            &Timestamp(movement.created_at).to_string(),
            &text(movement.authorization_id.as_ref().map(|id| id as _)),
            &text(movement.related_id.as_ref().map(|id| id as _)),
            merchant.as_ref().and_then(|merchant| merchant["name"].as_str()).unwrap_or_default(),
        ],
    );
    Ok(movement.seq)
}
