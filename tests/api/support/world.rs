//! A database with any number of replicas serving it.

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

/// The settings of a test's server: the sandbox's, on a free port.
pub fn settings() -> Settings {
    let variables = [
        ("CORE_API__SERVER__LISTEN", "127.0.0.1:0"),
        ("CORE_API__SERVER__DRAIN_SECONDS", "2"),
        ("CORE_API__LOG__LEVEL", "off"),
        ("CORE_API__DATABASE__MAX_CONNECTIONS", "8"),
    ];
    let variables: HashMap<String, String> = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings::from_variables(variables).expect("settings")
}

/// What a test is played in.
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
    /// One replica of the sandbox.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// One replica with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(Database::new().await, change).await
    }

    /// One replica on a given database.
    pub async fn on(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let mut world = Self { database, settings, replicas: Vec::new() };
        world.add_replica().await;
        world
    }

    /// Starts one more, with the same settings.
    pub async fn add_replica(&mut self) {
        self.replicas.push(Replica::start(&self.settings, self.database.options.clone()).await);
    }

    /// Asks a replica to end, as a signal would.
    pub fn tell_to_stop(&mut self, index: usize) {
        drop(self.replicas[index].stop.take());
    }

    /// Somebody without a token, at replica `index`.
    pub fn stranger_at(&self, index: usize) -> Actor {
        Actor::new(&self.replicas[index].base)
    }

    /// Somebody without a token.
    pub fn stranger(&self) -> Actor {
        self.stranger_at(0)
    }

    /// The admin of the account behind the reference's test credentials.
    pub async fn admin(&self) -> Actor {
        self.stranger().logged_in("test@example.com", "test123").await
    }

    /// The admin of the other seeded account.
    pub async fn other_tenant(&self) -> Actor {
        self.stranger().logged_in("admin@company.com", "secure_password").await
    }

    /// Somebody with a role in an account of their own, with an hourly quota of its own if given.
    pub async fn somebody(&self, role: Role, requests_per_hour: Option<u32>) -> Actor {
        let accounts = Accounts::new(self.database.pool());
        let account = accounts.create(&"Somebody's".parse().expect("a name"), requests_per_hour).await.expect("an account");
        self.colleague(account, role).await
    }

    /// Somebody with a role in an account that exists.
    pub async fn colleague(&self, account: AccountId, role: Role) -> Actor {
        let users = Users::new(self.database.pool(), Passwords::new().expect("randomness"));
        let email = format!("{}@example.com", AccountId::new());
        let password = "a long enough password";
        let new = NewUser {
            email: email.parse().expect("an email"),
            password: NewPassword::new(SecretString::from(password)).expect("good"),
            role,
        };
        users.create(&AuditActor::command_line(account), new, None).await.expect("a user");
        self.stranger().logged_in(&email, password).await
    }

    /// Somebody whom the admin lets in over the API, and then in.
    pub async fn hired(&self, admin: &Actor, email: &str, role: &str) -> (String, Actor) {
        let password = "a long enough password";
        let user = admin.post("/users", json!({"email": email, "password": password, "role": role})).await.ok();
        let id = user["userId"].as_str().expect("an id").to_owned();
        (id, self.stranger().logged_in(email, password).await)
    }

    /// The same person at another replica.
    pub fn at(&self, index: usize, actor: &Actor) -> Actor {
        actor.moved_to(&self.replicas[index].base)
    }
}

impl Replica {
    async fn start(settings: &Settings, options: PgConnectOptions) -> Self {
        let server = Server::start(settings, options).await.expect("a server starts");
        let base = format!("http://{}", server.address().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.serve(async {
            let _dropped = stopped.await;
        }));
        Self { base, stop: Some(stop) }
    }
}
