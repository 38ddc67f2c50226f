//! The actor of a change, for the audit log and for the permission checks that its transaction repeats.

use std::sync::Arc;

use super::{
    id::{AccountId, SessionId, UserId},
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
}

/// Why a principal may not act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// The client is not logged in, or the session has ended.
    Unauthenticated,
    /// The role lacks the permission.
    Role(Role),
}

impl Principal {
    /// Checks a permission. `role` is the role of the principal's user as long as their session lives.
    ///
    /// # Errors
    /// The principal is not logged in, or their role lacks the permission.
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

    /// The user, if one is logged in.
    #[must_use]
    pub const fn user(&self) -> Option<UserId> {
        match &self.principal {
            Principal::User { user, .. } => Some(*user),
            Principal::CommandLine | Principal::Anonymous(_) => None,
        }
    }

    /// The session, if a user is logged in.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match &self.principal {
            Principal::User { session, .. } => Some(*session),
            Principal::CommandLine | Principal::Anonymous(_) => None,
        }
    }

    /// The request; the command line has none.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        match &self.principal {
            Principal::User { origin, .. } => Some(origin),
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
        for permission in Permission::ALL {
            for role in Role::ALL.map(Some).into_iter().chain([None]) {
                assert_eq!(Principal::CommandLine.check(permission, role), Ok(()));
                assert_eq!(Principal::Anonymous(Some(origin())).check(permission, role), Err(Forbidden::Unauthenticated));
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
