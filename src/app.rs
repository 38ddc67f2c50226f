//! The process: settings, database, services, router, listener and graceful shutdown.

mod background;
mod webhooks;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::Router;
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    config::{Environment, Settings},
    database::{
        self, DatabaseError, Pool, Pools, Verification,
        private::{PrivateError, PrivatePostgres, SERVING_ROLE},
    },
    http::{self, App, Limits},
    service::{
        self, Retention, Services,
        admission::RequestLimits,
        auth::{KeyFault, Lifetimes, LoginLimits, SigningKey, Tokens},
        deployment::Deployment,
        webhooks::Dispatcher,
    },
    telemetry::{
        metrics::{Metrics, PoolSize},
        scrape,
    },
};

/// The logins that every sandbox has: the published reference's test credentials and those of its
/// integration example. Each belongs to its own account.
pub const SANDBOX_LOGINS: [(&str, &str, &str); 2] =
    [("Test account", "test@example.com", "test123"), ("Example company", "admin@company.com", "secure_password")];

/// Why the process cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Production never starts a database itself.
    #[error("DATABASE_URL is not set; production needs a Postgres, such as postgres://user:password@host:5432/name")]
    NoDatabase,
    /// The private Postgres did not start.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The database could not be reached or migrated.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Production takes its signing keys from its configuration.
    #[error(
        "CORE_API__AUTH__SIGNING_KEYS is not set; production needs at least one key, as kid:base64 of 32 random bytes, such as \
         k1:$(openssl rand -base64 32)"
    )]
    NoSigningKey,
    /// The configured keys are not valid.
    #[error(
        "CORE_API__AUTH__SIGNING_KEYS takes kid:base64,kid:base64 of 32 random bytes each, such as k1:$(openssl rand -base64 32), but {0}"
    )]
    SigningKeys(#[from] KeyFault),
    /// The database belongs to the other environment.
    #[error("this database is the {found}'s, but this process runs as {wanted}; give each environment its own database")]
    WrongEnvironment {
        /// The environment that the database belongs to.
        found: String,
        /// The environment of this process.
        wanted: &'static str,
    },
    /// The configured keys of webhooks are not valid.
    #[error(
        "CORE_API__WEBHOOKS__SECRET_KEYS takes kid:base64,kid:base64 of 32 random bytes each, such as w1:$(openssl rand -base64 32), but {0}"
    )]
    WebhookKeys(#[source] KeyFault),
    /// Endpoints have secrets of keys that are not configured.
    #[error(
        "webhook endpoints have secrets that are derived from keys which CORE_API__WEBHOOKS__SECRET_KEYS does not have: {0}; add them, or their messages cannot be signed"
    )]
    WebhookKeysMissing(String),
    /// Postgres would confirm commits that a crash can still lose.
    #[error("the database runs with synchronous_commit = off and would lose confirmed movements; turn it on")]
    NotDurable,
    /// The address is in use, or is not an address of this machine.
    #[error("{key} is {address}, on which this process cannot listen")]
    Listen {
        /// The key that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why it cannot.
        source: std::io::Error,
    },
    /// The metrics recorder could not be installed.
    #[error("cannot record metrics")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The server stopped unexpectedly.
    #[error("the server stopped unexpectedly")]
    Serve(#[source] std::io::Error),
    /// A service could not start.
    #[error("cannot start")]
    Service(#[from] service::error::Error),
}

/// The Postgres of this process: a private one, or the one that the settings name.
pub struct Postgres {
    /// How to connect.
    pub options: PgConnectOptions,
    private: Option<PrivatePostgres>,
}

// The options contain the database password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("private", &self.private).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Uses the Postgres that the settings name, or starts a private one for the sandbox.
    ///
    /// # Errors
    /// Production names no Postgres, or the private one does not start.
    pub async fn open(settings: &Settings) -> Result<Self, StartError> {
        if let Some(url) = &settings.database.url {
            let options = database::options(url, verification(settings)).map_err(DatabaseError::from)?;
            return Ok(Self { options, private: None });
        }
        if settings.environment == Environment::Production {
            return Err(StartError::NoDatabase);
        }
        let private = PrivatePostgres::start(&settings.database.data_dir, &[]).await?;
        // The server then runs as a role that cannot change the schema.
        database::migrate(&private.options(), Some(SERVING_ROLE)).await?;
        Ok(Self { options: private.serving_options(), private: Some(private) })
    }

    /// Stops a private Postgres; leaves any other alone.
    ///
    /// # Errors
    /// Postgres does not stop.
    pub fn close(self) -> Result<(), StartError> {
        Ok(self.private.map_or(Ok(()), PrivatePostgres::stop)?)
    }
}

/// Whether a connection to a database on another machine must be verified.
const fn verification(settings: &Settings) -> Verification {
    match (settings.environment, settings.database.allow_unverified_tls) {
        (Environment::Sandbox, _) => Verification::Optional,
        (Environment::Production, true) => Verification::Default,
        (Environment::Production, false) => Verification::Required,
    }
}

