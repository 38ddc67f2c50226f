//! `DATABASE_URL`: what it may contain, and whether the connection verifies the server's certificate.

use std::{net::IpAddr, str::FromStr};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// The parameters that sqlx reads. It logs others with their values and ignores them.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// Why `DATABASE_URL` is refused. No message repeats a part of the URL: it may be a part of the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is not a Postgres URL, or a character in it is not percent-encoded.
    #[error(
        "DATABASE_URL takes postgres://user:password@host:5432/name, where every character of user and password other than letters, digits \
         and -._~ must be percent-encoded, such as %23 for #, %3F for ?, %2F for /, %40 for @ and %25 for %"
    )]
    Malformed,
    /// It has a parameter that does not exist.
    #[error(
        "DATABASE_URL takes the parameters sslmode, sslrootcert, sslcert, sslkey, host, port, dbname, user, password, application_name and \
         options, such as ?sslmode=verify-full, and has another one; a ? in the password must be percent-encoded as %3F"
    )]
    UnknownParameter,
    /// A parameter has a value that it does not accept.
    #[error(
        "a parameter of DATABASE_URL has a value that it does not accept; sslmode takes disable, allow, prefer, require, verify-ca or \
         verify-full, port takes a number, such as ?sslmode=verify-full&port=5432"
    )]
    Parameter,
    /// The connection would not verify the server's certificate and name.
    #[error(
        "DATABASE_URL takes sslmode=verify-full in production, such as ?sslmode=verify-full&sslrootcert=/etc/ssl/database-ca.pem; \
         CORE_API__DATABASE__ALLOW_UNVERIFIED_TLS=true permits a weaker mode on a network that nobody else can reach"
    )]
    UnverifiedTls,
}

/// Whether a connection to another machine verifies the certificate and the name of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// As the URL says.
    Optional,
    /// Yes, unless the URL names another mode.
    Default,
    /// Yes; a URL that names another mode is refused.
    Required,
}

/// Reads `DATABASE_URL`.
///
/// # Errors
/// It is not a Postgres URL, or permits a connection that the verification does not.
pub fn options(url: &SecretString, verification: Verification) -> Result<PgConnectOptions, UrlFault> {
    let url = parse(url.expose_secret())?;
    let is_known = |name: &str| PARAMETERS.contains(&name) || (name.starts_with("options[") && name.ends_with(']'));
    if !url.query_pairs().all(|(name, _)| is_known(&name)) {
        return Err(UrlFault::UnknownParameter);
    }
    let options = PgConnectOptions::from_str(url.as_str()).map_err(|_| UrlFault::Parameter)?;
    if verification == Verification::Optional || is_this_machine(&options) {
        return Ok(options);
    }
    // A mode in the environment of the process does not count.
    let names_mode = url.query_pairs().any(|(name, _)| ["sslmode", "ssl-mode"].contains(&&*name));
    match options.get_ssl_mode() {
        PgSslMode::VerifyFull => Ok(options),
        _ if !names_mode => Ok(options.ssl_mode(PgSslMode::VerifyFull)),
        _ if verification == Verification::Default => Ok(options),
        _ => Err(UrlFault::UnverifiedTls),
    }
}

/// Parses a URL whose user and password are percent-encoded. In one where they are not, a part of the password would be
/// taken for the host, the name of the database or a parameter.
fn parse(text: &str) -> Result<Url, UrlFault> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlFault::Malformed)?;
    let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = path_and_query.split('?').next().unwrap_or_default();
    let has_user = authority.contains('@');
    let ends_early = rest.contains('#') || path.contains('@') || (!has_user && path_and_query.contains('@'));
    if !["postgres", "postgresql"].contains(&scheme) || authority.matches('@').count() > 1 || ends_early || !is_percent_encoded(rest) {
        return Err(UrlFault::Malformed);
    }
    Url::parse(text).map_err(|_| UrlFault::Malformed)
}

/// Whether every `%` begins an encoded byte.
fn is_percent_encoded(text: &str) -> bool {
    let is_byte = |code: &str| code.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    text.split('%').skip(1).all(is_byte)
}

