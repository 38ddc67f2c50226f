//! The actor of a change, for the audit log and for the permission checks that its transaction repeats.

use std::sync::Arc;

use super::{
    audit_event::Subject,
    environment::Environment,
    id::{AccountId, ApiKeyId, SessionId, UserId},
    role::{Permission, Role},
};

/// The request through which a principal acts.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The request's `X-Request-Id`.
    pub request_id: Arc<str>,
    /// The client's address; for IPv6 only the first 64 bits.
    pub address: Arc<str>,
}

/// A principal and the account in which it acts.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account.
    pub account: AccountId,
    /// The principal.
    pub principal: Principal,
}

/// The kinds of principal. [`Principal::check`] states what each may do; nothing is permitted by omission.
#[derive(Clone, Debug)]
pub enum Principal {
    /// The operator of the deployment, on its command line. May do everything.
    CommandLine,
    /// A client that has not logged in, such as one whose login failed. May do nothing.
    /// The request is left out where the account may not know it.
    Anonymous(Option<Origin>),
    /// A user in one of their sessions. May do what their role permits while the session lives.
    User {
        /// The user.
        user: UserId,
        /// Their session.
        session: SessionId,
        /// The request.
        origin: Origin,
    },
    /// A program with an API key. May do what the key's role permits while the key is live.
    Key {
        /// The key.
        key: ApiKeyId,
        /// The request.
        origin: Origin,
    },
}

/// Why a principal may not act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// The client is not logged in, its session has ended, or its key has.
    Unauthenticated,
    /// The role lacks the permission.
    Role(Role),
}

impl Principal {
    /// Checks a permission. `role` is the role of the principal's user as long as their session lives, or that of its key as
    /// long as that is live.
    ///
    /// # Errors
    /// The principal is not logged in, or their role lacks the permission.
    pub const fn check(&self, permission: Permission, role: Option<Role>, environment: Environment) -> Result<(), Forbidden> {
        match (self, role) {
            (Self::CommandLine, _) => Ok(()),
            (Self::User { .. } | Self::Key { .. }, Some(role)) if role.may(permission, environment) => Ok(()),
            (Self::User { .. } | Self::Key { .. }, Some(role)) => Err(Forbidden::Role(role)),
            (Self::User { .. } | Self::Key { .. }, None) | (Self::Anonymous(_), _) => Err(Forbidden::Unauthenticated),
        }
    }

    /// The user or the key, as what an event is about. None for the command line and for a client that has not logged in.
    #[must_use]
    pub const fn subject(&self) -> Option<Subject> {
        match self {
            Self::User { user, .. } => Some(Subject::User(*user)),
            Self::Key { key, .. } => Some(Subject::ApiKey(*key)),
            Self::CommandLine | Self::Anonymous(_) => None,
        }
    }
}

impl Actor {
    /// The operator of the deployment, on its command line.
    #[must_use]
    pub const fn command_line(account: AccountId) -> Self {
        Self { account, principal: Principal::CommandLine }
    }

    /// The user, if one is logged in.
    #[must_use]
    pub const fn user(&self) -> Option<UserId> {
        match &self.principal {
            Principal::User { user, .. } => Some(*user),
            Principal::CommandLine | Principal::Anonymous(_) | Principal::Key { .. } => None,
        }
    }

    /// The session, if a user is logged in.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match &self.principal {
            Principal::User { session, .. } => Some(*session),
            Principal::CommandLine | Principal::Anonymous(_) | Principal::Key { .. } => None,
        }
    }

    /// The API key, if a program acts with one.
    #[must_use]
    pub const fn api_key(&self) -> Option<ApiKeyId> {
        match &self.principal {
            Principal::Key { key, .. } => Some(*key),
            Principal::CommandLine | Principal::Anonymous(_) | Principal::User { .. } => None,
        }
    }

    /// The request; the command line has none.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        match &self.principal {
            Principal::User { origin, .. } | Principal::Key { origin, .. } => Some(origin),
            Principal::Anonymous(origin) => origin.as_ref(),
            Principal::CommandLine => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin { request_id: "id".into(), address: "127.0.0.1".into() }
    }

    /// Checks every principal with every role that its user may have by now, and every permission.
    #[test]
    fn permissions_depend_on_the_principal_and_its_current_role() {
        let user = Principal::User { user: UserId::new(), session: SessionId::new(), origin: origin() };
        let key = Principal::Key { key: ApiKeyId::new(), origin: origin() };
        let environments = [Environment::Sandbox, Environment::Production];
        for (permission, environment) in Permission::ALL.into_iter().flat_map(|permission| environments.map(|each| (permission, each))) {
            for role in Role::ALL.map(Some).into_iter().chain([None]) {
                let check = |principal: &Principal| principal.check(permission, role, environment);
                assert_eq!(check(&Principal::CommandLine), Ok(()));
                assert_eq!(check(&Principal::Anonymous(Some(origin()))), Err(Forbidden::Unauthenticated));
                let expected = match role {
                    None => Err(Forbidden::Unauthenticated),
                    Some(role) if role.may(permission, environment) => Ok(()),
                    Some(role) => Err(Forbidden::Role(role)),
                };
                assert_eq!(check(&user), expected, "{role:?} {permission:?}");
                assert_eq!(check(&key), expected, "{role:?} {permission:?}");
            }
        }
    }
}
