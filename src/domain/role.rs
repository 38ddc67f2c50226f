//! Roles and their permissions. Pure.

use std::str::FromStr;

use serde::Serialize;
use strum::EnumCount;

use super::environment::Environment;

/// The role of a user or of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumCount)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Role {
    /// Has every permission in the account, including users, API keys and the audit log.
    Admin,
    /// Reads, and changes customers, cards and money.
    Operator,
    /// Only reads.
    Viewer,
    /// The gateway of a card network: authorises and posts payments, and reads authorisations. Only API keys have it.
    Network,
}

/// What an endpoint requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumCount)]
pub enum Permission {
    /// To read everything but users, API keys and the audit log.
    Read,
    /// To change customers, cards and money.
    Write,
    /// To manage users and API keys, and to read the audit log.
    Manage,
    /// To authorise and post payments as a card network does.
    Authorize,
    /// To read authorisations.
    ReadAuthorizations,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; Self::COUNT] = [Self::Read, Self::Write, Self::Manage, Self::Authorize, Self::ReadAuthorizations];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Manage => "manage",
            Self::Authorize => "authorize",
            Self::ReadAuthorizations => "read_authorizations",
        }
    }
}

/// The text names no role.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is admin, operator, viewer or network")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(UnknownRole)
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; Self::COUNT] = [Self::Admin, Self::Operator, Self::Viewer, Self::Network];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Network => "network",
        }
    }

    /// Whether the role has a permission. In the sandbox whoever changes money may also act as the card network.
    #[must_use]
    pub const fn may(self, permission: Permission, environment: Environment) -> bool {
        match (self, permission) {
            (Self::Admin, Permission::Read | Permission::Write | Permission::Manage | Permission::ReadAuthorizations)
            | (Self::Operator, Permission::Read | Permission::Write | Permission::ReadAuthorizations)
            | (Self::Viewer, Permission::Read | Permission::ReadAuthorizations)
            | (Self::Network, Permission::Authorize | Permission::ReadAuthorizations) => true,
            (Self::Admin | Self::Operator, Permission::Authorize) => matches!(environment, Environment::Sandbox),
            (Self::Operator, Permission::Manage)
            | (Self::Viewer, Permission::Write | Permission::Manage | Permission::Authorize)
            | (Self::Network, Permission::Read | Permission::Write | Permission::Manage) => false,
        }
    }

    /// Whether requests with an API key of this role count towards the account's hourly quota. Those of a gateway do not: it
    /// would decline payments once the hour is full.
    #[must_use]
    pub const fn counts_towards_quota(self) -> bool {
        !matches!(self, Self::Network)
    }
}

/// A role that a user can have: any but `network`, which belongs to machines. A gateway has no password and no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRole(Role);

impl UserRole {
    /// Every role that a user can have.
    pub const ALL: [Self; Role::COUNT - 1] = [Self(Role::Admin), Self(Role::Operator), Self(Role::Viewer)];

    /// The role.
    #[must_use]
    pub const fn role(self) -> Role {
        self.0
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.name()
    }
}

/// The text names no role that a user can have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user's role is admin, operator or viewer")]
pub struct UnknownUserRole;

impl TryFrom<Role> for UserRole {
    type Error = UnknownUserRole;

    fn try_from(role: Role) -> Result<Self, UnknownUserRole> {
        Self::ALL.into_iter().find(|user_role| user_role.role() == role).ok_or(UnknownUserRole)
    }
}

impl FromStr for UserRole {
    type Err = UnknownUserRole;

    fn from_str(text: &str) -> Result<Self, UnknownUserRole> {
        text.parse().map_err(|UnknownRole| UnknownUserRole).and_then(Role::try_into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_the_listed_permissions_in_each_environment() {
        let grid = [
            (Environment::Production, Role::Admin, [true, true, true, false, true]),
            (Environment::Production, Role::Operator, [true, true, false, false, true]),
            (Environment::Production, Role::Viewer, [true, false, false, false, true]),
            (Environment::Production, Role::Network, [false, false, false, true, true]),
            (Environment::Sandbox, Role::Admin, [true, true, true, true, true]),
            (Environment::Sandbox, Role::Operator, [true, true, false, true, true]),
            (Environment::Sandbox, Role::Viewer, [true, false, false, false, true]),
            (Environment::Sandbox, Role::Network, [false, false, false, true, true]),
        ];
        assert_eq!(grid.map(|(_, role, _)| role), [Role::ALL, Role::ALL].concat().as_slice());
        for (environment, role, row) in grid {
            assert_eq!(Permission::ALL.map(|permission| role.may(permission, environment)), row, "{role:?} in {environment:?}");
        }
    }

    #[test]
    fn only_requests_of_gateways_are_outside_the_quota() {
        assert_eq!(Role::ALL.map(Role::counts_towards_quota), [true, true, true, false]);
    }

    #[test]
    fn a_user_has_any_role_but_that_of_a_gateway() {
        assert_eq!(Role::ALL.map(|role| UserRole::try_from(role).is_ok()), [true, true, true, false]);
        for role in UserRole::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        for text in ["network", "root", ""] {
            assert_eq!(text.parse::<UserRole>(), Err(UnknownUserRole), "{text}");
        }
    }
}
