//! What the settings know of an environment: the variable that names it, and its file.

use super::SettingsError;
use crate::domain::environment::Environment;

/// The environment that `CORE_API_ENV` names; the sandbox when the variable is unset or empty.
///
/// # Errors
/// The variable names no environment.
pub fn environment_of(variable: Option<&str>) -> Result<Environment, SettingsError> {
    let name = variable.filter(|name| !name.is_empty()).unwrap_or(Environment::Sandbox.name());
    name.parse().map_err(|_| SettingsError::UnknownEnvironment)
}

pub(super) const fn file_name(environment: Environment) -> &'static str {
    match environment {
        Environment::Sandbox => "sandbox.toml",
        Environment::Production => "production.toml",
    }
}

pub(super) const fn file(environment: Environment) -> &'static str {
    match environment {
        Environment::Sandbox => include_str!("../../config/sandbox.toml"),
        Environment::Production => include_str!("../../config/production.toml"),
    }
}
