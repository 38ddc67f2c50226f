//! What every test stands on: a real Postgres, a database of its own, servers on real sockets, and
//! actors who send the requests.

mod actor;
pub mod binary;
mod bouncer;
mod cluster;
pub mod forge;
mod given;
mod reply;
pub mod shards;
pub mod socket;
pub mod wire;
pub mod witness;
mod world;

pub use self::{actor::Actor, cluster::Database, reply::Reply, world::World};
