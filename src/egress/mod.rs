//! Calls to servers that others choose: the endpoints of webhooks.
//!
//! What is called must not be a way into the network of this process. At every attempt the host is resolved anew, every
//! address is checked, and the connection goes to one of the addresses that were checked and to nothing else: a name that
//! points elsewhere a moment later changes nothing. What HTTP clients usually do by themselves is absent: there are no
//! proxies and redirects, which would not be checked, no cookies and no decompression. What is read of a response is bounded
//! in bytes and in time.

mod connection;
mod failure;
mod resolve;
mod response;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Request,
    body::{Bytes, Incoming},
    header,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::domain::webhook::{address::AllowedNetworks, outcome::AttemptOutcome, url::EndpointUrl};

use self::{connection::Connection, resolve::Lookup};
pub use self::{
    resolve::Blocked,
    response::{MAX_KEPT, MAX_READ, Response},
};

/// How long a name may take to resolve, and a connection with its TLS to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was last used longer ago is not used again. Servers commonly close theirs after a minute or more, and a
/// call that meets the closing of its connection fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

const USER_AGENT: &str = "core-api-webhooks/1";

/// What may be called and how. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Egress {
    shared: Arc<Shared>,
}

// What it is set up with is the settings', and its parts say nothing.
impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("timeout", &self.shared.timeout).finish_non_exhaustive()
    }
}

struct Shared {
    tls: TlsConnector,
    allowed: AllowedNetworks,
    timeout: Duration,
    lookup: Lookup,
}

/// One endpoint, with the connection that is kept to it. The connection is closed when this is dropped.
pub struct Target {
    egress: Egress,
    url: EndpointUrl,
    kept: Option<Kept>,
}

/// A connection that can be used again while the host has these addresses, which are sorted.
struct Kept {
    addresses: Vec<SocketAddr>,
    connection: Connection,
    since: Instant,
}

impl Egress {
    /// Calls public addresses and those of the networks. A call ends after the timeout, with all that belongs to it.
    /// Certificates must come from one of the authorities that Mozilla trusts, or from one of these.
    ///
    /// # Errors
    /// A certificate cannot be an authority's.
    pub fn new(allowed: AllowedNetworks, timeout: Duration, authorities: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        Self::with(allowed, timeout, authorities, resolve::system())
    }

    fn with(
        allowed: AllowedNetworks,
        timeout: Duration,
        authorities: Vec<CertificateDer<'static>>,
        lookup: Lookup,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for authority in authorities {
            roots.add(authority)?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { shared: Arc::new(Shared { tls: Arc::new(tls).into(), allowed, timeout, lookup }) })
    }

    /// An endpoint to be called.
    #[must_use]
    pub fn target(&self, url: &EndpointUrl) -> Target {
        Target { egress: self.clone(), url: url.clone(), kept: None }
    }

    /// Whether the URL could be called now. What its host resolves to may have changed at the first call.
    ///
    /// # Errors
    /// The host has an address that must not be called, or has no address.
    pub async fn check(&self, url: &EndpointUrl) -> Result<(), Blocked> {
        self.addresses(url).await.map(|_| ())
    }

    /// The addresses of the URL's host, all of which may be called.
    async fn addresses(&self, url: &EndpointUrl) -> Result<Vec<SocketAddr>, Blocked> {
        let addresses = match url.literal() {
            Some(ip) => vec![SocketAddr::new(ip, url.port())],
            None => resolve::addresses(&self.shared.lookup, url).await?,
        };
        // One that is not permitted is enough: no honest host has such an address beside a public one.
        if addresses.iter().all(|address| self.shared.allowed.permits(address.ip())) { Ok(addresses) } else { Err(Blocked::BlockedAddress) }
    }
}

impl Target {
    /// Sends a body with these headers, once.
    pub async fn post(&mut self, headers: &[(&'static str, String)], body: impl Into<Bytes>) -> Response {
        let started = Instant::now();
        let deadline = started + self.egress.shared.timeout;
        let (answer, mut kept) = match timeout_at(deadline, self.send(headers, body.into())).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(outcome)) => return Response::none(outcome, started.elapsed()),
            Err(_) => return Response::none(AttemptOutcome::Timeout, started.elapsed()),
        };
        let (response, is_complete) = response::read(answer, started, deadline).await;
        if is_complete {
            kept.since = Instant::now();
            self.kept = Some(kept);
        }
        response
    }

    /// The head of the response, and the connection that its body comes from.
    async fn send(&mut self, headers: &[(&'static str, String)], body: Bytes) -> Result<(hyper::Response<Incoming>, Kept), AttemptOutcome> {
        let kept = self.kept.take().filter(|kept| kept.since.elapsed() < IDLE_TIMEOUT);
        let addresses = self.egress.addresses(&self.url).await?;
        let mut set = addresses.clone();
        // Resolvers vary the order.
        set.sort_unstable();
        let mut request = self.request(headers, body)?;
        if let Some(mut kept) = kept.filter(|kept| kept.addresses == set) {
            match kept.connection.send(request).await {
                Ok(answer) => return Ok((answer, kept)),
                // The server had closed the connection before anything of the request went out.
                Err(mut error) => request = error.take_message().ok_or_else(|| failure::outcome_of(error.error()))?,
            }
        }
        let mut connection = Connection::open(&self.egress.shared.tls, &self.url, &addresses).await?;
        let answer = connection.send(request).await.map_err(|error| failure::outcome_of(error.error()))?;
        Ok((answer, Kept { addresses: set, connection, since: Instant::now() }))
    }

    fn request(&self, headers: &[(&'static str, String)], body: Bytes) -> Result<Request<Full<Bytes>>, AttemptOutcome> {
        let request = Request::post(self.url.path_and_query())
            .header(header::HOST, self.url.authority())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "*/*");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        request.body(Full::new(body)).map_err(|error| {
            tracing::error!(%error, "the request of a webhook could not be made");
            AttemptOutcome::Connection
        })
    }
}

#[cfg(test)]
mod tests;
