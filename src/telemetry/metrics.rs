//! Metrics for Prometheus. Every metric name is defined here, and no label holds an id.
//!
//! Without a listener no recorder is installed, and each of these calls costs almost nothing.

use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

const REQUESTS: &str = "core_api_http_request_duration_seconds";
const IN_FLIGHT: &str = "core_api_http_requests_in_flight";
const PROBLEMS: &str = "core_api_problems_total";
const CONNECTIONS: &str = "core_api_database_connections";
const CONNECTIONS_MAX: &str = "core_api_database_connections_max";
const CONNECTIONS_SILENT: &str = "core_api_database_connections_silent";
const CONNECTION_WAIT: &str = "core_api_database_connection_wait_seconds";
const DATABASE_ERRORS: &str = "core_api_database_errors_total";
const BATCH_SIZE: &str = "core_api_batch_size";
const BATCH_WAIT: &str = "core_api_batch_wait_seconds";
const BATCH_DURATION: &str = "core_api_batch_duration_seconds";
const QUOTA: &str = "core_api_quota_requests_total";
const GATEWAYS: &str = "core_api_gateway_requests_total";
const REPLAYS: &str = "core_api_idempotency_replays_total";
const LOGINS: &str = "core_api_logins_total";
const HASHES_WAITING: &str = "core_api_password_hashes_waiting";
const HASHES: &str = "core_api_password_hash_duration_seconds";
const POSTINGS: &str = "core_api_postings_total";
const AUTHORIZATIONS: &str = "core_api_authorizations_total";
const AUTHORIZATION_STEPS: &str = "core_api_authorization_steps_total";
const HOLDS_EXPIRED: &str = "core_api_holds_expired_total";
const HOLDS_OVERDUE: &str = "core_api_holds_overdue_seconds";
const HELD: &str = "core_api_held_money";
const WEBHOOK_ATTEMPTS: &str = "core_api_webhook_attempts_total";
const WEBHOOK_LAG: &str = "core_api_webhook_lag_seconds";
const WEBHOOKS_DISABLED: &str = "core_api_webhook_endpoints_disabled_total";
const WEBHOOK_ENDPOINTS: &str = "core_api_webhook_endpoints";
const WEBHOOK_OLDEST: &str = "core_api_webhook_oldest_pending_seconds";
const BUILD: &str = "core_api_build_info";

const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
// An event arrives within a second, or after the attempts that failed before.
const LAGS: [f64; 15] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0];
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The metrics of this process since it started.
#[derive(Clone, Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
    process: Collector,
}

/// The connections of one pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSize {
    /// The pool's name.
    pub name: &'static str,
    /// Idle connections.
    pub idle: usize,
    /// Connections in use.
    pub used: usize,
    /// The maximum number of connections.
    pub max: usize,
}

impl Metrics {
    /// Installs the recorder, once per process.
    ///
    /// # Errors
    /// The process already has a recorder.
    pub fn start(environment: &'static str) -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            // An exact name takes precedence over a suffix.
            .set_buckets_for_metric(Matcher::Full(WEBHOOK_LAG.to_owned()), &LAGS)?
            .set_buckets_for_metric(Matcher::Full(BATCH_SIZE.to_owned()), &SIZES)?
            .install_recorder()?;
        describe();
        let process = Collector::default();
        process.describe();
        gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION"), "environment" => environment).set(1.0);
        Ok(Self { handle, process })
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self, pools: &[PoolSize]) -> String {
        for PoolSize { name, idle, used, max } in pools {
            let gauge_value = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            gauge!(CONNECTIONS, "pool" => *name, "state" => "idle").set(gauge_value(*idle));
            gauge!(CONNECTIONS, "pool" => *name, "state" => "used").set(gauge_value(*used));
            gauge!(CONNECTIONS_MAX, "pool" => *name).set(gauge_value(*max));
        }
        self.process.collect();
        self.handle.render()
    }

