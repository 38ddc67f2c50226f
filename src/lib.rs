//! Core API: customers, virtual cards, balances and movements over HTTP, on Postgres.
//!
//! A request passes from the router to a handler, a service and a store, and back. The rules for imports:
//!
//! - `main` → `cli` → `app` → `http` → `service` → `egress` → `database` → `telemetry` → `config`, `domain`: each layer imports
//!   only layers to its right.
//! - `domain` holds the types and the rules. It is pure and imports no other layer.
//! - `http` calls the public functions of `service`. Handlers do not import each other.
//! - `service` does not refer to HTTP. The imports between its modules form no cycle.
//! - `egress` calls the servers of others. It does not refer to the database.
//! - `telemetry` and `database` exchange plain numbers, not each other's types.
//! - Each `store` is private to its resource and holds all of its SQL and nothing else.
//!
//! `tests/api/architecture.rs` checks the rules that the compiler cannot.

#![warn(unreachable_pub)]

pub mod app;
pub mod cli;
pub mod config;
pub mod database;
pub mod domain;
pub mod egress;
pub mod http;
pub mod service;
pub mod telemetry;
