//! Serves the metrics to Prometheus on a separate listener that needs no token.

use std::time::Duration;

use axum::{Router, http::header, routing::get};
use tokio::net::TcpListener;

use super::metrics::{Metrics, PoolSize};

/// How often recorded samples are aggregated, whether or not they are scraped.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Answers `GET /metrics`. Runs until it is dropped.
///
/// # Errors
/// The server stops unexpectedly.
pub async fn serve<const N: usize>(
    listener: TcpListener,
    metrics: Metrics,
    pools: impl Fn() -> [PoolSize; N] + Clone + Send + Sync + 'static,
) -> std::io::Result<()> {
    let recorded = metrics.clone();
    let answer = move || {
        let text = metrics.render(&pools());
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text) }
    };
    let upkeep = async {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            recorded.run_upkeep();
        }
    };
    tokio::select! {
        served = axum::serve(listener, Router::new().route("/metrics", get(answer))) => served,
        () = upkeep => Ok(()),
    }
}
