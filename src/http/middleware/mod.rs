//! The layers around every handler, from the outside in:
//!
//! 1. `request_id`: everything further in can name the request.
//! 2. `run_to_end`: from here in, a client that hangs up changes nothing.
//! 3. `access_log`: sees the answer as the client will.
//! 4. `cors`, if settings allow any web page: answers its browser's questions.
//! 5. `problem`: writes the body of a failure, whoever failed.
//! 6. `catch_panic`: makes one of a panic.
//! 7. `origin`: the client's address, for what is counted by it and for the trail.
//! 8. `body`, on everything but health: reads it, before anything is taken for the request.
//! 9. `shed`, there too: how many at once.
//! 10. `authenticate`, on routes that need a token: who calls, and whether the hour has room for it.
//!
//! `rate_limit` holds what `authenticate` and the login count by address.

pub(super) mod access_log;
pub(super) mod authenticate;
pub(super) mod body;
pub(super) mod catch_panic;
pub(super) mod cors;
pub(super) mod origin;
pub(super) mod problem;
pub(super) mod rate_limit;
pub(super) mod request_id;
pub(super) mod run_to_end;
pub(super) mod shed;
