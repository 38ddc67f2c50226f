//! What requests about endpoints say.

use std::time::Duration;

use chrono::TimeDelta;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::domain::{
    feed_event::TypeFilter,
    id::{MessageId, WebhookEndpointId},
    text::Description,
    webhook::{
        endpoint::{DEFAULT_CONCURRENCY, EndpointStatus, MAX_CONCURRENCY, Ordering, ReplayOnly},
        url::{EndpointUrl, MAX_LENGTH},
    },
};
use crate::http::{
    faults::FaultCode,
    json::{Fields, FromFields},
    time::Moment,
};
use crate::service::webhooks::{EndpointChange, NewEndpoint, Replay, Start};

/// The longest overlap: a week.
const MAX_OVERLAP_SECONDS: u64 = 604_800;

/// The overlap of a rotation that names none: a day.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(86_400);

/// The longest period of a replay.
const MAX_REPLAY: TimeDelta = TimeDelta::days(31);

fn url_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Where messages are sent: https, and in the sandbox also http. Without a user name, a password and a fragment; the port is the scheme's own or at least 1024.",
        "type": "string",
        "format": "uri",
        "maxLength": MAX_LENGTH,
        "pattern": "^[hH][tT][tT][pP][sS]?://[^ ]+$",
        "examples": ["https://example.com/hooks"],
    })
}

fn url(fields: &mut Fields<'_>, field: &'static str) -> Option<EndpointUrl> {
    // Whether plain http is allowed depends on the environment.
    let read = |text: &str| EndpointUrl::parse(text, true).map_err(|fault| format!("is not a URL that can be called: {fault}"));
    fields.trimmed_choice(field, MAX_LENGTH, url_schema, read)
}

fn concurrency(fields: &mut Fields<'_>, field: &'static str) -> Option<u16> {
    let number = fields.whole(field, "How many messages are sent at a time.", 1..=u64::from(MAX_CONCURRENCY))?;
    u16::try_from(number).ok()
}

fn ordering(fields: &mut Fields<'_>, field: &'static str) -> Option<Ordering> {
    fields.word(field, &Ordering::ALL.map(Ordering::name))
}

fn start_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "From where on: `now`, `beginning`, or the id of an event, after which it begins.",
        "type": "string",
        "examples": ["now", "beginning", "msg_01h455vb4pex5vsknk084sn02q"],
    })
}

fn resume_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Where an endpoint goes on that is enabled: `cursor`, where it stopped; `now`; or the first event at or after a time.",
        "type": "string",
        "examples": ["cursor", "now", "2025-02-10T12:00:00.000Z"],
    })
}

fn start(text: &str) -> Start {
    match text {
        "now" => Start::Now,
        "beginning" => Start::Beginning,
        // Text that is no id names an event that does not exist.
        id => Start::After(id.parse().unwrap_or_else(|_| MessageId::from(uuid::Uuid::nil()))),
    }
}

fn resume(text: &str) -> Result<Start, String> {
    match text {
        "cursor" => Ok(Start::Cursor),
        "now" => Ok(Start::Now),
        moment => moment.parse().map(|Moment(moment)| Start::At(moment)).map_err(|_| "must be cursor, now or a time".to_owned()),
    }
}

pub(in crate::http) struct CreateRequest(pub(super) NewEndpoint);

impl FromFields for CreateRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (url, types) = (url(fields, "url"), fields.event_types("eventTypes"));
        let description = fields.optional("description", Fields::text::<Description>);
        let max_concurrency = fields.optional("maxConcurrency", concurrency).unwrap_or(DEFAULT_CONCURRENCY);
        let ordering = fields.optional("ordering", ordering).unwrap_or(Ordering::None);
        let start = fields.optional("startFrom", |fields, field| fields.choice(field, start_schema, |text| Ok(start(text))));
        let start = start.unwrap_or(Start::Now);
        Some(Self(NewEndpoint { url: url?, types: types?, description, max_concurrency, ordering, start }))
    }
}

pub(in crate::http) struct ChangeRequest(pub(super) EndpointChange);

impl FromFields for ChangeRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let status = fields.optional("status", |fields, field| fields.word(field, &EndpointStatus::ALL.map(EndpointStatus::name)));
        let resume = fields.optional("resumeFrom", |fields, field| fields.choice(field, resume_schema, resume));
        if resume.is_some() && status != Some(EndpointStatus::Enabled) {
            fields.fault("resumeFrom", FaultCode::Excluded, "must be left out unless status is enabled");
        }
        Some(Self(EndpointChange {
            url: fields.optional("url", url),
            types: fields.optional("eventTypes", Fields::event_types),
            description: fields.removable("description", Fields::text::<Description>),
            max_concurrency: fields.optional("maxConcurrency", concurrency),
            ordering: fields.optional("ordering", ordering),
            status,
            resume,
        }))
    }
}

pub(in crate::http) struct RotateRequest {
    pub(super) overlap: Duration,
}

impl FromFields for RotateRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let about = "For how many seconds messages are signed with the present secret as well. Without it for a day.";
        let overlap = fields.optional("overlapSeconds", |fields, field| fields.whole(field, about, 0..=MAX_OVERLAP_SECONDS));
        Some(Self { overlap: overlap.map_or(DEFAULT_OVERLAP, Duration::from_secs) })
    }
}

/// A request that says nothing more than its path.
pub(in crate::http) struct Nothing;

impl FromFields for Nothing {
    fn from_fields(_: &mut Fields<'_>) -> Option<Self> {
        Some(Self)
    }
}

pub(in crate::http) struct ResendRequest {
    pub(super) endpoint: Option<WebhookEndpointId>,
}

impl FromFields for ResendRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let nothing = || WebhookEndpointId::from(uuid::Uuid::nil());
        Some(Self { endpoint: fields.optional_id("webhookEndpointId", nothing) })
    }
}

pub(in crate::http) struct ReplayRequest(pub(super) Replay);

impl FromFields for ReplayRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let (from, to) = (fields.moment("from"), fields.moment("to"));
        let only = fields.word("only", &ReplayOnly::ALL.map(ReplayOnly::name));
        let types: Option<TypeFilter> = fields.optional("eventTypes", Fields::event_types);
        let is_trial = fields.optional("dryRun", Fields::bool).unwrap_or(false);
        if let (Some(from), Some(to)) = (from, to)
            && (to <= from || to - from > MAX_REPLAY)
        {
            fields.fault("to", FaultCode::OutOfRange, "must be later than from, by at most 31 days");
        }
        Some(Self(Replay { from: from?, to: to?, only: only?, types, is_trial }))
    }
}
