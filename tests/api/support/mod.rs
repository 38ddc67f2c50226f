//! What the tests share: a real Postgres with a database per test, servers on real sockets, and actors that send requests.

mod actor;
pub mod binary;
pub mod citus;
mod cluster;
pub mod contract;
pub mod database_proxy;
pub mod feed;
pub mod forge;
mod given;
mod nodes;
pub mod operations;
pub mod payments;
mod pgbouncer;
pub mod receiver;
mod reply;
pub mod restore;
mod shard;
pub mod shards;
pub mod socket;
pub mod spending;
pub mod sql;
mod standby;
mod world;

pub use self::{
    actor::Actor,
    cluster::{Database, RowLocks},
    reply::Reply,
    shard::Shard,
    standby::Replication,
    world::{PASSWORD, World, behind_a_proxy, patient, without_quota},
};
