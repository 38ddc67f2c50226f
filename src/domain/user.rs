//! Which changes a user may undergo. Pure: no clock, no database.

use crate::domain::{error::Refusal, role::Role};

/// A user's access: the role, and whether it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserState {
    /// The user's role.
    pub role: Role,
    /// Whether the user is disabled and cannot log in.
    pub disabled: bool,
}

/// A requested change of a user. A field that is `None` stays unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The new role.
    pub role: Option<Role>,
    /// Whether to disable or enable the user.
    pub disabled: Option<bool>,
}

impl UserState {
    const fn manages(self) -> bool {
        matches!(self.role, Role::Admin) && !self.disabled
    }
}

/// Decides a change. An account always keeps an enabled admin.
///
/// # Errors
/// The user is the account's last enabled admin and would not be one any more.
pub fn change(user: UserState, wanted: Change, others_manage: bool) -> Result<UserState, Refusal> {
    let changed = UserState { role: wanted.role.unwrap_or(user.role), disabled: wanted.disabled.unwrap_or(user.disabled) };
    if user.manages() && !changed.manages() && !others_manage { Err(Refusal::LastAdmin) } else { Ok(changed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_accepted_unless_it_removes_the_last_enabled_admin() {
        let roles = Role::ALL.map(Some).into_iter().chain([None]);
        let wanted = roles.flat_map(|role| [Some(true), Some(false), None].map(|disabled| Change { role, disabled }));
        for wanted in wanted {
            for user in Role::ALL.into_iter().flat_map(|role| [true, false].map(|disabled| UserState { role, disabled })) {
                let expected = UserState { role: wanted.role.unwrap_or(user.role), disabled: wanted.disabled.unwrap_or(user.disabled) };
                assert_eq!(change(user, wanted, true).ok(), Some(expected), "{user:?} {wanted:?}");
                let was_manager = user == UserState { role: Role::Admin, disabled: false };
                let loses_last_admin = was_manager && expected != user;
                assert_eq!(change(user, wanted, false).is_err(), loses_last_admin, "{user:?} {wanted:?}");
            }
        }
    }
}
