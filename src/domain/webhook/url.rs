//! The URL of an endpoint.

use core::net::IpAddr;
use std::fmt;

use url::{Host, ParseError, Position, Url};

/// The maximum length of an endpoint's URL, in bytes.
pub const MAX_LENGTH: usize = 2_048;

/// The first port that is no system port (RFC 6335). Below lie mail, remote shells and the like, which could be made to act
/// on what an HTTP request says.
const FIRST_USER_PORT: u16 = 1_024;

/// The URL of an endpoint. Its host may still resolve to anything: what it resolves to is checked at every attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointUrl(Url);

/// Why a URL was refused. Contains no part of it, since it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It has more than [`MAX_LENGTH`] bytes.
    #[error("the URL has more than {MAX_LENGTH} bytes")]
    TooLong,
    /// It is not an absolute URL.
    #[error("this is not an absolute URL")]
    Malformed,
    /// Its scheme is not https.
    #[error("the URL must begin with https://")]
    Scheme,
    /// It has no host.
    #[error("the URL has no host")]
    NoHost,
    /// It has a user name or a password.
    #[error("the URL must have no user name and no password")]
    UserInfo,
    /// It has a fragment.
    #[error("the URL must have no fragment (#)")]
    Fragment,
    /// Its port is a system port other than that of its scheme.
    #[error("the URL's port must be the scheme's own or at least {FIRST_USER_PORT}")]
    Port,
}

