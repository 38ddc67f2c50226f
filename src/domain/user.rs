//! What may become of a user. Pure: no clock, no database.

use crate::domain::{error::Refusal, role::Role};

/// What a user may do, and whether at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserState {
    /// The user's role.
    pub role: Role,
    /// Whether the user may not log in.
    pub disabled: bool,
}

/// What is asked to become of a user; what is none stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Another role.
    pub role: Option<Role>,
    /// Whether they are kept out.
    pub disabled: Option<bool>,
}

impl UserState {
    const fn manages(self) -> bool {
        matches!(self.role, Role::Admin) && !self.disabled
    }
}

/// Decides one change. An account keeps somebody who can manage it.
///
/// # Errors
/// The user is the last enabled admin, and would be none.
pub fn change(user: UserState, wanted: Change, others_manage: bool) -> Result<UserState, Refusal> {
    let changed = UserState { role: wanted.role.unwrap_or(user.role), disabled: wanted.disabled.unwrap_or(user.disabled) };
    if user.manages() && !changed.manages() && !others_manage { Err(Refusal::LastAdmin) } else { Ok(changed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_every_user_is_taken_unless_nobody_would_manage_the_account() {
        let roles = Role::ALL.map(Some).into_iter().chain([None]);
        let wanted = roles.flat_map(|role| [Some(true), Some(false), None].map(|disabled| Change { role, disabled }));
        for wanted in wanted {
            for user in Role::ALL.into_iter().flat_map(|role| [true, false].map(|disabled| UserState { role, disabled })) {
                let expected = UserState { role: wanted.role.unwrap_or(user.role), disabled: wanted.disabled.unwrap_or(user.disabled) };
                assert_eq!(change(user, wanted, true).ok(), Some(expected), "{user:?} {wanted:?}");
                let managed = user == UserState { role: Role::Admin, disabled: false };
                let left_alone = managed && expected != user;
                assert_eq!(change(user, wanted, false).is_err(), left_alone, "{user:?} {wanted:?}");
            }
        }
    }
}
