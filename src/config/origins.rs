//! The setting for the web pages that may call the API.

use serde::Deserialize;
use url::Url;

/// Origins of web pages, each exactly as browsers send it: any other spelling would never match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Origins(Vec<String>);

/// An entry of the list is not an origin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an origin")]
pub struct NotAnOrigin;

impl TryFrom<String> for Origins {
    type Error = NotAnOrigin;

    fn try_from(list: String) -> Result<Self, NotAnOrigin> {
        let origins = list.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        origins.map(|origin| if is_origin(origin) { Ok(origin.to_owned()) } else { Err(NotAnOrigin) }).collect::<Result<_, _>>().map(Self)
    }
}

fn is_origin(text: &str) -> bool {
    // A URL may contain a star, but here it would look like a wildcard for any host.
    !text.contains('*')
        && Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.origin().ascii_serialization() == text)
}

impl Origins {
    /// The origins.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &str) -> Result<Origins, NotAnOrigin> {
        list.to_owned().try_into()
    }

    #[test]
    fn only_a_list_of_origins_is_accepted() {
        assert_eq!(origins(" , "), Ok(Origins::default()));
        let listed = origins("https://a.example, http://localhost:3000").expect("origins");
        assert_eq!(listed.iter().collect::<Vec<_>>(), ["https://a.example", "http://localhost:3000"]);
        for wrong in [
            "*",
            "null",
            "a.example",
            "ftp://a.example",
            "https://",
            "https://*.example",
            "https://A.example",
            "https://a.example/",
            "https://a.example:443",
            "https://a.example/path",
            "https://u:p@a.example",
            "https://a.example,https://b.example/",
        ] {
            assert!(origins(wrong).is_err(), "{wrong}");
        }
    }
}
