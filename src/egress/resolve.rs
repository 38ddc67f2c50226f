//! From a name to the addresses that are called.

use std::{io, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use crate::domain::webhook::{outcome::AttemptOutcome, url::EndpointUrl};

/// Why a URL must not be called, or cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// The host has an address that must not be called.
    #[error("the host has an address that is not public")]
    BlockedAddress,
    /// The host has no address.
    #[error("the host has no address")]
    Dns,
}

impl From<Blocked> for AttemptOutcome {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::BlockedAddress => Self::BlockedAddress,
            Blocked::Dns => Self::Dns,
        }
    }
}

/// Asks for the addresses of a name.
pub(super) type Lookup = Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The resolver of the system.
pub(super) fn system() -> Lookup {
    Arc::new(|host, port| Box::pin(async move { tokio::net::lookup_host((host, port)).await.map(Iterator::collect) }))
}

/// The addresses of the URL's host, in the order in which they are best tried. Never none.
pub(super) async fn addresses(lookup: &Lookup, url: &EndpointUrl) -> Result<Vec<SocketAddr>, Blocked> {
    let answer = timeout(super::CONNECT_TIMEOUT, lookup(url.host().to_owned(), url.port())).await;
    let addresses = answer.ok().and_then(Result::ok).unwrap_or_default();
    if addresses.is_empty() { Err(Blocked::Dns) } else { Ok(addresses) }
}
