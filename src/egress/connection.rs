//! A connection to an endpoint.

use std::{io, net::SocketAddr};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::domain::webhook::{outcome::AttemptOutcome, url::EndpointUrl};

use super::failure;

/// So many of a host's addresses are tried.
const MAX_TRIED: usize = 4;

/// The maximum length of a response's head, in bytes.
const MAX_HEAD: usize = 32 * 1_024;

/// A connection that speaks HTTP/1.1. It is closed when this is dropped, whatever is under way on it.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Connection {
    /// Connects to one of the addresses, and to nothing else.
    pub(super) async fn open(tls: &TlsConnector, url: &EndpointUrl, addresses: &[SocketAddr]) -> Result<Self, AttemptOutcome> {
        let deadline = Instant::now() + super::CONNECT_TIMEOUT;
        let stream = connect(addresses, deadline).await?;
        if !url.is_https() {
            return Self::speak(stream).await;
        }
        let handshake = tls.connect(server_name(url)?, stream);
        match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => Self::speak(stream).await,
            Ok(Err(error)) => Err(failure::outcome_of_handshake(&error)),
            Err(_) => Err(AttemptOutcome::Timeout),
        }
    }

    async fn speak(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self, AttemptOutcome> {
        let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| failure::outcome_of(&error))?;
        let task = tokio::spawn(async {
            // Whoever waits for a response is told of an error.
            let _ = connection.await;
        });
        Ok(Self { sender, task })
    }

    /// Sends a request. The error has the request if nothing of it was sent.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        // An error comes again from the next call, which gives the request back.
        let _ = self.sender.ready().await;
        self.sender.try_send_request(request).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tries the addresses one after the other. Each has its share of the time that is left, so that one that does not answer
/// leaves time for the others.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, AttemptOutcome> {
    let mut outcome = AttemptOutcome::Connection;
    let tried = addresses.len().min(MAX_TRIED);
    for (address, shares) in addresses.iter().zip((1..=tried).rev()) {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(shares).unwrap_or(1);
        outcome = match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // The head and the body are two writes, of which the second would wait for the answer to the first.
                let _: io::Result<()> = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(_)) => AttemptOutcome::Connection,
            Err(_) => AttemptOutcome::Timeout,
        };
    }
    Err(outcome)
}

/// The name that the certificate must be for.
fn server_name(url: &EndpointUrl) -> Result<ServerName<'static>, AttemptOutcome> {
    match url.literal() {
        Some(ip) => Ok(ip.into()),
        // Certificates have names without the dot of the root.
        None => url.host().trim_end_matches('.').to_owned().try_into().map_err(|_| AttemptOutcome::Tls),
    }
}
