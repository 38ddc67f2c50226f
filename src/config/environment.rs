//! The environment: sandbox or production.

use std::str::FromStr;

use super::SettingsError;

/// The environment of a deployment. Each has its own database, keys and token audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// No real money, seeded logins, simulated purchases and refunds.
    Sandbox,
    /// Real money.
    Production,
}

impl Environment {
    /// The environment's name, which is also the audience of its tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Production => "production",
        }
    }

    /// The environment that `CORE_API_ENV` names; the sandbox when the variable is unset or empty.
    ///
    /// # Errors
    /// The variable names no environment.
    pub fn from_variable(text: Option<&str>) -> Result<Self, SettingsError> {
        text.filter(|name| !name.is_empty()).map_or(Ok(Self::Sandbox), str::parse)
    }

    pub(super) const fn file_name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox.toml",
            Self::Production => "production.toml",
        }
    }

    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Sandbox => include_str!("../../config/sandbox.toml"),
            Self::Production => include_str!("../../config/production.toml"),
        }
    }
}

impl FromStr for Environment {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        match text {
            "sandbox" => Ok(Self::Sandbox),
            "production" => Ok(Self::Production),
            _ => Err(SettingsError::UnknownEnvironment),
        }
    }
}
