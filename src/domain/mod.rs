//! The domain's types and rules. Pure: no SQL statement, no HTTP, no clock, no I/O, no telemetry.
//!
//! Every other layer may import this one; it imports none of them. A type that is stored or sent derives its
//! encoding here, next to its rules.

pub mod actor;
pub mod api_key;
pub mod assignment;
pub mod audit_event;
pub mod authorization;
pub mod card;
pub mod card_details;
pub mod currency;
pub mod customer;
pub mod decision;
pub mod environment;
pub mod error;
pub mod feed_event;
pub mod hold_time;
pub mod id;
pub mod merchant;
pub mod metadata;
pub mod money;
pub mod posting;
pub mod quota;
pub mod role;
pub mod search;
pub mod spending;
pub mod text;
pub mod user;
pub mod webhook;
pub mod word;
