//! The environment: sandbox or production.

use std::str::FromStr;

/// The environment of a deployment. Each has its own database, keys and token audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// No real money, seeded logins, simulated purchases and refunds.
    Sandbox,
    /// Real money.
    Production,
}

/// The text names no environment.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownEnvironment;

impl Environment {
    /// The environment's name, which is also the audience of its tokens and a part of its API keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Production => "production",
        }
    }
}

impl FromStr for Environment {
    type Err = UnknownEnvironment;

    fn from_str(text: &str) -> Result<Self, UnknownEnvironment> {
        [Self::Sandbox, Self::Production].into_iter().find(|environment| environment.name() == text).ok_or(UnknownEnvironment)
    }
}
