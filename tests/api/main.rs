//! The API from outside: real sockets, a real Postgres, a database for each test.

#![expect(clippy::expect_used, clippy::panic, reason = "in a test, what must not happen ends it")]

mod access;
mod architecture;
mod audit;
mod auth;
mod bad_bodies;
mod bad_input;
mod balances;
mod cards;
mod commands;
mod concurrency;
mod cors;
mod customers;
mod docs;
mod edge;
mod errors;
mod explanations;
#[cfg(feature = "otel")]
mod export;
mod forged_tokens;
mod forgeries;
mod framing;
mod guards;
mod health;
mod idempotency;
mod key_rotation;
mod login_flood;
mod login_limits;
mod logs;
mod metrics;
mod movements;
mod openapi;
mod pages;
mod process;
mod races;
mod rate_limit;
mod reference;
mod sandbox;
mod sessions;
mod settings;
mod sharding;
mod slow_clients;
mod support;
mod tenants;
mod users;
mod verify_ledger;
