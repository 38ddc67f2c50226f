//! Which addresses may be called on behalf of somebody else.
//!
//! Whoever registers an endpoint chooses what this process connects to. Without a rule that would be anything this process
//! can reach: the database, the metadata service of a cloud, a neighbour's administration page.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// What is not a host of the public internet: the IANA IPv4 Special-Purpose Address Registry (RFC 6890), and multicast.
/// The anycast services of RFC 7534, 7535 and 7450 are reachable, but whoever is nearest answers: nobody's endpoint.
const NOT_PUBLIC_V4: [Ipv4Net; 18] = [
    v4(0, 0, 0, 0, 8),       // this network, RFC 791
    v4(10, 0, 0, 0, 8),      // private, RFC 1918
    v4(100, 64, 0, 0, 10),   // shared by customers of a carrier, RFC 6598
    v4(127, 0, 0, 0, 8),     // loopback, RFC 1122
    v4(169, 254, 0, 0, 16),  // link-local, RFC 3927; metadata of clouds
    v4(172, 16, 0, 0, 12),   // private, RFC 1918
    v4(192, 0, 0, 0, 24),    // protocol assignments, RFC 6890
    v4(192, 0, 2, 0, 24),    // documentation, RFC 5737
    v4(192, 31, 196, 0, 24), // AS112, RFC 7535
    v4(192, 52, 193, 0, 24), // AMT, RFC 7450
    v4(192, 88, 99, 0, 24),  // relays of 6to4, RFC 7526
    v4(192, 168, 0, 0, 16),  // private, RFC 1918
    v4(192, 175, 48, 0, 24), // AS112, RFC 7534
    v4(198, 18, 0, 0, 15),   // benchmarks, RFC 2544
    v4(198, 51, 100, 0, 24), // documentation, RFC 5737
    v4(203, 0, 113, 0, 24),  // documentation, RFC 5737
    v4(224, 0, 0, 0, 4),     // multicast, RFC 5771
    v4(240, 0, 0, 0, 4),     // reserved, RFC 1112; broadcast, RFC 919
];

/// All global unicast addresses that IANA has given out (RFC 4291, the IANA IPv6 address space registry). Nothing outside is
/// public: not loopback and IPv4-mapped addresses in ::/8, not 64:ff9b:1::/48 (RFC 8215), 100::/64 (RFC 6666), 5f00::/16
/// (RFC 9602), fc00::/7 (RFC 4193), fe80::/10, fec0::/10 (RFC 3879) and ff00::/8 (RFC 4291).
const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);

/// What is not a host of the public internet inside [`GLOBAL_UNICAST`]: the IANA IPv6 Special-Purpose Address Registry.
const NOT_PUBLIC_V6: [Ipv6Net; 3] = [
    v6(0x2001, 0, 0, 23),     // protocol assignments, RFC 2928, with Teredo (RFC 4380) and ORCHID (RFC 7343)
    v6(0x2001, 0xdb8, 0, 32), // documentation, RFC 3849
    v6(0x3fff, 0, 0, 20),     // documentation, RFC 9637
];

/// Addresses of IPv4 hosts behind a NAT64, RFC 6052.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Addresses of IPv4 sites by 6to4, RFC 3056.
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);

/// Whether this is the address of a host on the public internet. An address that carries an IPv4 address, which a gateway
/// would connect to, is as public as that one.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|network| network.contains(&ip))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if NAT64.contains(&ip) {
        return is_public_v4(carried(ip, 0));
    }
    if SIX_TO_FOUR.contains(&ip) {
        return is_public_v4(carried(ip, 80));
    }
    GLOBAL_UNICAST.contains(&ip) && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&ip))
}

/// The IPv4 address that comes before the last so many bits.
const fn carried(ip: Ipv6Addr, bits_after: u32) -> Ipv4Addr {
    let [.., a, b, c, d] = (ip.to_bits() >> bits_after).to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// Networks that may be called although they are not public: those of the operator's own receivers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct AllowedNetworks(Vec<IpNet>);

/// An entry of the list is not a network in CIDR notation, or is the network of all addresses. Counted from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("network number {0} is not a network in CIDR notation of fewer than all addresses")]
pub struct NotANetwork(pub usize);

/// As a settings file has it, or an environment variable, which has no lists.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    List(Vec<String>),
    Text(String),
}

impl AllowedNetworks {
    /// Whether this address may be called: it is public, or in one of the networks.
    #[must_use]
    pub fn permits(&self, ip: IpAddr) -> bool {
        is_public(ip) || self.contains(ip)
    }

    /// Whether one of the networks contains the address. An IPv4-mapped IPv6 address also counts as its IPv4 address.
    fn contains(&self, ip: IpAddr) -> bool {
        let canonical = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip) || network.contains(&canonical))
    }

    fn parse<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Self, NotANetwork> {
        let entries = entries.map(str::trim).enumerate();
        entries.map(|(index, entry)| network(entry).ok_or(NotANetwork(index + 1))).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for AllowedNetworks {
    type Err = NotANetwork;

    fn from_str(list: &str) -> Result<Self, NotANetwork> {
        Self::parse(list.split(',').filter(|entry| !entry.trim().is_empty()))
    }
}

impl TryFrom<Written> for AllowedNetworks {
    type Error = NotANetwork;

    fn try_from(written: Written) -> Result<Self, NotANetwork> {
        match written {
            Written::List(list) => Self::parse(list.iter().map(String::as_str)),
            Written::Text(text) => text.parse(),
        }
    }
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    // A network of all addresses would switch the rule off, which nobody should do in passing.
    network.ok().filter(|network| network.prefix_len() > 0)
}

#[cfg(test)]
mod tests;
