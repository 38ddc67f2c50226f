//! The binary `core-api`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    core_api::cli::run().await
}
