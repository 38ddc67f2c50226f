//! The process: settings, database, services, router, listener, and an orderly end.

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
        self, DatabaseError, Pool, Pools,
        private::{PrivateError, PrivatePostgres},
    },
    http::{self, App, Limits},
    service::{
        self, Services,
        auth::{KeyFault, Lifetimes, LoginLimits, SigningKey, Tokens},
        deployment::Deployment,
    },
    telemetry::{
        metrics::{Metrics, PoolSize},
        scrape,
    },
};

/// The logins that every sandbox has: the published reference's test credentials, and those of
/// its integration example. Each in an account of its own.
pub const SANDBOX_LOGINS: [(&str, &str, &str); 2] =
    [("Test account", "test@example.com", "test123"), ("Example company", "admin@company.com", "secure_password")];

/// Why the process does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Production has no database of its own to fall back on.
    #[error("DATABASE_URL is not set; production needs a Postgres, such as postgres://user:password@host/name")]
    NoDatabase,
    /// The private Postgres did not come up.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The database did not.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Production signs with keys from its configuration.
    #[error("CORE_API__AUTH__SIGNING_KEYS is not set; production needs at least one key, as kid:base64 of 32 random bytes")]
    NoSigningKey,
    /// The configured keys are no good.
    #[error("CORE_API__AUTH__SIGNING_KEYS: {0}")]
    SigningKeys(#[from] KeyFault),
    /// The database belongs to the other environment.
    #[error("this database is the {found}'s and this process is {wanted}; give each environment a database of its own")]
    WrongEnvironment {
        /// What the database is.
        found: String,
        /// What this process is.
        wanted: &'static str,
    },
    /// Postgres would confirm money that it can still lose.
    #[error("the database runs with synchronous_commit = off and would lose confirmed movements; turn it on")]
    NotDurable,
    /// The address is taken or not ours.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// Measuring did not begin.
    #[error("cannot measure")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// Serving ended by itself.
    #[error("serving failed")]
    Serve(#[source] std::io::Error),
    /// A service failed while starting.
    #[error("cannot start")]
    Service(#[from] service::error::Error),
}

/// The Postgres of this process: its own, or the one it was told to use.
pub struct Postgres {
    /// How to connect.
    pub options: PgConnectOptions,
    private: Option<PrivatePostgres>,
}

// The options would show the database's password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("private", &self.private).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Finds the Postgres that the settings name, or starts the sandbox's own.
    ///
    /// # Errors
    /// None is named in production, or the private one does not start.
    pub async fn open(settings: &Settings) -> Result<Self, StartError> {
        if let Some(url) = &settings.database.url {
            return Ok(Self { options: database::options(url)?, private: None });
        }
        if settings.environment == Environment::Production {
            return Err(StartError::NoDatabase);
        }
        let private = PrivatePostgres::start(&settings.database.data_dir, &[]).await?;
        Ok(Self { options: private.options(), private: Some(private) })
    }

    /// Stops it if it is this process' own.
    ///
    /// # Errors
    /// It does not end.
    pub fn close(self) -> Result<(), StartError> {
        Ok(self.private.map_or(Ok(()), PrivatePostgres::stop)?)
    }
}

/// A server that is ready to serve.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    limits: Limits,
    /// Where it is watched, if it is.
    watched: Option<(TcpListener, Metrics)>,
    router: Router,
    app: App,
    services: Services,
    pools: Pools,
    linger: Duration,
    drain: Duration,
}

impl Server {
    /// Migrates the database, wires everything and listens.
    ///
    /// # Errors
    /// Whatever would make serving unsafe or impossible.
    pub async fn start(settings: &Settings, options: PgConnectOptions) -> Result<Self, StartError> {
        // Before anything is touched: a production without keys leaves no trace.
        let configured = settings.auth.signing_keys.as_ref().map(SigningKey::parse_list).transpose()?;
        if configured.is_none() && settings.environment == Environment::Production {
            return Err(StartError::NoSigningKey);
        }
        let pool = prepare(settings, options).await?;
        let keys = claim(settings.environment, configured, &Deployment::new(pool.clone())).await?;
        let lifetimes = Lifetimes {
            token: Duration::from_secs(settings.auth.token_ttl_seconds),
            session: Duration::from_secs(settings.auth.session_ttl_seconds),
        };
        let tokens = Tokens::new(&keys, &settings.auth.issuer, settings.environment.name())?;
        let logins = LoginLimits {
            per_email_and_source: settings.rate_limit.failed_logins_per_email_and_address,
            per_email: settings.rate_limit.failed_logins_per_email,
            per_source: settings.rate_limit.failed_logins_per_address,
        };
        let pools = Pools { batches: database::pool_for_lists(&pool, batches(settings)), requests: pool };
        let services = Services::new(&pools, tokens, lifetimes, logins, settings.rate_limit.per_hour)?;
        if settings.environment == Environment::Sandbox {
            seed(&services).await?;
        }
        let app = App::new(services.clone(), settings);
        let router = http::router(app.clone());
        let listen = settings.server.listen;
        let listener = bind(listen).await?;
        let watched = match settings.metrics.listen {
            Some(address) => Some((bind(address).await?, Metrics::start(settings.environment.name())?)),
            None => None,
        };
        Ok(Self {
            listener,
            watched,
            limits: settings.into(),
            router,
            app,
            services,
            pools,
            linger: Duration::from_secs(settings.server.linger_seconds),
            drain: Duration::from_secs(settings.server.drain_seconds),
        })
    }