impl EndpointUrl {
    /// Parses what a caller wrote. With `allow_http` it may also begin with `http://`.
    ///
    /// # Errors
    /// It is malformed, or a part is not allowed.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, UrlFault> {
        if text.len() > MAX_LENGTH {
            return Err(UrlFault::TooLong);
        }
        // The parser drops these, and the endpoint's URL would not be what was written.
        if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(UrlFault::Malformed);
        }
        let url = Url::parse(text).map_err(|error| match error {
            ParseError::EmptyHost => UrlFault::NoHost,
            _ => UrlFault::Malformed,
        })?;
        if url.scheme() != "https" && !(allow_http && url.scheme() == "http") {
            return Err(UrlFault::Scheme);
        }
        if url.host().is_none() {
            return Err(UrlFault::NoHost);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlFault::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(UrlFault::Fragment);
        }
        // The parser leaves out the port of the scheme itself.
        if url.port().is_some_and(|port| port < FIRST_USER_PORT) {
            return Err(UrlFault::Port);
        }
        // Escapes make it longer.
        if url.as_str().len() > MAX_LENGTH {
            return Err(UrlFault::TooLong);
        }
        Ok(Self(url))
    }

    /// The host, in lower case and punycode; an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port, also if it is not written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Whether the scheme is https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, and the port if it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.0[Position::BeforeHost..Position::AfterPort]
    }

    /// What comes after the authority.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.0[Position::BeforePath..]
    }

    /// The address, if the host is one, in whatever notation: `http://2130706433/` is 127.0.0.1.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
        }
    }

    /// The URL in its normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<EndpointUrl, UrlFault> {
        EndpointUrl::parse(text, true)
    }

    #[test]
    fn a_url_is_kept_in_its_normal_form() {
        let url = EndpointUrl::parse("HTTPS://Hooks.Example.com:443/a b?c=d".replace(' ', "%20").as_str(), false).expect("a URL");
        assert_eq!(url.to_string(), "https://hooks.example.com/a%20b?c=d");
        assert_eq!((url.host(), url.port(), url.literal()), ("hooks.example.com", 443, None));
        assert_eq!((url.authority(), url.path_and_query(), url.is_https()), ("hooks.example.com", "/a%20b?c=d", true));
        let url = parse("http://[::1]:8080").expect("a URL");
        assert_eq!((url.authority(), url.path_and_query(), url.is_https()), ("[::1]:8080", "/", false));
        let url = parse("https://bücher.example:8443").expect("a URL");
        assert_eq!((url.as_str(), url.port()), ("https://xn--bcher-kva.example:8443/", 8443));
        assert_eq!(parse(url.as_str()), Ok(url));
        assert_eq!(parse("http://example.com").expect("a URL").port(), 80);
    }

    #[test]
    fn what_is_wrong_is_named_and_the_url_is_not_repeated() {
        for (text, fault) in [
            ("", UrlFault::Malformed),
            ("secret", UrlFault::Malformed),
            ("/secret", UrlFault::Malformed),
            ("//secret.example/", UrlFault::Malformed),
            ("https://secret.example/\n", UrlFault::Malformed),
            ("https://sec\tret.example/", UrlFault::Malformed),
            (" https://secret.example/", UrlFault::Malformed),
            ("https://secret.example/a b", UrlFault::Malformed),
            ("https://secret.example:99999/", UrlFault::Malformed),
            ("https://[::1/", UrlFault::Malformed),
            ("https://1.2.3.400/", UrlFault::Malformed),
            ("http://secret.example/", UrlFault::Scheme),
            ("ftp://secret.example/", UrlFault::Scheme),
            ("file:///secret", UrlFault::Scheme),
            ("javascript:secret", UrlFault::Scheme),
            ("mailto:secret@example.com", UrlFault::Scheme),
            ("https://", UrlFault::NoHost),
            ("https://:443/", UrlFault::NoHost),
            ("https://secret@example.com/", UrlFault::UserInfo),
            ("https://:secret@example.com/", UrlFault::UserInfo),
            ("https://a:secret@example.com/", UrlFault::UserInfo),
            ("https://example.com/#secret", UrlFault::Fragment),
            ("https://example.com/#", UrlFault::Fragment),
            ("https://example.com:80/secret", UrlFault::Port),
        ] {
            let error = EndpointUrl::parse(text, false).expect_err(text);
            assert_eq!(error, fault, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert_eq!(parse("ftp://example.com/"), Err(UrlFault::Scheme));
    }

    #[test]
    fn a_long_url_is_refused() {
        let url = |length: usize| format!("https://example.com/{}", "a".repeat(length - "https://example.com/".len()));
        assert!(parse(&url(MAX_LENGTH)).is_ok());
        assert_eq!(parse(&url(MAX_LENGTH + 1)), Err(UrlFault::TooLong));
        assert_eq!(parse(&format!("https://example.com/{}", "ü".repeat(1_000))), Err(UrlFault::TooLong), "6,000 bytes in normal form");
    }

    #[test]
    fn only_the_port_of_the_scheme_and_user_ports_are_allowed() {
        for (text, allowed) in [
            ("https://example.com:443/", true),
            ("https://example.com:1024/", true),
            ("https://example.com:65535/", true),
            ("https://example.com:0/", false),
            ("https://example.com:22/", false),
            ("https://example.com:80/", false),
            ("https://example.com:1023/", false),
            ("http://example.com:80/", true),
            ("http://example.com:8080/", true),
            ("http://example.com:443/", false),
            ("http://example.com:25/", false),
        ] {
            assert_eq!(parse(text).err(), (!allowed).then_some(UrlFault::Port), "{text}");
        }
    }

    #[test]
    fn an_address_is_recognised_in_every_notation() {
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://127.0.0.1./",
            "http://１２７.0.0.1/",
            "http://%31%32%37.0.0.1/",
            "http://127。0。0。1/",
        ] {
            let url = parse(text).expect(text);
            assert_eq!(url.literal(), Some(IpAddr::from([127, 0, 0, 1])), "{text}");
            assert_eq!(url.host(), "127.0.0.1", "{text}");
        }
        for (text, address) in [
            ("http://[::1]/", "::1"),
            ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
            ("http://[::ffff:7f00:1]/", "::ffff:127.0.0.1"),
            ("http://[64:ff9b::127.0.0.1]/", "64:ff9b::7f00:1"),
        ] {
            let url = parse(text).expect(text);
            assert_eq!(url.literal(), Some(address.parse().expect("an address")), "{text}");
            assert!(url.host().starts_with('['), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_can_be_read_again(text in "https?://[a-z0-9.:\\[\\]@#/?é%-]{1,40}") {
            if let Ok(url) = parse(&text) {
                prop_assert!(url.port() == 443 || url.port() == 80 || url.port() >= 1_024);
                prop_assert!(!url.host().is_empty() && !url.as_str().contains('#'));
                prop_assert_eq!(parse(url.as_str()), Ok(url));
            }
        }
    }
}