    /// Aggregates recorded samples to free their memory. Call it every few seconds.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn describe() {
    describe_histogram!(REQUESTS, Unit::Seconds, "Duration of requests by route, from the head to the response");
    describe_gauge!(IN_FLIGHT, "Requests in flight");
    describe_counter!(PROBLEMS, "Failed requests, by problem code");
    describe_gauge!(CONNECTIONS, "Connections to the database");
    describe_gauge!(CONNECTIONS_MAX, "The maximum number of connections to the database");
    describe_gauge!(CONNECTIONS_SILENT, "Connections whose last statement does not answer; from 3 on, writes are refused");
    describe_histogram!(CONNECTION_WAIT, Unit::Seconds, "Waits for a connection to the database");
    describe_counter!(DATABASE_ERRORS, "Database errors, by class of SQLSTATE or by kind of failure");
    describe_histogram!(BATCH_SIZE, "Jobs per batch");
    describe_histogram!(BATCH_WAIT, Unit::Seconds, "How long the first job of a batch waited for it to start");
    describe_histogram!(BATCH_DURATION, Unit::Seconds, "How long a batch took");
    describe_counter!(QUOTA, "Requests checked against their account's hourly quota, by outcome");
    describe_counter!(GATEWAYS, "Requests checked against the bucket of a gateway's API key, by outcome");
    describe_counter!(REPLAYS, "Stored responses that were replayed under an Idempotency-Key");
    describe_counter!(LOGINS, "Logins by outcome");
    describe_gauge!(HASHES_WAITING, "Passwords waiting to be hashed");
    describe_histogram!(HASHES, Unit::Seconds, "Duration of a password hash, without its wait");
    describe_counter!(POSTINGS, "Movements written, by type");
    describe_counter!(AUTHORIZATIONS, "Decided authorisations and single-message purchases, by outcome and decline code");
    describe_counter!(AUTHORIZATION_STEPS, "Steps of authorisations after the decision, by kind of entry");
    describe_counter!(HOLDS_EXPIRED, "Holds that the sweeper expired; the steps of kind expiry are all that expired");
    describe_gauge!(HOLDS_OVERDUE, Unit::Seconds, "How long the oldest hold that is due waits for the sweeper; 0 if none is");
    describe_gauge!(HELD, "Money held on cards by currency, in its units, as the sweeper of this replica last saw it");
    describe_counter!(WEBHOOK_ATTEMPTS, "Attempts to send a webhook, by outcome");
    describe_histogram!(WEBHOOK_LAG, Unit::Seconds, "How long after it happened an event was delivered");
    describe_counter!(WEBHOOKS_DISABLED, "Webhook endpoints that were disabled because they failed or are gone, by reason");
    describe_gauge!(WEBHOOK_ENDPOINTS, "Webhook endpoints, by state, as this replica last counted them");
    describe_gauge!(WEBHOOK_OLDEST, Unit::Seconds, "The age of the oldest event that an enabled endpoint has not got; 0 if there is none");
    describe_gauge!(BUILD, "Always 1; the labels identify the build");
}

/// Counts a request as in flight until it is dropped.
pub(crate) struct InFlight(());

impl InFlight {
    pub(crate) fn enter() -> Self {
        gauge!(IN_FLIGHT).increment(1);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(1);
    }
}

/// Records a finished request.
pub(crate) fn request_finished(method: &str, route: &str, status: u16, took: Duration, problem: Option<&'static str>) {
    // Clients choose the method freely, so an unsupported one must not become a label.
    let method = super::known_method(method).filter(|_| status != 405).unwrap_or("other");
    histogram!(REQUESTS, "method" => method, "route" => route.to_owned(), "status" => status.to_string()).record(took);
    if let Some(code) = problem {
        counter!(PROBLEMS, "code" => code).increment(1);
    }
}

/// Records a wait for a connection that began at `since`.
pub(crate) fn connection_acquired(since: Instant) {
    histogram!(CONNECTION_WAIT).record(since.elapsed());
}