    /// Where a client on this machine reaches it.
    ///
    /// # Errors
    /// The listener is gone.
    pub fn address(&self) -> Result<SocketAddr, StartError> {
        let address = self.listener.local_addr().map_err(StartError::Serve)?;
        let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
        Ok(SocketAddr::new(ip, address.port()))
    }

    /// Serves until `stop` is done, then ends what is under way, for as long as settings allow.
    ///
    /// # Errors
    /// Serving ends by itself.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), StartError> {
        let (stopping, mut stopped) = watch::channel(false);
        let (app, serving_app) = (self.app.clone(), self.app.clone());
        let sweeping = tokio::spawn(self.app.sweep());
        let forgetting = tokio::spawn(forget(self.services, self.pools.clone()));
        let watching = self.watched.map(|(listener, metrics)| {
            let pools = self.pools.clone();
            tokio::spawn(scrape::serve(listener, metrics, move || pool_sizes(&pools)))
        });
        let serving = tokio::spawn(http::serve(self.listener, serving_app, self.router, self.limits, async move {
            stop.await;
            app.shut_down();
            tracing::info!("shutting down");
            // Whoever balances the load finds out by asking, and until then sends requests here.
            tokio::time::sleep(self.linger).await;
            stopping.send_replace(true);
        }));
        let overdue = async {
            // The sender is kept by the future that is being served, or dropped with it.
            drop(stopped.wait_for(|stopping| *stopping).await);
            tokio::time::sleep(self.drain).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(std::io::Error::other).map_err(StartError::Serve),
            () = overdue => {
                tracing::warn!("requests were still running when the time to drain was over");
                Ok(())
            }
        };
        sweeping.abort();
        forgetting.abort();
        if let Some(watching) = watching {
            watching.abort();
        }
        served
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error))
}

/// What the metrics say of the pools.
fn pool_sizes(pools: &Pools) -> [PoolSize; 2] {
    [("requests", &pools.requests), ("batches", &pools.batches)].map(|(name, pool)| {
        let status = pool.status();
        PoolSize { name, idle: status.available, used: status.size.saturating_sub(status.available), max: status.max_size }
    })
}

/// Deletes expired rows in small batches and closes idle connections. Runs until it is dropped; between two batches it
/// holds no connection.
async fn forget(services: Services, pools: Pools) {
    loop {
        let more = services.purge_expired().await.unwrap_or_else(|error| {
            tracing::warn!(cause = service::error::chain(&error), "what is over could not be deleted; trying again later");
            false
        });
        pools.close_unused();
        let pause = if more { Duration::from_millis(100) } else { Duration::from_secs(60) };
        tokio::time::sleep(pause).await;
    }
}

/// Brings the schema of a database up to date, if it is this environment's or nobody's yet, and opens a pool on it.
///
/// # Errors
/// It is another environment's, which is then left as it is; or it is away.
pub async fn prepare(settings: &Settings, options: PgConnectOptions) -> Result<Pool, StartError> {
    database::wait_for(&options).await?;
    let acquire_timeout = Duration::from_millis(settings.database.acquire_timeout_ms);
    let connections = settings.database.max_connections.saturating_sub(batches(settings)).max(1);
    let pool = database::pool(options.clone(), connections, acquire_timeout);
    if let Some(found) = Deployment::new(pool.clone()).environment().await? {
        refuse_another(&found, settings.environment)?;
    }
    database::migrate(&options).await?;
    Ok(pool)
}

/// How many of the connections are for batches: at most half.
fn batches(settings: &Settings) -> u32 {
    Services::BATCHES.min(settings.database.max_connections / 2).max(1)
}

fn refuse_another(found: &str, environment: Environment) -> Result<(), StartError> {
    if found == environment.name() {
        return Ok(());
    }
    Err(StartError::WrongEnvironment { found: found.to_owned(), wanted: environment.name() })
}

/// Makes sure that the database is this environment's; tells the keys to sign with.
async fn claim(
    environment: Environment,
    configured: Option<Vec<SigningKey>>,
    deployment: &Deployment,
) -> Result<Vec<SigningKey>, StartError> {
    let own: [u8; 32] = rand::random();
    let own = (environment == Environment::Sandbox).then(|| own.to_vec().into());
    let claimed = deployment.claim(environment.name(), own).await?;
    refuse_another(&claimed.environment, environment)?;
    if environment == Environment::Production && !deployment.commits_durably().await? {
        return Err(StartError::NotDurable);
    }
    match (configured, claimed.sandbox_signing_key) {
        (Some(keys), _) => Ok(keys),
        (None, Some(key)) => Ok(vec![SigningKey::new("sandbox", key)?]),
        (None, None) => Err(StartError::NoSigningKey),
    }
}

async fn seed(services: &Services) -> Result<(), StartError> {
    for (account, email, password) in SANDBOX_LOGINS {
        let invalid = |_| service::error::Error::internal("seeding the sandbox", "a seeded login is not valid");
        let (name, email) = (account.parse().map_err(invalid)?, email.parse().map_err(invalid)?);
        services.users.seed(&name, &email, &SecretString::from(password)).await?;
    }
    Ok(())
}
