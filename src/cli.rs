//! The command line: parses the arguments, runs one command and reports its failure on standard error.

mod key;
mod output;
mod serve;
mod verify_ledger;

use std::{collections::HashMap, env, io::IsTerminal, num::NonZeroU32, process::ExitCode};

use clap::{Parser, Subcommand};
use secrecy::SecretString;

use self::output::{print, print_created, print_usage, report};
use crate::domain::{
    actor::Actor,
    error::Refusal,
    id::{AccountId, ApiKeyId, UserId},
    role::UserRole,
    text::{Email, Name},
    word::Word,
};
use crate::{
    app::{self, Postgres, StartError},
    config::{self, Settings, SettingsError},
    database::{self, Distributed, Pool},
    http,
    service::{
        self,
        accounts::Accounts,
        auth::{NewPassword, Passwords, WeakPassword},
        idempotency::Outcome,
        ledger::Checkpoint,
        users::{NewUser, Users},
    },
    telemetry::{self, TelemetryError},
};

/// Users per page when they are listed.
const USERS_PER_PAGE: i64 = 1_000;

/// REST API server for virtual cards.
#[derive(Debug, Parser)]
#[command(name = "core-api", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API (the default). `CORE_API_ENV` is sandbox (the default) or production.
    Serve,
    /// Bring the database's schema up to date, then exit.
    Migrate,
    /// Distribute the database by account: on Citus, with `DATABASE_URL` of the coordinator, and no replica running. Can be run
    /// again.
    Distribute,
    /// Verify the ledger: replay every card's movements. Prints each card whose balance does not match, and
    /// exits with 1 if there is one. It reads small pages, and the service may go on writing.
    VerifyLedger {
        /// Go on after this place, which an earlier run has logged: `acc_...` or `acc_.../card_...`.
        #[arg(long)]
        after: Option<Checkpoint>,
    },
    /// Print every setting in force and its source; secrets are hidden.
    Config,
    /// Print the OpenAPI document of the environment that `CORE_API_ENV` names.
    Openapi,
    /// Manage tenants.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Manage users.
    #[command(subcommand)]
    User(UserCommand),
    /// Manage API keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Create an account and print its id.
    Create {
        /// The account's name.
        name: Name,
        /// Requests per clock hour, instead of the deployment's default.
        #[arg(long, value_parser = requests_per_hour)]
        rate_limit: Option<NonZeroU32>,
    },
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Create a user and print the id. A terminal prompts for the password; otherwise the command reads it
    /// from the first line of standard input.
    Create {
        /// The account's id.
        #[arg(long, value_parser = account_id)]
        account: AccountId,
        /// The email that the user logs in with.
        #[arg(long)]
        email: Email,
        /// admin, operator or viewer (read-only).
        #[arg(long)]
        role: UserRole,
    },
    /// List an account's users: id, email, role, and enabled or disabled.
    List {
        /// The account's id.
        #[arg(long, value_parser = account_id)]
        account: AccountId,
    },
    /// Disable a user and end their sessions.
    Disable {
        /// The account's id.
        #[arg(long, value_parser = account_id)]
        account: AccountId,
        /// The user's id.
        #[arg(value_parser = user_id)]
        user: UserId,
    },
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Service(service::error::Error),
    #[error("the verification ended early; resume it with: core-api verify-ledger --after {after}")]
    Verification {
        after: Checkpoint,
        #[source]
        cause: service::error::Error,
    },
    #[error("--account takes the id of an account, as `core-api account create` prints it, and no account has this one")]
    UnknownAccount,
    #[error("the account has no user with this id; `core-api user list --account ID` lists its users")]
    UnknownUser,
    #[error("the account has no API key with this id; `core-api key list --account ID` lists its keys")]
    UnknownKey,
    #[error("another user of the account has this email; --email takes one that no user of the account has")]
    DuplicateUser,
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    #[error("the password {0}")]
    WeakPassword(WeakPassword),
    #[error("cannot read the password")]
    Password(#[source] std::io::Error),
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    #[error("{id} is created, but cannot be written to standard output")]
    CreatedOutput { id: String, source: std::io::Error },
    #[error("{id} is created, but its key cannot be written to standard output; revoke it with `core-api key revoke`, and create another")]
    KeyOutput { id: ApiKeyId, source: std::io::Error },
}

impl From<service::error::Error> for Failure {
    fn from(error: service::error::Error) -> Self {
        match error {
            service::error::Error::Refused(Refusal::AccountNotFound) => Self::UnknownAccount,
            service::error::Error::Refused(Refusal::UserNotFound) => Self::UnknownUser,
            service::error::Error::Refused(Refusal::ApiKeyNotFound) => Self::UnknownKey,
            service::error::Error::Refused(Refusal::DuplicateUser) => Self::DuplicateUser,
            other => Self::Service(other),
        }
    }
}

fn requests_per_hour(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "takes a number of requests from 1 to 4294967295, such as 5000")
}

