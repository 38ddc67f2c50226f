//! Connections: their number, their deadlines, and HTTP/1.1 on each of them.
//!
//! A slow client costs one socket and a little memory, until a deadline closes its connection:
//!
//! - the head of the first request: `server.head_timeout_seconds` after the connection was accepted;
//! - the head of every later request: `server.idle_timeout_seconds` after the last response. A slow head needs no
//!   separate deadline, since an idle client can hold the connection for just as long;
//! - a body: `server.body_timeout_seconds` (`middleware/body.rs`);
//! - a response of which the client reads nothing more: `server.write_timeout_seconds`.
//!
//! Handlers have no deadline: a request that has started is finished.

use std::{convert::Infallible, io::ErrorKind, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    time::sleep,
};
use tokio_io_timeout::TimeoutWriter;

use super::{App, middleware};
use crate::config::Settings;

/// The largest request line with headers, in bytes; beyond it the response is 431. The number of headers has
/// hyper's default limit, 100.
const MAX_HEAD: usize = 32 * 1024;

/// How much of a response waits in the kernel to be sent, in bytes.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 64 * 1024;

/// File descriptors that are neither client connections nor database connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// How long to wait after accepting failed, as it does without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The maximum number of connections, and their deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    connections: usize,
    head: Duration,
    idle: Duration,
    write: Duration,
    database_connections: u32,
}

impl From<&Settings> for Limits {
    fn from(Settings { server, database, .. }: &Settings) -> Self {
        Self {
            connections: server.max_connections,
            head: Duration::from_secs(server.head_timeout_seconds),
            idle: Duration::from_secs(server.idle_timeout_seconds),
            write: Duration::from_secs(server.write_timeout_seconds),
            database_connections: database.max_connections,
        }
    }
}

/// Serves until `stop` completes. Then it accepts no more connections, and returns when every request in flight is
/// answered, or executed if its client has disconnected.
pub async fn serve(listener: TcpListener, app: App, router: Router, limits: Limits, stop: impl Future<Output = ()> + Send) {
    let slots = Arc::new(Semaphore::new(connection_limit(limits)));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        // At the limit, new connections wait in the kernel's queue instead of being refused. They cost nothing there,
        // and are accepted as soon as a slow client has reached its deadline.
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = async { (Arc::clone(&slots).acquire_owned().await, accept(&listener).await) } => accepted,
        };
        let (slot, (stream, peer)) = accepted;
        let (app, router, watcher) = (app.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _until_closed = slot;
            serve_connection(stream, peer, (app, router), limits, watcher).await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
    app.requests.close();
    app.requests.wait().await;
}

/// Raises the limit of file descriptors as far as `max_connections` needs and the system allows, and returns how many
/// connections fit: a flood of clients must not leave the database without descriptors.
fn connection_limit(limits: Limits) -> usize {
    let others = OTHER_DESCRIPTORS + u64::from(limits.database_connections);
    let wanted = u64::try_from(limits.connections).unwrap_or(u64::MAX);
    let needed = wanted.saturating_add(others);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return limits.connections };
    let raised = needed.min(hard);
    let soft = if soft < raised && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() { raised } else { soft };
    if soft >= needed {
        return limits.connections;
    }
    let available = soft.saturating_sub(others).max(1);
    tracing::warn!(wanted, available, "too few file descriptors for server.max_connections");
    usize::try_from(available).unwrap_or(limits.connections)
}

/// Lets only [`MAX_UNSENT`] of a response wait in the kernel for a client that does not read. By default a connection takes
/// megabytes there. It does not bound what is on its way to a client that does read.
fn bound_unsent(stream: &TcpStream) {
    // Other systems have no such option, or only for some versions.
    #[cfg(target_os = "linux")]
    let _set = socket2::SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client closed the connection before it was accepted.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until it is closed.
async fn serve_connection(stream: TcpStream, peer: SocketAddr, (app, router): (App, Router), limits: Limits, watcher: Watcher) {
    // Responses are written in one piece, so Nagle's algorithm would only delay them. Failure is harmless.
    let _set = stream.set_nodelay(true);
    bound_unsent(&stream);
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limits.write));

    let first_request = Arc::new(Notify::new());
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        first_request.notify_one();
        let (app, router) = (app.clone(), router.clone());
        async move { Ok::<_, Infallible>(middleware::handle(&app, router, peer, request.map(Body::new)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_header_size(MAX_HEAD)
        // By default the buffer grows with a fast body.
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(watcher.watch(connection));
    let result = tokio::select! {
        result = &mut connection => result,
        () = first_request.notified() => connection.await,
        () = sleep(limits.head) => return tracing::debug!(%peer, "the first request did not arrive in time"),
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection failed");
    }
}
