//! The client's address, for limits per address.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str,
};

use axum::http::{HeaderMap, HeaderName};

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
    /// Takes the entry of `X-Forwarded-For` that the outermost of `trusted_hops` proxies appended, counted
    /// from the right. Clients can forge the entries to the left of it.
    pub(super) fn of(peer: SocketAddr, headers: &HeaderMap, trusted_hops: usize) -> Self {
        let mut entries: Vec<&[u8]> = Vec::new();
        for value in headers.get_all(&FORWARDED_FOR) {
            entries.extend(value.as_bytes().split(|byte| *byte == b','));
        }
        let forwarded = trusted_hops.checked_sub(1).and_then(|hop| entries.iter().rev().nth(hop)).and_then(|entry| address(entry));
        Self(network(forwarded.unwrap_or(peer.ip())))
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

    fn source<T: AsRef<[u8]>>(forwarded: &[T], hops: usize) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(&FORWARDED_FOR, HeaderValue::from_bytes(value.as_ref()).expect("a header value"));
        }
        ClientAddress::of(SocketAddr::from(([10, 0, 0, 9], 4711)), &headers, hops).to_string()
    }

    #[test]
    fn without_trusted_hops_the_header_is_ignored() {
        assert_eq!(source(&["1.2.3.4"], 0), "10.0.0.9");
    }

    #[test]
    fn only_entries_of_trusted_proxies_count() {
        assert_eq!(source(&["6.6.6.6, 1.2.3.4"], 1), "1.2.3.4");
        assert_eq!(source(&["6.6.6.6", "1.2.3.4, 10.0.0.1"], 2), "1.2.3.4");
        assert_eq!(source(&["1.2.3.4:55555"], 1), "1.2.3.4");
        assert_eq!(source(&[b"\xff, 1.2.3.4"], 1), "1.2.3.4");
    }

    #[test]
    fn a_missing_or_invalid_entry_falls_back_to_the_peer() {
        assert_eq!(source::<&str>(&[], 1), "10.0.0.9");
        assert_eq!(source(&["1.2.3.4"], 2), "10.0.0.9");
        assert_eq!(source(&["unknown"], 1), "10.0.0.9");
    }

    #[test]
    fn an_ipv6_client_is_identified_by_its_network() {
        assert_eq!(source(&["2001:db8:1:2:3:4:5:6"], 1), "2001:db8:1:2::");
        assert_eq!(source(&["[2001:db8:1:2:3:4:5:6]"], 1), "2001:db8:1:2::");
        assert_eq!(source(&["[2001:db8:1:2:3:4:5:6]:443"], 1), "2001:db8:1:2::");
        assert_eq!(source(&["::ffff:1.2.3.4"], 1), "1.2.3.4");
    }
}
