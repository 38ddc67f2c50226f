use proptest::prelude::*;

use super::*;

/// Every range that is not public, written apart from the code.
const V4: [&str; 19] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
];

/// The same of IPv6. The address before and after each is public only where this says so.
const V6: [(&str, bool, bool); 15] = [
    ("::/8", false, false),
    ("64:ff9b:1::/48", false, false),
    ("100::/64", false, false),
    ("2001::/23", true, true),
    ("2001::/32", true, false),
    ("2001:20::/28", false, false),
    ("2001:db8::/32", true, true),
    ("3fff::/20", true, true),
    ("4000::/2", true, false),
    ("5f00::/16", false, false),
    ("8000::/1", false, false),
    ("fc00::/7", false, false),
    ("fe80::/10", false, false),
    ("fec0::/10", false, false),
    ("ff00::/8", false, false),
];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn range_v4(text: &str) -> (u32, u32) {
    let network: Ipv4Net = text.parse().expect("a network");
    (network.network().to_bits(), network.broadcast().to_bits())
}

fn range_v6(text: &str) -> (u128, u128) {
    let network: Ipv6Net = text.parse().expect("a network");
    (network.network().to_bits(), network.broadcast().to_bits())
}

fn public_v4(bits: u32) -> bool {
    is_public(Ipv4Addr::from_bits(bits).into())
}

fn public_v6(bits: u128) -> bool {
    is_public(Ipv6Addr::from_bits(bits).into())
}

/// Whether no range has the address, by a comparison of numbers.
fn expected_v4(bits: u32) -> bool {
    V4.iter().map(|text| range_v4(text)).all(|(first, last)| bits < first || bits > last)
}

#[test]
fn the_edges_of_every_range_of_ipv4() {
    for text in V4 {
        let (first, last) = range_v4(text);
        assert!(!public_v4(first) && !public_v4(last), "{text}");
        for beside in [first.checked_sub(1), last.checked_add(1)].into_iter().flatten() {
            assert_eq!(public_v4(beside), expected_v4(beside), "{text} {}", Ipv4Addr::from_bits(beside));
        }
    }
    for address in ["1.0.0.0", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0", "172.32.0.0", "223.255.255.255", "8.8.8.8"] {
        assert!(is_public(ip(address)), "{address}");
    }
}

#[test]
fn the_edges_of_every_range_of_ipv6() {
    for (text, before, after) in V6 {
        let (first, last) = range_v6(text);
        assert!(!public_v6(first) && !public_v6(last), "{text}");
        assert_eq!(first.checked_sub(1).is_some_and(public_v6), before, "before {text}");
        assert_eq!(last.checked_add(1).is_some_and(public_v6), after, "after {text}");
    }
    assert!(is_public(ip("2000::")) && is_public(ip("3fff:1000::")) && is_public(ip("2606:4700:4700::1111")));
    assert!(!is_public(ip("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")) && !is_public(ip("4000::")));
}

#[test]
fn known_addresses_of_inner_services_are_not_public() {
    for address in
        ["169.254.169.254", "100.100.100.200", "127.0.0.1", "::", "::1", "::127.0.0.1", "::ffff:8.8.8.8", "fd00:ec2::254", "fe80::1"]
    {
        assert!(!is_public(ip(address)), "{address}");
    }
}

#[test]
fn the_edges_of_carried_ipv4() {
    for (outside, inside) in [("64:ff9b::1:0:0", "64:ff9b::808:808"), ("64:ff9b:0:0:0:ffff::", "64:ff9b::101:101")] {
        assert!(!is_public(ip(outside)) && is_public(ip(inside)), "{outside} {inside}");
    }
    assert!(!is_public(ip("64:ff9b::169.254.169.254")) && !is_public(ip("2002:7f00:1::1")) && !is_public(ip("2002:a9fe:a9fe::")));
    assert!(is_public(ip("2002:808:808::1")));
    assert!(is_public(ip("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff")) && is_public(ip("2003::")), "beside 6to4");
}

