//! The setting for networks of proxies.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::Deserialize;

/// Networks in CIDR notation. An address without a prefix length is a network of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Networks(Vec<IpNet>);

/// An entry of the list is not a network, or is the network of all addresses.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network")]
pub struct NotANetwork;

impl Networks {
    /// Whether one of the networks contains the address. An IPv4-mapped IPv6 address counts as its IPv4 address.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = NotANetwork;

    fn from_str(list: &str) -> Result<Self, NotANetwork> {
        list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Networks {
    type Error = NotANetwork;

    fn try_from(list: String) -> Result<Self, NotANetwork> {
        list.parse()
    }
}

fn network(text: &str) -> Result<IpNet, NotANetwork> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical())));
    // A network of all addresses would let any client choose its own address.
    network.ok().filter(|network| network.prefix_len() > 0).ok_or(NotANetwork)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contain(list: &str, address: &str) -> bool {
        list.parse::<Networks>().expect("networks").contain(address.parse().expect("an address"))
    }

    #[test]
    fn an_address_is_inside_or_outside() {
        for (list, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "9.255.255.255"),
            ("192.168.7.1", "192.168.7.1", "192.168.7.2"),
            ("10.0.0.0/8 , fd00::/8,", "fdff::1", "fe00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ] {
            assert!(contain(list, inside), "{list} {inside}");
            assert!(!contain(list, outside), "{list} {outside}");
        }
        assert!(!contain("", "127.0.0.1") && !contain(" , ", "::1"));
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in ["10.0.0.0/33", "10.0.0/8", "::/129", "balancer", "*", "0.0.0.0/0", "::/0", "10.0.0.0/8;fd00::/8", "10.0.0.1:80", "1"]
        {
            assert_eq!(wrong.parse::<Networks>(), Err(NotANetwork), "{wrong}");
        }
    }
}
