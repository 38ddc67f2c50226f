//! A database and the replicas that serve it.

use std::collections::HashMap;

use core_api::domain::{actor::Actor as AuditActor, id::AccountId, role::Role};
use core_api::{
    app::Server,
    config::Settings,
    service::{
        accounts::Accounts,
        auth::{NewPassword, Passwords},
        users::{NewUser, Users},
    },
};
use secrecy::SecretString;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::oneshot;

use super::{Actor, Database};

/// The password of every user that a test creates.
pub const PASSWORD: &str = "a long enough password";

/// The settings of a test's server: the sandbox's, on a free port.
pub fn settings() -> Settings {
    let variables = [
        ("CORE_API__SERVER__LISTEN", "127.0.0.1:0"),
        ("CORE_API__SERVER__DRAIN_SECONDS", "2"),
        ("CORE_API__LOG__LEVEL", "off"),
        ("CORE_API__DATABASE__MAX_CONNECTIONS", "8"),
    ];
    let variables: HashMap<String, String> = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings::from_variables(variables).expect("valid settings")
}

/// Raises the quota beyond what any test uses.
pub fn without_quota(settings: &mut Settings) {
    settings.rate_limit.per_hour = 1_000_000.try_into().expect("above zero");
}

/// Trusts the `X-Forwarded-For` of this machine, so that a test can send requests as a proxy would.
pub fn behind_a_proxy(settings: &mut Settings) {
    settings.server.trusted_proxies = "127.0.0.0/8".parse().expect("a network");
}

/// Lets a request wait so long for a database connection that a slow machine rejects none.
pub fn patient(settings: &mut Settings) {
    settings.database.acquire_timeout_ms = 20_000;
}

/// A database and its replicas. Dropping it stops them.
pub struct World {
    pub database: Database,
    pub settings: Settings,
    replicas: Vec<Replica>,
}

struct Replica {
    base: String,
    stop: Option<oneshot::Sender<()>>,
}

impl World {
    /// One replica with the sandbox's settings.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// One replica, and the admin of the first seeded account.
    pub async fn with_admin() -> (Self, Actor) {
        let world = Self::new().await;
        let admin = world.admin().await;
        (world, admin)
    }

    /// One replica, and the admins of both seeded accounts.
    pub async fn with_two_accounts() -> (Self, Actor, Actor) {
        let (world, admin) = Self::with_admin().await;
        let other = world.other_admin().await;
        (world, admin, other)
    }

    /// One replica with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(Database::new().await, change).await
    }

    /// Several replicas on one database.
    pub async fn of_replicas(count: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let mut world = Self::with(change).await;
        for _ in 1..count {
            world.add_replica().await;
        }
        world
    }

    /// One replica on an existing database.
    pub async fn on(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        settings.database.sharded = database.is_sharded;
        change(&mut settings);
        database.migrate().await;
        let mut world = Self { database, settings, replicas: Vec::new() };
        world.add_replica().await;
        world
    }

    /// A world with a new replica on the same database. The new replica has nothing cached.
    pub async fn fresh_replica(&self) -> Self {
        Self::on(self.database.clone(), |_| {}).await
    }

    /// Starts one more replica with the current settings.
    pub async fn add_replica(&mut self) {
        self.replicas.push(Replica::start(&self.settings, self.database.serving()).await);
    }

    /// Asks a replica to shut down, as a signal would.
    pub fn shut_down(&mut self, index: usize) {
        drop(self.replicas[index].stop.take());
    }

    /// A client without a token, at replica `index`.
    pub fn anonymous_at(&self, index: usize) -> Actor {
        Actor::new(&self.replicas[index].base)
    }

    /// A client without a token.
    pub fn anonymous(&self) -> Actor {
        self.anonymous_at(0)
    }

    /// The admin of the account that the reference's test credentials belong to.
    pub async fn admin(&self) -> Actor {
        self.anonymous().logged_in("test@example.com", "test123").await
    }

    /// The admin of the other seeded account.
    pub async fn other_admin(&self) -> Actor {
        self.anonymous().logged_in("admin@company.com", "secure_password").await
    }

    /// A user with this role in a new account, which gets its own hourly quota if one is given.
    pub async fn user_in_new_account(&self, role: Role, requests_per_hour: Option<u32>) -> Actor {
        let accounts = Accounts::new(self.database.pool());
        let account = accounts.create(&"New account".parse().expect("a valid name"), requests_per_hour).await.expect("an account");
        let users = Users::new(self.database.pool(), Passwords::new().expect("randomness"));
        let email = format!("{}@example.com", AccountId::new());
        let new = NewUser {
            email: email.parse().expect("a valid email"),
            password: NewPassword::new(SecretString::from(PASSWORD)).expect("a strong password"),
            role: role.try_into().expect("a role that a user can have"),
        };
        users.create(&AuditActor::command_line(account), new, None).await.expect("a user");
        self.anonymous().logged_in(&email, PASSWORD).await
    }

    /// A user whom `admin` creates over the API: the id, and the logged-in user.
    pub async fn new_user(&self, admin: &Actor, email: &str, role: Role) -> (String, Actor) {
        let user = admin.post("/users", json!({"email": email, "password": PASSWORD, "role": role.name()})).await.ok();
        let id = user["userId"].as_str().expect("an id").to_owned();
        (id, self.anonymous().logged_in(email, PASSWORD).await)
    }

    /// The same actor at another replica.
    pub fn at(&self, index: usize, actor: &Actor) -> Actor {
        actor.at_base(&self.replicas[index].base)
    }
}

impl Replica {
    async fn start(settings: &Settings, options: PgConnectOptions) -> Self {
        let server = Server::start(settings, options).await.expect("the server starts");
        let base = format!("http://{}", server.address().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.serve(async {
            let _dropped = stopped.await;
        }));
        Self { base, stop: Some(stop) }
    }
}
