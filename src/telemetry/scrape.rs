//! Where Prometheus fetches what is measured: a listener of its own, which asks for no token.

use std::time::Duration;

use axum::{Router, http::header, routing::get};
use tokio::net::TcpListener;

use super::metrics::{Metrics, PoolSize};

/// How often what was measured is tidied, also when nobody fetches it.
const TIDY: Duration = Duration::from_secs(5);

/// Answers `GET /metrics`. Runs until it is dropped.
///
/// # Errors
/// Serving ends by itself.
pub async fn serve<const N: usize>(
    listener: TcpListener,
    metrics: Metrics,
    pools: impl Fn() -> [PoolSize; N] + Clone + Send + Sync + 'static,
) -> std::io::Result<()> {
    let tidied = metrics.clone();
    let answer = move || {
        let text = metrics.render(&pools());
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text) }
    };
    let tidy = async {
        loop {
            tokio::time::sleep(TIDY).await;
            tidied.tidy();
        }
    };
    tokio::select! {
        served = axum::serve(listener, Router::new().route("/metrics", get(answer))) => served,
        () = tidy => Ok(()),
    }
}
