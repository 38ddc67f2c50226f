//! Which accounts have a user with an email.

mod store;

pub(in crate::service) use self::store::{accounts, insert_in};
