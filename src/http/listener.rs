//! Connections: how many there are at once, how long each may keep us waiting, and HTTP/1.1 on each of them.
//!
//! Whoever sends or reads slowly holds a socket and a little memory, and loses both when a deadline comes:
//!
//! - the head of the first request: `server.head_timeout_seconds` after the connection was made, silent or not;
//! - the head of every later one: `server.idle_timeout_seconds` after the last answer. A slow head gets no
//!   deadline of its own here, since staying idle holds the connection for just as long;
//! - a body: `server.body_timeout_seconds` (`middleware/body.rs`);
//! - an answer of which nothing is taken any more: `server.write_timeout_seconds`.
//!
//! No deadline is around a handler: what was begun is done.

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

/// What a request's line and headers may take together, in bytes; then 431. As many headers as hyper
/// takes by itself: 100.
const MAX_HEAD: usize = 32 * 1024;

/// File descriptors that are neither a client's connection nor one of the database's.
const OTHER_DESCRIPTORS: u64 = 64;

/// How long nobody is accepted after accepting failed, as it does when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How many connections, and how long each may take for what.
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

/// Serves until `stop` is done; then accepts nobody any more, and ends when every request under way is answered.
pub async fn serve(listener: TcpListener, app: App, router: Router, limits: Limits, stop: impl Future<Output = ()> + Send) {
    let places = Arc::new(Semaphore::new(make_room(limits)));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        // Past the limit nobody is accepted, rather than accepted and sent away: who waits in the system's
        // queue costs nothing, and is served as soon as a slow client has met its deadline.
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = async { (Arc::clone(&places).acquire_owned().await, accept(&listener).await) } => accepted,
        };
        let (place, (stream, peer)) = accepted;
        let (app, router, watcher) = (app.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _until_closed = place;
            attend(stream, peer, (app, router), limits, watcher).await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Sees to it that there are file descriptors for all connections, or else counts on fewer connections:
/// a flood of clients must not leave the database without any.
fn make_room(limits: Limits) -> usize {
    let others = OTHER_DESCRIPTORS + u64::from(limits.database_connections);
    let wanted = u64::try_from(limits.connections).unwrap_or(u64::MAX);
    let needed = wanted.saturating_add(others);
    let Ok((given, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return limits.connections };
    let raised = needed.min(most);
    let given = if given < raised && setrlimit(Resource::RLIMIT_NOFILE, raised, most).is_ok() { raised } else { given };
    if given >= needed {
        return limits.connections;
    }
    let room = given.saturating_sub(others).max(1);
    tracing::warn!(wanted, room, "the system gives this process too few file descriptors for server.max_connections");
    usize::try_from(room).unwrap_or(limits.connections)
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Somebody who did not wait.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, from its first byte to its last.
async fn attend(stream: TcpStream, peer: SocketAddr, (app, router): (App, Router), limits: Limits, watcher: Watcher) {
    // An answer is written in one piece, and should not wait to become a bigger one. Works without, too.
    let _slower = stream.set_nodelay(true);
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limits.write));

    let first_request = Arc::new(Notify::new());
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        first_request.notify_one();
        let (app, router) = (app.clone(), router.clone());
        async move { Ok::<_, Infallible>(middleware::answer(&app, router, peer, request.map(Body::new)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_header_size(MAX_HEAD)
        // Else a body that comes fast is given ever more memory.
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(watcher.watch(connection));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = first_request.notified() => connection.await,
        () = sleep(limits.head) => return tracing::debug!(%peer, "no request came in time"),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke off");
    }
}
