//! Core API: customers, virtual cards, balances and movements over HTTP, on Postgres.
//!
//! A request goes router, handler, service, store, and back. Who may know whom:
//!
//! - `main` → `cli` → `app` → { `config`, `telemetry`, `database`, `http`, `service` }.
//! - `config` is plain data, which `telemetry` and `http` read as well.
//! - `http` uses what `service` makes public; handlers never import each other.
//! - `service` names nothing of HTTP, and of `database` only its pool.
//! - `telemetry::metrics` is told by whoever knows, and tells Prometheus alone.
//! - Each `store` is private to its resource and holds all of its SQL and nothing else.
//!
//! Where the compiler cannot hold a rule, `tests/api/architecture.rs` does.

#![warn(unreachable_pub)]

pub mod app;
pub mod cli;
pub mod config;
pub mod database;
pub mod http;
pub mod service;
pub mod telemetry;
