//! The layers around every handler, from the outside in:
//!
//! 1. `request_id`: everything further in can name the request.
//! 2. `run_to_end`: from here in, a client that hangs up changes nothing.
//! 3. `access_log`: sees the answer as the client will.
//! 4. `problem`: writes the body of a failure, whoever failed.
//! 5. `catch_panic`: makes one of a panic.
//! 6. `origin`: the client's address, for what is counted by it and for the trail.
//! 7. `shed`, on everything but health: how many at once.
//! 8. `authenticate`, on routes that need a token: who calls, and whether the hour has room for it.
//!
//! `rate_limit` holds what `authenticate` and the login count by address.

pub(super) mod access_log;
pub(super) mod authenticate;
pub(super) mod catch_panic;
pub(super) mod origin;
pub(super) mod problem;
pub(super) mod rate_limit;
pub(super) mod request_id;
pub(super) mod run_to_end;
pub(super) mod shed;