fn account_id(text: &str) -> Result<AccountId, &'static str> {
    text.parse().map_err(|_| "takes an id as `core-api account create` prints it, such as acc_01h455vb4pex5vsknk084sn02q")
}

fn user_id(text: &str) -> Result<UserId, &'static str> {
    text.parse().map_err(|_| "takes an id as `core-api user list` prints it, such as usr_01h455vb4pex5vsknk084sn02q")
}

/// Runs the command that this process was started with.
pub async fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return print_usage(&error),
    };
    let result = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve().await,
        Command::Migrate => migrate().await,
        Command::Distribute => distribute().await,
        Command::VerifyLedger { after } => return verify_ledger::run(after).await.unwrap_or_else(|failure| report(&failure)),
        Command::Config => print_settings(),
        Command::Openapi => openapi(),
        Command::Account(command) => account(command).await,
        Command::User(command) => user(command).await,
        Command::Key(command) => key::run(command).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

/// The environment variables. One that is not UTF-8 is refused if it is a setting of this program.
fn variables() -> Result<HashMap<String, String>, SettingsError> {
    let mut variables = HashMap::new();
    for (name, value) in env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => drop(variables.insert(name, value)),
            Err(_) if name == "DATABASE_URL" || name.to_uppercase().starts_with("CORE_API_") => return Err(SettingsError::NotText(name)),
            Err(_) => {}
        }
    }
    Ok(variables)
}

fn settings() -> Result<Settings, Failure> {
    let settings = Settings::from_variables(variables()?)?;
    // Only `serve` answers requests, so other commands have no spans to export.
    let _no_exporter = telemetry::init(&settings.log, None)?;
    Ok(settings)
}

fn print_settings() -> Result<(), Failure> {
    Settings::keys(variables()?)?.iter().try_for_each(print)
}

/// Prints the document without a database or a signing key, so that it can be built anywhere.
fn openapi() -> Result<(), Failure> {
    let environment = config::environment_of(variables()?.get("CORE_API_ENV").map(String::as_str))?;
    print(&http::openapi(environment).trim_end())
}

async fn migrate() -> Result<(), Failure> {
    let settings = settings()?;
    let postgres = Postgres::open(&settings).await?;
    app::prepare(&settings, postgres.options.clone()).await?;
    tracing::info!("the schema is up to date");
    Ok(postgres.close()?)
}

async fn distribute() -> Result<(), Failure> {
    let settings = settings()?;
    let postgres = Postgres::open(&settings).await?;
    let role = settings.database.serving_role.as_deref();
    let Distributed { split, nodes } = database::distribute(&postgres.options, role).await.map_err(StartError::from)?;
    tracing::info!("distributed {} tables by account, over {nodes} nodes; replicas need CORE_API__DATABASE__SHARDED=true", split.len());
    Ok(postgres.close()?)
}

async fn account(command: AccountCommand) -> Result<(), Failure> {
    let (pool, postgres) = open().await?;
    let accounts = Accounts::new(pool);
    match command {
        AccountCommand::Create { name, rate_limit } => {
            let account = accounts.create(&name, rate_limit.map(NonZeroU32::get)).await?;
            print_created(&account)?;
        }
    }
    Ok(postgres.close()?)
}

async fn user(command: UserCommand) -> Result<(), Failure> {
    let (pool, postgres) = open().await?;
    let (UserCommand::Create { account, .. } | UserCommand::List { account } | UserCommand::Disable { account, .. }) = &command;
    Accounts::new(pool.clone()).require(*account).await?;
    let users = Users::new(pool, Passwords::new()?);
    match command {
        UserCommand::Create { account, email, role } => {
            let password = NewPassword::new(password().map_err(Failure::Password)?).map_err(Failure::WeakPassword)?;
            let new = NewUser { email, password, role };
            if let Outcome::Fresh(user) = users.create(&Actor::command_line(account), new, None).await? {
                print_created(&user.id)?;
            }
        }
        UserCommand::List { account } => list_users(&users, account).await?,
        UserCommand::Disable { account, user } => users.disable(&Actor::command_line(account), user).await?,
    }
    Ok(postgres.close()?)
}

async fn list_users(users: &Users, account: AccountId) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let page = users.page(account, after, USERS_PER_PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        for user in page {
            let state = if user.disabled { "disabled" } else { "enabled" };
            let role = match &user.role {
                Word::Known(role) => role.name(),
                Word::Unknown(role) => role,
            };
            print(&format_args!("{}\t{}\t{role}\t{state}", user.id, user.email))?;
        }
    }
}

/// Opens the database that a server with these settings would use.
async fn open() -> Result<(Pool, Postgres), Failure> {
    open_with(&settings()?).await
}

async fn open_with(settings: &Settings) -> Result<(Pool, Postgres), Failure> {
    let postgres = Postgres::open(settings).await?;
    let pool = app::prepare(settings, postgres.options.clone()).await?;
    Ok((pool, postgres))
}

/// Never taken from an argument: any user of the machine can read those.
fn password() -> std::io::Result<SecretString> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password("Password: ").map(SecretString::from);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned().into())
}
