//! Core API: customers, virtual cards, balances and movements over HTTP, on Postgres.
//!
//! A request goes router, handler, service, store, and back. Who may know whom:
//!
//! - `main` → `cli` → `app` → `http` → `service` → `database` → `telemetry` → `config`, `domain`: each floor imports
//!   only those to its right.
//! - `domain` holds the words and the rules. It is pure and imports nothing of the others.
//! - `http` calls what `service` makes public. Handlers do not import each other.
//! - `service` names nothing of HTTP. Its modules do not import each other in a circle.
//! - `telemetry` and `database` exchange plain numbers, not each other's types.
//! - Each `store` is private to its resource and holds all of its SQL and nothing else.
//!
//! Where the compiler cannot hold a rule, `tests/api/architecture.rs` does.

#![warn(unreachable_pub)]

pub mod app;
pub mod cli;
pub mod config;
pub mod database;
pub mod domain;
pub mod http;
pub mod service;
pub mod telemetry;