/// Records how many connections do not answer.
pub(crate) fn silent_connections(count: usize) {
    gauge!(CONNECTIONS_SILENT).set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// Records a database error.
pub(crate) fn database_failed(error: &sqlx::Error) {
    let class = match error {
        sqlx::Error::Database(answer) => answer.code().and_then(|state| state.get(..2).map(ToOwned::to_owned)),
        sqlx::Error::PoolTimedOut => Some("pool_timeout".to_owned()),
        sqlx::Error::Io(_) => Some("io".to_owned()),
        _ => None,
    };
    counter!(DATABASE_ERRORS, "class" => class.unwrap_or_else(|| "other".to_owned())).increment(1);
}

/// Records a batch that starts now and whose first job arrived at `first_arrived`.
pub(crate) fn batch_started(batch: &'static str, size: usize, first_arrived: Instant) {
    histogram!(BATCH_SIZE, "batch" => batch).record(u32::try_from(size).unwrap_or(u32::MAX));
    histogram!(BATCH_WAIT, "batch" => batch).record(first_arrived.elapsed());
}

/// Records a finished batch that started at `since`.
pub(crate) fn batch_finished(batch: &'static str, since: Instant) {
    histogram!(BATCH_DURATION, "batch" => batch).record(since.elapsed());
}

/// Records whether a request fitted its account's quota.
pub(crate) fn quota_checked(admitted: bool) {
    counter!(QUOTA, "outcome" => if admitted { "admitted" } else { "refused" }).increment(1);
}

/// Records whether a request fitted the bucket of a gateway's API key.
pub(crate) fn gateway_checked(admitted: bool) {
    counter!(GATEWAYS, "outcome" => if admitted { "admitted" } else { "refused" }).increment(1);
}

/// Records a replayed response.
pub(crate) fn replayed() {
    counter!(REPLAYS).increment(1);
}

/// Records the outcome of a login.
pub(crate) fn login_finished(outcome: &'static str) {
    counter!(LOGINS, "outcome" => outcome).increment(1);
}

/// Records how many passwords wait in a lane.
pub(crate) fn hashes_waiting(lane: &'static str, waiting: usize) {
    gauge!(HASHES_WAITING, "lane" => lane).set(u32::try_from(waiting).unwrap_or(u32::MAX));
}

/// Records a password hash that started at `since`.
pub(crate) fn hash_finished(lane: &'static str, since: Instant) {
    histogram!(HASHES, "lane" => lane).record(since.elapsed());
}

/// Records a written movement.
pub(crate) fn posting_written(kind: &'static str) {
    counter!(POSTINGS, "type" => kind).increment(1);
}

/// Records a decided authorisation or single-message purchase. `outcome` is `approved`, `partial`, `declined`, `verified`
/// or `stand_in`, and `code` is the decline code, or `none`.
pub(crate) fn authorization_decided(outcome: &'static str, code: &'static str) {
    counter!(AUTHORIZATIONS, "outcome" => outcome, "code" => code).increment(1);
}

/// Records a step of an authorisation after its decision. `kind` is that of the entry, such as `capture`.
pub(crate) fn authorization_step(kind: &'static str) {
    counter!(AUTHORIZATION_STEPS, "kind" => kind).increment(1);
}

/// Records holds that the sweeper expired.
pub(crate) fn holds_expired(count: u64) {
    counter!(HOLDS_EXPIRED).increment(count);
}

/// Records how long ago the oldest hold that is due, but not yet expired, should have expired.
pub(crate) fn holds_overdue(by: Duration) {
    gauge!(HOLDS_OVERDUE).set(by);
}

/// Records an attempt to send a webhook.
pub(crate) fn webhook_attempted(outcome: &'static str) {
    counter!(WEBHOOK_ATTEMPTS, "outcome" => outcome).increment(1);
}

/// Records how long after it happened an event was delivered.
pub(crate) fn webhook_delivered(lag: Duration) {
    histogram!(WEBHOOK_LAG).record(lag);
}

/// Records that an endpoint was disabled by this process. `reason` is `failing` or `gone`.
pub(crate) fn webhook_endpoint_disabled(reason: &'static str) {
    counter!(WEBHOOKS_DISABLED, "reason" => reason).increment(1);
}

/// Records how many endpoints are in a state: `healthy`, `failing` or `disabled`.
pub(crate) fn webhook_endpoints(state: &'static str, count: u32) {
    gauge!(WEBHOOK_ENDPOINTS, "state" => state).set(count);
}

/// Records the age of the oldest event that is not delivered to an endpoint that is enabled.
pub(crate) fn webhook_oldest_pending(age: Duration) {
    gauge!(WEBHOOK_OLDEST).set(age);
}

/// Records the money that is held in a currency. `minor_units` is its sum over all cards.
pub(crate) fn money_held(currency: &'static str, minor_units: i64) {
    // A gauge is a float: above 2^53 minor units it is rounded, which a graph does not show.
    #[expect(clippy::cast_precision_loss, clippy::float_arithmetic, reason = "a graph does not need the last cent")]
    gauge!(HELD, "currency" => currency).set(minor_units as f64 / 100.0);
}