/// Whether the connection does not leave this machine: by a Unix socket or a loopback address.
fn is_this_machine(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, verification: Verification) -> Result<PgConnectOptions, UrlFault> {
        options(&SecretString::from(url), verification)
    }

    fn mode(url: &str, verification: Verification) -> Result<String, UrlFault> {
        read(url, verification).map(|options| format!("{:?}", options.get_ssl_mode()))
    }

    #[test]
    fn a_password_that_is_not_percent_encoded_is_refused() {
        for url in [
            "mysql://hunter2@db",
            "db",
            "postgres:/db/name",
            "postgres://user:hun#ter2@db/name",
            "postgres://user:12#hunter2@db/name",
            "postgres://user:hun?ter2@db/name",
            "postgres://user:12?hunter2@db/name",
            "postgres://user:hun/ter2@db/name",
            "postgres://user:12/hunter2@db/name",
            "postgres://user:hun@ter2@db/name",
            "postgres://user:hun%ter2@db/name",
            "postgres://user:hunter2%@db/name",
            "postgres://user:hunter%2@db/name",
            "postgres://user:hun%€ter2@db/name",
            "postgres://user@12/hunter2@db/name",
            "postgres://user:hunter2@db:port/name",
        ] {
            let fault = read(url, Verification::Optional).expect_err(url);
            assert_eq!(fault, UrlFault::Malformed, "{url}");
            assert!(!fault.to_string().contains("hun") && fault.to_string().contains("percent-encoded"));
        }
        let encoded = read("postgres://us%40er:h%23%3F%2F%40%25@db/na%20me?application_name=a@b", Verification::Optional).expect("a URL");
        assert_eq!((encoded.get_username(), encoded.get_host(), encoded.get_database()), ("us@er", "db", Some("na me")));
        for plain in ["postgres://db", "postgresql://user@db:5433/name", "postgres:///name?host=/run/postgresql&user=a"] {
            read(plain, Verification::Optional).expect(plain);
        }
    }

    #[test]
    fn unknown_parameters_and_values_are_refused_without_repeating_them() {
        for (url, fault) in [
            ("postgres://user:x@db/name?hunter2", UrlFault::UnknownParameter),
            ("postgres://user:x@db/name?sslmod=verify-full", UrlFault::UnknownParameter),
            ("postgres://user:x@db/name?sslmode=hunter2", UrlFault::Parameter),
            ("postgres://user:x@db/name?sslmode=verify_full", UrlFault::Parameter),
            ("postgres://user:x@db/name?port=hunter2", UrlFault::Parameter),
        ] {
            assert_eq!(read(url, Verification::Optional).expect_err(url), fault, "{url}");
            assert!(!fault.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn another_machine_is_verified_by_default_and_a_weaker_mode_is_refused() {
        for host in ["db.example", "10.0.0.1", "[2001:db8::1]", "0.0.0.0", "localhost.example"] {
            let url = |query: &str| format!("postgres://user:hunter2@{host}/name{query}");
            for verification in [Verification::Required, Verification::Default] {
                assert_eq!(mode(&url(""), verification), Ok("VerifyFull".to_owned()), "{host}");
                assert_eq!(mode(&url("?sslmode=verify-full"), verification), Ok("VerifyFull".to_owned()), "{host}");
            }
            for (weak, name) in
                [("disable", "Disable"), ("allow", "Allow"), ("prefer", "Prefer"), ("require", "Require"), ("verify-ca", "VerifyCa")]
            {
                for parameter in ["sslmode", "ssl-mode"] {
                    let url = url(&format!("?{parameter}={weak}"));
                    assert_eq!(mode(&url, Verification::Required), Err(UrlFault::UnverifiedTls), "{url}");
                    assert_eq!(mode(&url, Verification::Default), Ok(name.to_owned()), "{url}");
                    assert_eq!(mode(&url, Verification::Optional), Ok(name.to_owned()), "{url}");
                }
            }
        }
        let elsewhere = "postgres://localhost/name?host=db.example&sslmode=disable";
        assert_eq!(mode(elsewhere, Verification::Required), Err(UrlFault::UnverifiedTls), "the parameter is the host");
    }

    #[test]
    fn this_machine_needs_no_tls() {
        for url in [
            "postgres://user:hunter2@localhost/name",
            "postgres://user:hunter2@LOCALHOST/name",
            "postgres://user:hunter2@127.0.0.1:5433/name",
            "postgres://user:hunter2@127.9.9.9/name",
            "postgres://user:hunter2@[::1]/name",
            "postgres://user:hunter2@db.example/name?host=/run/postgresql",
            "postgres://user:hunter2@%2Frun%2Fpostgresql/name",
        ] {
            let disabled = format!("{url}{}sslmode=disable", if url.contains('?') { '&' } else { '?' });
            assert_eq!(mode(&disabled, Verification::Required), Ok("Disable".to_owned()), "{url}");
            assert_ne!(mode(url, Verification::Required), Ok("VerifyFull".to_owned()), "{url}");
        }
    }
}