proptest! {
    #[test]
    fn an_address_of_ipv4_is_public_outside_of_all_ranges(bits: u32) {
        prop_assert_eq!(public_v4(bits), expected_v4(bits));
    }

    #[test]
    fn every_address_of_a_range_is_not_public(range in 0..V4.len(), offset: u32) {
        let (first, last) = range_v4(V4[range]);
        prop_assert!(!public_v4(first + offset.checked_rem(last - first).unwrap_or(0)));
    }

    #[test]
    fn every_address_of_a_range_of_ipv6_is_not_public(range in 0..V6.len(), offset: u128) {
        let (first, last) = range_v6(V6[range].0);
        let bits = first + offset % (last - first + 1);
        prop_assume!(!NAT64.contains(&Ipv6Addr::from_bits(bits)));
        prop_assert!(!public_v6(bits));
    }

    #[test]
    fn a_carried_address_decides(bits: u32, rest: u128) {
        let (nat64, _) = range_v6("64:ff9b::/96");
        prop_assert_eq!(public_v6(nat64 | u128::from(bits)), expected_v4(bits));
        let (six_to_four, _) = range_v6("2002::/16");
        prop_assert_eq!(public_v6(six_to_four | u128::from(bits) << 80 | rest & (u128::MAX >> 48)), expected_v4(bits));
    }

    #[test]
    fn a_mapped_address_is_never_public(bits: u32) {
        prop_assert!(!is_public(Ipv4Addr::from_bits(bits).to_ipv6_mapped().into()));
        prop_assert!(!public_v6(bits.into()), "nor a compatible one");
    }

    #[test]
    fn the_carried_address_of_a_range_is_not_public(range in 0..V4.len(), offset: u32) {
        let (first, last) = range_v4(V4[range]);
        let bits = u128::from(first) + u128::from(offset) % (u128::from(last - first) + 1);
        prop_assert!(!public_v6(0x64_ff9b_u128 << 96 | bits));
        prop_assert!(!public_v6(0x2002_u128 << 112 | bits << 80));
    }
}

fn allowed(list: &str) -> AllowedNetworks {
    list.parse().expect("networks")
}

#[test]
fn an_allowed_network_is_permitted_beside_the_public_ones() {
    let networks = allowed("10.1.0.0/16, fd00::/8 ,127.0.0.1,");
    for permitted in ["10.1.255.255", "fdff::1", "127.0.0.1", "8.8.8.8", "::ffff:10.1.0.1", "::ffff:127.0.0.1"] {
        assert!(networks.permits(ip(permitted)), "{permitted}");
    }
    for other in ["10.2.0.0", "fc00::1", "127.0.0.2", "::1", "::ffff:10.2.0.0", "::ffff:8.8.8.8"] {
        assert!(!networks.permits(ip(other)), "{other}");
    }
    assert!(!AllowedNetworks::default().permits(ip("127.0.0.1")));
    assert!(allowed("::ffff:0:0/96").permits(ip("::ffff:10.0.0.1")), "a network of mapped addresses");
    assert!(allowed("64:ff9b::/96").permits(ip("64:ff9b::10.0.0.1")));
}

#[test]
fn a_wrong_entry_is_named_by_its_number() {
    for (list, number) in [("10.0.0.0/33", 1), ("10.0.0.0/8,,internal", 2), ("fd00::/8, 10.0.0.1, 0.0.0.0/0", 3), ("::/0", 1)] {
        let fault = list.parse::<AllowedNetworks>().expect_err(list);
        assert_eq!(fault, NotANetwork(number), "{list}");
    }
    let read = |json: &str| serde_json::from_str::<AllowedNetworks>(json);
    assert_eq!(read(r#"["10.1.0.0/16", "fd00::/8", "127.0.0.1"]"#).expect("networks"), allowed("10.1.0.0/16,fd00::/8,127.0.0.1"));
    assert_eq!(read(r#""10.1.0.0/16,fd00::/8""#).expect("networks"), allowed("10.1.0.0/16,fd00::/8"));
    assert_eq!(read("[]").expect("none"), AllowedNetworks::default());
    let fault = read(r#"["10.0.0.0/8", "secret.internal"]"#).expect_err("not a network").to_string();
    assert!(fault.contains("number 2") && !fault.contains("secret"), "{fault}");
}
