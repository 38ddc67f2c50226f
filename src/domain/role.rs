//! Roles and their permissions. Pure.

use std::str::FromStr;

use serde::Serialize;
use strum::EnumCount;

/// A user's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumCount)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Role {
    /// Has every permission, including users and the audit log.
    Admin,
    /// Reads, and changes customers, cards and money.
    Operator,
    /// Only reads.
    Viewer,
}

/// What an endpoint requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount)]
pub enum Permission {
    /// To read everything but users and the audit log.
    Read,
    /// To change customers, cards and money.
    Write,
    /// To manage users and to read the audit log.
    Manage,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; Self::COUNT] = [Self::Read, Self::Write, Self::Manage];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Manage => "manage",
        }
    }
}

/// The text names no role.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is admin, operator or viewer")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(UnknownRole)
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; Self::COUNT] = [Self::Admin, Self::Operator, Self::Viewer];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// Whether the role has a permission.
    #[must_use]
    pub const fn may(self, permission: Permission) -> bool {
        match (self, permission) {
            (Self::Admin, Permission::Read | Permission::Write | Permission::Manage)
            | (Self::Operator, Permission::Read | Permission::Write)
            | (Self::Viewer, Permission::Read) => true,
            (Self::Operator, Permission::Manage) | (Self::Viewer, Permission::Write | Permission::Manage) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_the_listed_permissions() {
        let grid = [(Role::Admin, [true, true, true]), (Role::Operator, [true, true, false]), (Role::Viewer, [true, false, false])];
        assert_eq!(grid.map(|(role, _)| role), Role::ALL);
        for (role, row) in grid {
            assert_eq!(Permission::ALL.map(|permission| role.may(permission)), row, "{role:?}");
        }
    }
}
