//! The binary `core-api`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request makes some hundred short-lived pieces of memory: the system's allocator was a seventh of its cost.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    core_api::cli::run().await
}
