//! Tests of the API from outside: real sockets, a real Postgres, and a database per test.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod architecture;
mod audit;
mod auth;
mod bad_bodies;
mod bad_input;
mod bad_tokens;
mod balances;
mod canary;
mod cards;
mod commands;
mod commit_order;
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
mod framing;
mod guards;
mod health;
mod idempotency;
mod key_rotation;
mod later_version;
mod login_flood;
mod login_limits;
mod logs;
mod metrics;
mod movements;
mod openapi;
mod pages;
mod previous_release;
mod process;
mod query_parameters;
mod races;
mod rate_limit;
mod reference;
mod retention;
mod sandbox;
mod sessions;
mod settings;
mod sharding;
mod shared_emails;
mod slow_clients;
mod standby;
mod support;
mod tenants;
mod text;
mod users;
mod verify_ledger;
