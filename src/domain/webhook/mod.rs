//! Webhooks: where they may be sent, when, how they are signed and what an attempt comes to. Pure.

pub mod address;
pub mod endpoint;
pub mod health;
pub mod outcome;
pub mod schedule;
pub mod signature;
pub mod url;
