//! Refuses requests that violate HTTP/1.1 in ways that the HTTP library lets pass: a proxy in front could read them as
//! another request than this server does.

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderValue, Version, header, uri::Authority},
    response::{IntoResponse, Response},
};
use tower::ServiceExt as _;

use crate::http::{error::Error, header_fields};

/// Routes a request that keeps to HTTP. After any other the connection is closed.
pub(in crate::http) async fn route(router: Router, request: Request) -> Response {
    if let Err(error) = check(request.version(), request.headers()) {
        return error.into_response();
    }
    let Ok(response) = router.oneshot(request).await;
    response
}

fn check(version: Version, headers: &HeaderMap) -> Result<(), Error> {
    // The library decodes `chunked` alone. Of any other coding before it, the body would still be encoded.
    let mut codings = header_fields::list(headers, &header::TRANSFER_ENCODING);
    let is_chunked_alone = codings.next().is_none_or(|coding| coding.eq_ignore_ascii_case("chunked")) && codings.next().is_none();
    let mut hosts = headers.get_all(header::HOST).iter();
    let is_addressed = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host),
        // HTTP/1.0 has no `Host`.
        (None, _) => version < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    };
    match (is_addressed, is_chunked_alone) {
        (false, _) => Err(Error::InvalidHost),
        (_, false) => Err(Error::UnsupportedTransferCoding),
        _ => Ok(()),
    }
}

/// Whether a value is a host with an optional port, or empty (RFC 9110, 7.2).
fn is_host(value: &HeaderValue) -> bool {
    if value.is_empty() {
        return true;
    }
    let Some(authority) = value.to_str().ok().and_then(|text| text.parse::<Authority>().ok()) else { return false };
    let host = authority.host();
    let Some(port) = authority.as_str().strip_prefix(host).filter(|_| !host.is_empty()) else { return false };
    // The standard library's parser of numbers takes a sign.
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && (text.is_empty() || text.parse::<u16>().is_ok());
    port.is_empty() || port.strip_prefix(':').is_some_and(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for valid in ["", "x", "api.example.com", "API.example.com:8080", "127.0.0.1:80", "[::1]", "[2001:db8::1]:443", "x:", "a_b", "a,b"]
        {
            assert!(is_host(&HeaderValue::from_static(valid)), "{valid}");
        }
        for invalid in [
            "a b", "a, b", "http://x", "x/y", "user@x", "x:y", "x:80:80", "x:65536", "x:-1", "x:+80", "[::1", "::1", "x?y", "x#y", "\"x\"",
            "<x>", ":",
        ] {
            assert!(!is_host(&HeaderValue::from_static(invalid)), "{invalid}");
        }
    }
}
