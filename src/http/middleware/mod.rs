//! The layers around every handler, from the outside in:
//!
//! 1. `request_id`: everything further in can name the request.
//! 2. `run_to_end`: from here in, a client that hangs up changes nothing.
//! 3. `access_log`: sees the answer as the client will.
<<<<<<< HEAD
//! 4. `problem`: writes the body of a failure, whoever failed.
//! 5. `catch_panic`: makes one of a panic.
//! 6. `origin`: the client's address, for what is counted by it and for the trail.
//! 7. `shed`, on everything but health: how many at once.
//! 8. `authenticate`, on routes that need a token: who calls, and whether the hour has room for it.
=======
//! 4. `cors`, if settings allow any web page: answers its browser's questions.
//! 5. `problem`: writes the body of a failure, whoever failed.
//! 6. `catch_panic`: makes one of a panic.
//! 7. the client's address, for what is counted by it (`http/address.rs`).
//! 8. `body`, on everything but health: reads it, before anything is taken for the request.
//! 9. `shed`, there too: how many at once.
//! 10. `authenticate`, on routes that need a token: who calls, and whether the hour has room for it.
>>>>>>> edge
//!
//! `rate_limit` holds what `authenticate` and the login count by address.

pub(super) mod access_log;
pub(super) mod authenticate;
pub(super) mod body;
pub(super) mod catch_panic;
<<<<<<< HEAD
pub(super) mod origin;
=======
pub(super) mod cors;
>>>>>>> edge
pub(super) mod problem;
pub(super) mod rate_limit;
pub(super) mod request_id;
pub(super) mod run_to_end;
pub(super) mod shed;