/// A server that is ready to serve.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    limits: Limits,
    /// The listener for metrics, if it is enabled.
    metrics: Option<(TcpListener, Metrics)>,
    router: Router,
    sandbox_keys: Vec<Option<SecretString>>,
    app: App,
    services: Services,
    pools: Pools,
    dispatcher: Dispatcher,
    /// The connections of the dispatcher.
    sending: Pool,
    retention: Retention,
    linger: Duration,
    drain: Duration,
    /// How often holds are looked for that are due.
    sweep: Duration,
}

impl Server {
    /// Migrates the database, builds the services and starts listening.
    ///
    /// # Errors
    /// Anything that makes serving unsafe or impossible.
    pub async fn start(settings: &Settings, options: PgConnectOptions) -> Result<Self, StartError> {
        // Checked before the database is touched: a production process without keys changes nothing.
        let configured = settings.auth.signing_keys.as_ref().map(SigningKey::parse_list).transpose()?;
        if configured.is_none() && settings.environment == Environment::Production {
            return Err(StartError::NoSigningKey);
        }
        let pool = prepare(settings, options).await?;
        let keys = claim(settings.environment, configured, &Deployment::new(pool.clone())).await?;
        let lifetimes = Lifetimes {
            token: Duration::from_secs(settings.auth.token_ttl_seconds),
            session: Duration::from_secs(settings.auth.session_ttl_seconds),
            refreshes_per_session: settings.rate_limit.refreshes_per_session,
            refreshes_per_account: settings.rate_limit.refreshes_per_account,
        };
        let tokens = Tokens::new(&keys, &settings.auth.issuer, settings.environment.name())?;
        let logins = LoginLimits {
            per_email_and_source: settings.rate_limit.failed_logins_per_email_and_address,
            per_email: settings.rate_limit.failed_logins_per_email,
            per_source: settings.rate_limit.failed_logins_per_address,
        };
        let pools = Pools { batches: database::pool_for_lists(&pool, batch_connections(settings)), requests: pool };
        let requests =
            RequestLimits { per_hour: settings.rate_limit.per_hour, per_gateway_and_second: settings.api_keys.requests_per_second };
        let hold_times = settings.authorization.hold_times();
        let for_webhooks = (webhooks::egress(settings)?, webhooks::keys(settings, &keys)?);
        let services = Services::new(&pools, settings.environment, tokens, lifetimes, logins, hold_times, requests, for_webhooks)?;
        webhooks::require_keys(&services).await?;
        let (dispatcher, sending) = webhooks::dispatcher(&services, &pools.requests, settings);
        let sandbox_keys = match (settings.environment, keys.first()) {
            (Environment::Sandbox, Some(signing_key)) => seed(&services, signing_key).await?,
            _ => Vec::new(),
        };
        let app = App::new(services.clone(), settings);
        let router = http::router(app.clone());
        let listen = settings.server.listen;
        let listener = bind("server.listen", listen).await?;
        let metrics = match settings.metrics.listen {
            Some(address) => Some((bind("metrics.listen", address).await?, Metrics::start(settings.environment.name())?)),
            None => None,
        };
        Ok(Self {
            listener,
            metrics,
            limits: settings.into(),
            router,
            sandbox_keys,
            app,
            services,
            pools,
            dispatcher,
            sending,
            retention: Retention {
                idempotency_keys: Duration::from_secs(settings.retention.idempotency_keys_seconds),
                sessions: Duration::from_secs(settings.retention.sessions_seconds),
                audit_events: Some(settings.retention.audit_events_seconds).filter(|age| *age > 0).map(Duration::from_secs),
                events: Duration::from_secs(settings.retention.events_seconds),
                webhooks: Duration::from_secs(settings.retention.webhooks_seconds),
            },
            linger: Duration::from_secs(settings.server.linger_seconds),
            drain: Duration::from_secs(settings.server.drain_seconds),
            sweep: Duration::from_secs(settings.authorization.sweep_seconds),
        })
    }

