//! Who acts, for the audit log and for the checks that a change repeats in its own transaction.

use std::sync::Arc;

use super::{
    id::{AccountId, SessionId, UserId},
    role::{Permission, Role},
};

/// The request through which somebody acts.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The request's `X-Request-Id`.
    pub request_id: Arc<str>,
    /// The client's address; of an IPv6 address the first 64 bits.
    pub address: Arc<str>,
}

/// Who acts, and in which account.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account.
    pub account: AccountId,
    /// Who acts.
    pub principal: Principal,
}

/// Every kind of actor. What each may do is said here and nowhere by omission.
#[derive(Clone, Debug)]
pub enum Principal {
    /// The operator of the deployment, on its command line. May do everything.
    CommandLine,
    /// A client that has not logged in, such as one whose login failed. May do nothing.
    Anonymous(Origin),
    /// A user in one of their sessions. May do what their role permits while the session lives.
    User {
        /// The user.
        user: UserId,
        /// Their session.
        session: SessionId,
        /// The request.
        origin: Origin,
    },
}

/// Why a principal may not act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// Nobody is logged in, or the session is over.
    Unauthenticated,
    /// The role lacks the permission.
    Role(Role),
}

impl Principal {
    /// Checks a permission. `role` is the role of the principal's user as long as their session lives.
    ///
    /// # Errors
    /// The principal is not logged in any more, or their role lacks the permission.
    pub const fn check(&self, permission: Permission, role: Option<Role>) -> Result<(), Forbidden> {
        match (self, role) {
            (Self::CommandLine, _) => Ok(()),
            (Self::User { .. }, Some(role)) if role.may(permission) => Ok(()),
            (Self::User { .. }, Some(role)) => Err(Forbidden::Role(role)),
            (Self::User { .. }, None) | (Self::Anonymous(_), _) => Err(Forbidden::Unauthenticated),
        }
    }
}

impl Actor {
    /// The operator of the deployment, on its command line.
    #[must_use]
    pub const fn command_line(account: AccountId) -> Self {
        Self { account, principal: Principal::CommandLine }
    }

    /// The user who acts, if one is logged in.
    #[must_use]
    pub const fn user(&self) -> Option<UserId> {
        match &self.principal {
            Principal::User { user, .. } => Some(*user),
            Principal::CommandLine | Principal::Anonymous(_) => None,
        }
    }

    /// The session in which they act, if they are logged in.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match &self.principal {
            Principal::User { session, .. } => Some(*session),
            Principal::CommandLine | Principal::Anonymous(_) => None,
        }
    }

    /// The request through which they act; the command line has none.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        match &self.principal {
            Principal::User { origin, .. } | Principal::Anonymous(origin) => Some(origin),
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

    /// Every principal, every role that its session may have by now, every permission.
    #[test]
    fn a_principal_may_do_what_the_grid_says() {
        let user = Principal::User { user: UserId::new(), session: SessionId::new(), origin: origin() };
        for permission in Permission::ALL {
            for role in Role::ALL.map(Some).into_iter().chain([None]) {
                assert_eq!(Principal::CommandLine.check(permission, role), Ok(()));
                assert_eq!(Principal::Anonymous(origin()).check(permission, role), Err(Forbidden::Unauthenticated));
                let expected = match role {
                    None => Err(Forbidden::Unauthenticated),
                    Some(role) if role.may(permission) => Ok(()),
                    Some(role) => Err(Forbidden::Role(role)),
                };
                assert_eq!(user.check(permission, role), expected, "{role:?} {permission:?}");
            }
        }
    }
}
