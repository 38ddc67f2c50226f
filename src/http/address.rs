//! The client's address, for limits per address.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str,
    sync::Once,
};

use axum::http::{HeaderMap, HeaderName};

use crate::config::Networks;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A client's address. Of an IPv6 address only the first 64 bits count, since one client controls the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientAddress(IpAddr);

impl std::fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ClientAddress {
    /// The peer of the connection, unless it is a trusted proxy. Each proxy appends the address that it was called from to
    /// `X-Forwarded-For`, so the client is the last entry that is not a trusted proxy's. Clients can forge the entries to
    /// the left of it.
    pub(super) fn of(peer: SocketAddr, headers: &HeaderMap, trusted: &Networks) -> Self {
        if !trusted.contain(peer.ip()) {
            report_ignored_header(peer.ip(), headers);
            return Self(network(peer.ip()));
        }
        let values = headers.get_all(&FORWARDED_FOR).iter().rev();
        let entries = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')).filter(|entry| !entry.trim_ascii().is_empty());
        let mut client = peer.ip();
        for entry in entries {
            // No proxy writes an entry that is not an address: it and those to the left of it are the client's own.
            let Some(address) = address(entry) else { break };
            client = address;
            if !trusted.contain(address) {
                break;
            }
        }
        Self(network(client))
    }
}

/// Logs once that the header is ignored. Behind a proxy that is not trusted, all clients share its address, and one of them
/// can use up the failed logins of all.
fn report_ignored_header(peer: IpAddr, headers: &HeaderMap) {
    static REPORTED: Once = Once::new();
    if headers.contains_key(&FORWARDED_FOR) {
        REPORTED.call_once(|| {
            tracing::warn!(%peer, "X-Forwarded-For is ignored: server.trusted_proxies has no network with this peer; if it is your proxy, add it");
        });
    }
}

/// Parses an address, with or without a port or the brackets of IPv6.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        canonical @ IpAddr::V4(_) => canonical,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const PROXY: [u8; 4] = [10, 0, 0, 9];

    /// The client's address of a connection from the peer. All of 10.0.0.0/8 and fd00::/8 are trusted proxies.
    fn source_from<T: AsRef<[u8]>>(peer: impl Into<IpAddr>, forwarded: &[T]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(&FORWARDED_FOR, HeaderValue::from_bytes(value.as_ref()).expect("a header value"));
        }
        let trusted = "10.0.0.0/8,fd00::/8".parse().expect("networks");
        ClientAddress::of(SocketAddr::new(peer.into(), 4711), &headers, &trusted).to_string()
    }

    fn source<T: AsRef<[u8]>>(forwarded: &[T]) -> String {
        source_from(PROXY, forwarded)
    }

    #[test]
    fn a_peer_that_is_no_trusted_proxy_cannot_choose_its_address() {
        for forwarded in ["1.2.3.4", "10.0.0.1", "1.2.3.4, 10.0.0.1", "192.0.2.1", "unknown", ""] {
            assert_eq!(source_from([192, 0, 2, 1], &[forwarded]), "192.0.2.1", "{forwarded:?}");
        }
        let headers = HeaderMap::from_iter([(FORWARDED_FOR.clone(), HeaderValue::from_static("1.2.3.4"))]);
        let peer = SocketAddr::from((PROXY, 4711));
        assert_eq!(ClientAddress::of(peer, &headers, &Networks::default()).to_string(), "10.0.0.9", "without a network");
    }

    #[test]
    fn the_client_is_the_last_entry_that_is_no_trusted_proxy() {
        assert_eq!(source(&["1.2.3.4"]), "1.2.3.4");
        assert_eq!(source(&["6.6.6.6, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(source(&["6.6.6.6,1.2.3.4,10.0.0.1 ,\t10.0.0.2"]), "1.2.3.4");
        assert_eq!(source(&["6.6.6.6", "1.2.3.4, 10.0.0.1", "10.0.0.2"]), "1.2.3.4");
        assert_eq!(source(&["10.7.7.7, 1.2.3.4"]), "1.2.3.4", "a forged proxy to the left");
        assert_eq!(source(&["1.2.3.4:55555, 10.0.0.1:80"]), "1.2.3.4");
        assert_eq!(source(&["1.2.3.4, , 10.0.0.1,"]), "1.2.3.4", "an empty entry is none");
    }

    #[test]
    fn a_client_inside_a_trusted_network_is_the_first_entry() {
        assert_eq!(source(&["10.0.0.7, 10.0.0.1"]), "10.0.0.7");
        assert_eq!(source::<&str>(&[]), "10.0.0.9");
        assert_eq!(source(&[""]), "10.0.0.9");
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_list() {
        for malformed in ["unknown", "_hidden", "1.2.3", "1.2.3.4.5", "010.0.0.1", "[::1", "1.2.3.4;", "\"1.2.3.4\""] {
            assert_eq!(source(&[malformed]), "10.0.0.9", "{malformed}");
            assert_eq!(source(&[format!("1.2.3.4, {malformed}, 10.0.0.1")]), "10.0.0.1", "{malformed}");
            assert_eq!(source(&[format!("{malformed}, 1.2.3.4")]), "1.2.3.4", "{malformed}");
        }
        assert_eq!(source(&[b"\xff, 1.2.3.4".as_slice()]), "1.2.3.4");
        assert_eq!(source(&[b"1.2.3.4, \xff".as_slice()]), "10.0.0.9");
    }

    #[test]
    fn an_ipv6_client_is_identified_by_its_network() {
        assert_eq!(source(&["2001:db8:1:2:3:4:5:6"]), "2001:db8:1:2::");
        assert_eq!(source(&["[2001:db8:1:2:3:4:5:6]"]), "2001:db8:1:2::");
        assert_eq!(source(&["[2001:db8:1:2:3:4:5:6]:443, fd00::1"]), "2001:db8:1:2::");
        assert_eq!(source_from("fd00::9".parse::<IpAddr>().expect("an address"), &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(source_from("2001:db8::9".parse::<IpAddr>().expect("an address"), &["1.2.3.4"]), "2001:db8::");
    }

    #[test]
    fn an_ipv4_mapped_address_is_its_ipv4_address() {
        assert_eq!(source(&["::ffff:1.2.3.4"]), "1.2.3.4");
        assert_eq!(source(&["1.2.3.4, ::ffff:10.0.0.1"]), "1.2.3.4");
        let mapped = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(source_from(mapped("::ffff:10.0.0.9"), &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(source_from(mapped("::ffff:192.0.2.1"), &["1.2.3.4"]), "192.0.2.1");
    }
}
