//! What is measured, for Prometheus: every name is here and nowhere else, and no label holds an id.
//!
//! Without a listener nothing is recorded, and each of these costs next to nothing.

use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

const REQUESTS: &str = "core_api_http_request_duration_seconds";
const IN_FLIGHT: &str = "core_api_http_requests_in_flight";
const PROBLEMS: &str = "core_api_problems_total";
const CONNECTIONS: &str = "core_api_database_connections";
const CONNECTIONS_MAX: &str = "core_api_database_connections_max";
const CONNECTION_WAIT: &str = "core_api_database_wait_seconds";
const DATABASE_ERRORS: &str = "core_api_database_errors_total";
const BATCH_SIZE: &str = "core_api_batch_size";
const BATCH_WAIT: &str = "core_api_batch_wait_seconds";
const BATCH_DURATION: &str = "core_api_batch_duration_seconds";
const QUOTA: &str = "core_api_quota_requests_total";
const REPLAYS: &str = "core_api_idempotency_replays_total";
const LOGINS: &str = "core_api_logins_total";
const HASHES_WAITING: &str = "core_api_password_hashes_waiting";
const HASHES: &str = "core_api_password_hash_seconds";
const POSTINGS: &str = "core_api_postings_total";
const BUILD: &str = "core_api_build_info";

const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What was measured since the process began, and where it stands now.
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
    /// Connections at rest.
    pub idle: usize,
    /// Connections in use.
    pub used: usize,
    /// The most connections it opens.
    pub max: usize,
}

impl Metrics {
    /// Begins to measure. Once a process.
    ///
    /// # Errors
    /// It has begun before.
    pub fn start(environment: &'static str) -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Full(BATCH_SIZE.to_owned()), &SIZES)?
            .install_recorder()?;
        describe();
        let process = Collector::default();
        process.describe();
        gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION"), "environment" => environment).set(1.0);
        Ok(Self { handle, process })
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self, pools: &[PoolSize]) -> String {
        for PoolSize { name, idle, used, max } in pools {
            let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            gauge!(CONNECTIONS, "pool" => *name, "state" => "idle").set(number(*idle));
            gauge!(CONNECTIONS, "pool" => *name, "state" => "used").set(number(*used));
            gauge!(CONNECTIONS_MAX, "pool" => *name).set(number(*max));
        }
        self.process.collect();
        self.handle.render()
    }

    /// Makes room of what was measured. To be called every few seconds.
    pub fn tidy(&self) {
        self.handle.run_upkeep();
    }
}

fn describe() {
    describe_histogram!(REQUESTS, Unit::Seconds, "Requests by route, from the head to the answer");
    describe_gauge!(IN_FLIGHT, "Requests under way");
    describe_counter!(PROBLEMS, "Requests that were refused, by the code they were told");
    describe_gauge!(CONNECTIONS, "Connections to the database");
    describe_gauge!(CONNECTIONS_MAX, "The most connections there may be");
    describe_histogram!(CONNECTION_WAIT, Unit::Seconds, "Waits for a connection to the database");
    describe_counter!(DATABASE_ERRORS, "Failures of the database, by class of SQLSTATE or by what else failed");
    describe_histogram!(BATCH_SIZE, "Jobs that went together");
    describe_histogram!(BATCH_WAIT, Unit::Seconds, "How long the first of a batch waited for it to go");
    describe_histogram!(BATCH_DURATION, Unit::Seconds, "How long a batch took");
    describe_counter!(QUOTA, "Requests that an account's hour had room for or not");
    describe_counter!(REPLAYS, "Answers that were given again under an Idempotency-Key");
    describe_counter!(LOGINS, "Logins by outcome");
    describe_gauge!(HASHES_WAITING, "Passwords that wait to be hashed");
    describe_histogram!(HASHES, Unit::Seconds, "Hashes of passwords, from their turn on");
    describe_counter!(POSTINGS, "Movements written, by type");
    describe_gauge!(BUILD, "1, with what this is");
}

/// A request that is under way until this is dropped.
pub(crate) struct UnderWay(());

impl UnderWay {
    pub(crate) fn enter() -> Self {
        gauge!(IN_FLIGHT).increment(1);
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(1);
    }
}

/// A request was answered.
pub(crate) fn answered(method: &str, route: &str, status: u16, took: Duration, problem: Option<&'static str>) {
    // A wrong one is anybody's choice, on every route.
    let method = super::known_method(method).filter(|_| status != 405).unwrap_or("other");
    histogram!(REQUESTS, "method" => method, "route" => route.to_owned(), "status" => status.to_string()).record(took);
    if let Some(code) = problem {
        counter!(PROBLEMS, "code" => code).increment(1);
    }
}

/// A connection was waited for since then.
pub(crate) fn connected(since: Instant) {
    histogram!(CONNECTION_WAIT).record(since.elapsed());
}

/// The database failed.
pub(crate) fn database_failed(error: &sqlx::Error) {
    let class = match error {
        sqlx::Error::Database(answer) => answer.code().and_then(|state| state.get(..2).map(ToOwned::to_owned)),
        sqlx::Error::PoolTimedOut => Some("pool_timeout".to_owned()),
        sqlx::Error::Io(_) => Some("io".to_owned()),
        _ => None,
    };
    counter!(DATABASE_ERRORS, "class" => class.unwrap_or_else(|| "other".to_owned())).increment(1);
}

/// A batch goes, whose first job came then.
pub(crate) fn departed(batch: &'static str, size: usize, first_came: Instant) {
    histogram!(BATCH_SIZE, "batch" => batch).record(u32::try_from(size).unwrap_or(u32::MAX));
    histogram!(BATCH_WAIT, "batch" => batch).record(first_came.elapsed());
}

/// A batch that went then is done.
pub(crate) fn landed(batch: &'static str, since: Instant) {
    histogram!(BATCH_DURATION, "batch" => batch).record(since.elapsed());
}

/// A request met its account's quota.
pub(crate) fn met_quota(admitted: bool) {
    counter!(QUOTA, "outcome" => if admitted { "admitted" } else { "refused" }).increment(1);
}

/// An answer was given again.
pub(crate) fn replayed() {
    counter!(REPLAYS).increment(1);
}

/// A login ended so.
pub(crate) fn logged_in(outcome: &'static str) {
    counter!(LOGINS, "outcome" => outcome).increment(1);
}

/// So many passwords wait in a lane.
pub(crate) fn hashes_wait(lane: &'static str, waiting: usize) {
    gauge!(HASHES_WAITING, "lane" => lane).set(u32::try_from(waiting).unwrap_or(u32::MAX));
}

/// A password was hashed.
pub(crate) fn hashed(lane: &'static str, since: Instant) {
    histogram!(HASHES, "lane" => lane).record(since.elapsed());
}

/// A movement was written.
pub(crate) fn posted(kind: &'static str) {
    counter!(POSTINGS, "type" => kind).increment(1);
}