    /// The address at which a client on this machine reaches the server.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn address(&self) -> Result<SocketAddr, StartError> {
        let address = self.listener.local_addr().map_err(StartError::Serve)?;
        let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
        Ok(SocketAddr::new(ip, address.port()))
    }

    /// The sandbox's keys of gateways: one for each of [`SANDBOX_LOGINS`], unless somebody has revoked or rolled it. None in
    /// production.
    pub fn sandbox_keys(&self) -> &[Option<SecretString>] {
        &self.sandbox_keys
    }

    /// Serves until `stop` completes, then finishes requests in flight for at most `drain_seconds`.
    ///
    /// # Errors
    /// The server stops unexpectedly.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), StartError> {
        let (drain_started, mut draining) = watch::channel(false);
        let (app, serving_app) = (self.app.clone(), self.app.clone());
        let sweeping = tokio::spawn(self.app.sweep());
        let (stop_sending, sending) = webhooks::start(self.dispatcher);
        let reporting = tokio::spawn(background::report_webhooks(self.services.webhooks.clone()));
        let watching = tokio::spawn(self.services.events.clone().watch());
        let expiring = tokio::spawn(background::expire_holds(self.services.ledger.clone(), self.sweep));
        let purging = tokio::spawn(background::maintain(self.services, self.pools.clone(), self.retention));
        let scraping = self.metrics.map(|(listener, metrics)| {
            let (pools, sending) = (self.pools.clone(), self.sending.clone());
            tokio::spawn(scrape::serve(listener, metrics, move || pool_sizes(&pools, &sending)))
        });
        let serving = tokio::spawn(http::serve(self.listener, serving_app, self.router, self.limits, async move {
            stop.await;
            app.shut_down();
            stop_sending.send_replace(true);
            tracing::info!("shutting down");
            // The load balancer sends requests here until its next health check.
            tokio::time::sleep(self.linger).await;
            drain_started.send_replace(true);
        }));
        let overdue = async {
            // The serving task owns the sender. If it drops the sender without sending, draining starts as well.
            drop(draining.wait_for(|started| *started).await);
            tokio::time::sleep(self.drain).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(std::io::Error::other).map_err(StartError::Serve),
            () = overdue => {
                tracing::warn!("requests were still in flight when the drain timeout expired");
                Ok(())
            }
        };
        // An attempt takes no longer than its timeout, and what it came to is worth waiting for.
        drop(tokio::time::timeout(self.drain, sending).await);
        sweeping.abort();
        watching.abort();
        reporting.abort();
        expiring.abort();
        purging.abort();
        if let Some(scraping) = scraping {
            scraping.abort();
        }
        served
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { key, address, source })
}

/// The sizes of the pools, for the metrics.
fn pool_sizes(pools: &Pools, sending: &Pool) -> [PoolSize; 3] {
    [("requests", &pools.requests), ("batches", &pools.batches), ("webhooks", sending)].map(|(name, pool)| {
        let status = pool.status();
        PoolSize { name, idle: status.available, used: status.size.saturating_sub(status.available), max: status.max_size }
    })
}

/// Brings a database's schema up to date and opens a pool on it. The database must be new or belong to this environment.
///
/// # Errors
/// The database belongs to the other environment, and is then not changed, or it is not reachable.
pub async fn prepare(settings: &Settings, options: PgConnectOptions) -> Result<Pool, StartError> {
    database::wait_for(&options).await?;
    let acquire_timeout = Duration::from_millis(settings.database.acquire_timeout_ms);
    let connections = settings.database.max_connections.saturating_sub(batch_connections(settings)).max(1);
    let open = if settings.database.sharded { database::pool_on_shards } else { database::pool };
    let pool = open(options.clone(), connections, acquire_timeout);
    if let Some(found) = Deployment::new(pool.clone()).environment().await? {
        require_environment(&found, settings.environment)?;
    }
    database::migrate(&options, settings.database.serving_role.as_deref()).await?;
    database::require_distribution(&options, settings.database.sharded).await?;
    Ok(pool)
}

/// The number of connections that are reserved for batches: at most half.
fn batch_connections(settings: &Settings) -> u32 {
    Services::BATCHES.min(settings.database.max_connections / 2).max(1)
}

fn require_environment(found: &str, environment: Environment) -> Result<(), StartError> {
    if found == environment.name() {
        return Ok(());
    }
    Err(StartError::WrongEnvironment { found: found.to_owned(), wanted: environment.name() })
}

/// Claims the database for this environment and returns the signing keys.
async fn claim(
    environment: Environment,
    configured: Option<Vec<SigningKey>>,
    deployment: &Deployment,
) -> Result<Vec<SigningKey>, StartError> {
    let new_key: [u8; 32] = rand::random();
    let new_key = (environment == Environment::Sandbox).then(|| new_key.to_vec().into());
    let claimed = deployment.claim(environment.name(), new_key).await?;
    require_environment(&claimed.environment, environment)?;
    if environment == Environment::Production && !deployment.commits_durably().await? {
        return Err(StartError::NotDurable);
    }
    if environment == Environment::Production && deployment.may_change_the_ledger().await? {
        tracing::warn!(
            "this server's database role could change movements or drop the triggers that guard them; \
             let `core-api migrate` run as the owner of the schema, and serve as the role that database.serving_role names"
        );
    }
    match (configured, claimed.sandbox_signing_key) {
        (Some(keys), _) => Ok(keys),
        (None, Some(key)) => Ok(vec![SigningKey::new("sandbox", key)?]),
        (None, None) => Err(StartError::NoSigningKey),
    }
}

/// Seeds the sandbox's logins, and a gateway's key for the account of each.
async fn seed(services: &Services, signing_key: &SigningKey) -> Result<Vec<Option<SecretString>>, StartError> {
    let invalid = |_| service::error::Error::internal("seeding the sandbox", "a seeded name is not valid");
    let key_name = "Sandbox gateway".parse().map_err(invalid)?;
    let mut keys = Vec::new();
    for (account, email, password) in SANDBOX_LOGINS {
        let (name, email) = (account.parse().map_err(invalid)?, email.parse().map_err(invalid)?);
        let account = services.users.seed(&name, &email, &SecretString::from(password)).await?;
        keys.push(services.api_keys.seed(account, &key_name, signing_key).await?);
    }
    Ok(keys)
}
