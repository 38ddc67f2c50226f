//! The grammar of header fields, in one place: lists, media types, parameters and weights (RFC 9110, 5.6, 8.3 and 12.4.2).
//!
//! Names, types and codings are case-insensitive. Space and tabs may surround a separator, and elements may be empty.

use std::{borrow::Cow, cmp::Reverse};

use axum::http::{HeaderMap, HeaderName, header};

/// The elements of a list field, over all of its lines.
pub(super) fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().flat_map(|line| split(text(line.as_bytes()), ',')).filter(|element| !element.is_empty())
}

/// Whether the body is declared as JSON in UTF-8 without a content coding; `None` without a declaration.
pub(super) fn is_declared_as_json(headers: &HeaderMap) -> Option<bool> {
    if list(headers, &header::CONTENT_ENCODING).any(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Some(false);
    }
    let declared: Vec<bool> = headers.get_all(header::CONTENT_TYPE).iter().map(|line| is_json(text(line.as_bytes()))).collect();
    (!declared.is_empty()).then(|| !declared.contains(&false))
}

fn is_json(media_type: &str) -> bool {
    let is_utf8 = |charset: &str| ["utf-8", "utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name));
    Item::parse(media_type).is_some_and(|item| {
        item.value.eq_ignore_ascii_case("application/json")
            && item.parameters.iter().all(|(name, value)| !name.eq_ignore_ascii_case("charset") || is_utf8(value))
    })
}

/// Whether the client would rather have HTML than JSON. On a tie, HTML wins only if the client names it more
/// specifically: browsers do, programs do not. A client that accepts neither gets JSON.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let preference = |ranges: [&str; 3]| preference(headers, &header::ACCEPT, &ranges).unwrap_or_default();
    let html = preference(["text/html", "text/*", "*/*"]);
    html.weight > 0 && html > preference(["application/json", "application/*", "*/*"])
}

/// The place of the media type that the client wants most. On a tie it is the one that the client names more specifically, and
/// then the first. None: the client accepts none of them. Without the field it accepts any.
pub(super) fn preferred(headers: &HeaderMap, media_types: &[&str]) -> Option<usize> {
    if list(headers, &header::ACCEPT).next().is_none() {
        return Some(0);
    }
    let preferences = media_types.iter().map(|media_type| {
        let kind = format!("{}/*", media_type.split('/').next().unwrap_or_default());
        preference(headers, &header::ACCEPT, &[*media_type, &kind, "*/*"]).unwrap_or_default()
    });
    let accepted = preferences.enumerate().filter(|(_, preference)| preference.weight > 0);
    accepted.max_by_key(|(place, preference)| (*preference, Reverse(*place))).map(|(place, _)| place)
}

/// Whether the client takes a response with the content coding gzip. Without the field it takes any.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let weight = |ranges: &[&str]| preference(headers, &header::ACCEPT_ENCODING, ranges).map_or(0, |preference| preference.weight);
    let gzip = weight(&["gzip", "x-gzip", "*"]);
    !headers.contains_key(header::ACCEPT_ENCODING) || gzip > 0 && gzip >= weight(&["identity"])
}

/// Whether `If-None-Match` lists the entity tag, so that the client has the response already.
pub(super) fn has_entity_tag(headers: &HeaderMap, tag: &str) -> bool {
    // The comparison is the weak one: a proxy that compresses a response makes its tag weak.
    list(headers, &header::IF_NONE_MATCH).any(|listed| listed == "*" || listed.strip_prefix("W/").unwrap_or(listed) == tag)
}

/// How much a client wants something: by weight, then by how specifically the client names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    /// In thousandths.
    weight: u16,
    specificity: usize,
}

/// What a field says of the most specific of `ranges` that it lists. They are given from the most specific to the least.
/// Parameters other than the weight do not count.
fn preference(headers: &HeaderMap, name: &HeaderName, ranges: &[&str]) -> Option<Preference> {
    let items: Vec<Item> = list(headers, name).filter_map(Item::parse).collect();
    ranges.iter().rev().enumerate().rev().find_map(|(specificity, range)| {
        let weights = items.iter().filter(|item| item.value.eq_ignore_ascii_case(range)).filter_map(Item::weight);
        weights.max().map(|weight| Preference { weight, specificity })
    })
}

/// A value with its parameters, such as `application/json; charset=utf-8` or `gzip;q=0.5`.
struct Item<'a> {
    value: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Item<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = split(text, ';');
        let value = parts.next()?;
        let parameters = parts.filter(|part| !part.is_empty()).map(parameter).collect::<Option<_>>()?;
        Some(Self { value, parameters })
    }

    /// The weight in thousandths, or `None` if it is not valid. Without a weight it is 1.
    fn weight(&self) -> Option<u16> {
        let Some((_, weight)) = self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("q")) else { return Some(1_000) };
        let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
        if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        match (whole, format!("{fraction:0<3}").parse().ok()?) {
            ("0", thousandths) => Some(thousandths),
            ("1", 0) => Some(1_000),
            _ => None,
        }
    }
}

/// `name=token` or `name="quoted string"`.
fn parameter(text: &str) -> Option<(&str, Cow<'_, str>)> {
    let (name, value) = text.split_once('=')?;
    let value = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?.into(),
        None if is_token(value) => value.into(),
        None => return None,
    };
    is_token(name).then_some((name, value))
}

/// The text of a quoted string, without its opening quote.
fn unquoted(quoted: &str) -> Option<String> {
    let mut plain = String::new();
    let mut letters = quoted.chars();
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(plain),
            '\\' => plain.push(letters.next()?),
            letter => plain.push(letter),
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Splits at a separator outside of quoted strings, and trims space and tabs.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |letter| {
        let is_end = letter == separator && !is_quoted;
        if is_escaped {
            is_escaped = false;
        } else if letter == '"' {
            is_quoted = !is_quoted;
        } else {
            is_escaped = letter == '\\' && is_quoted;
        }
        is_end
    });
    parts.map(|part| part.trim_matches([' ', '\t']))
}

/// The text of a line. A line that is not UTF-8 becomes a text that equals no valid value.
fn text(line: &[u8]) -> &str {
    str::from_utf8(line).unwrap_or("\u{fffd}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_bytes(line.as_bytes()).expect("a header value"))).collect()
    }

    #[test]
    fn a_media_type_is_read_by_the_grammar() {
        let declared = |lines: &[&str]| is_declared_as_json(&headers(&header::CONTENT_TYPE, lines));
        assert_eq!(declared(&[]), None);
        for json in [
            "application/json",
            "Application/JSON",
            "application/json;charset=utf-8",
            "application/json ; charset=utf-8",
            "application/json\t;\tcharset=UTF-8",
            "application/json;",
            "application/json; ;; charset=utf8 ;",
            "application/json; Charset=\"utf-8\"",
            r#"application/json; charset="\u\tf-8""#,
            r#"application/json; x="a;charset=latin-1,\"b"; charset=utf-8"#,
            "application/json; profile=https", // unknown parameters do not matter
        ] {
            assert_eq!(declared(&[json]), Some(true), "{json}");
        }
        for other in [
            "",
            ";",
            "; charset=utf-8",
            "application",
            "application/jsonp",
            "application /json",
            "application/json charset=utf-8",
            "application/json, application/json",
            "application/json; charset=latin-1",
            "application/json; charset=utf-8; charset=latin-1",
            "application/json; charset",
            "application/json; charset=",
            "application/json; charset = utf-8",
            "application/json; charset=\"utf-8",
            "application/json; charset=\"utf-8\"x",
            "application/json; charset=utf\u{2011}8",
            "text/plain",
        ] {
            assert_eq!(declared(&[other]), Some(false), "{other}");
        }
        assert_eq!(declared(&["application/json", "application/json"]), Some(true));
        assert_eq!(declared(&["application/json", "text/plain"]), Some(false));
        let latin = HeaderValue::from_bytes(b"application/json\xe9").expect("a header value");
        assert_eq!(is_declared_as_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, latin)])), Some(false));
    }

    #[test]
    fn only_the_content_coding_identity_is_taken() {
        let declared = |lines: &[&str]| {
            let mut headers = headers(&header::CONTENT_ENCODING, lines);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            is_declared_as_json(&headers)
        };
        for identity in [&["Identity"][..], &["IDENTITY, identity"], &["", ", ,identity\t,"], &["identity", "identity"]] {
            assert_eq!(declared(identity), Some(true), "{identity:?}");
        }
        for coded in [&["gzip"][..], &["identity, gzip"], &["identity", "br"], &["identity identity"], &["identit\u{e9}"]] {
            assert_eq!(declared(coded), Some(false), "{coded:?}");
        }
    }

    #[test]
    fn html_is_for_clients_that_prefer_it() {
        for html in [
            "text/html",
            "TEXT/HTML",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html, application/xhtml+xml, image/jxr, */*", // by its name, before any type
            "text/*",
            "application/json;q=0.9, text/html",
            "application/json; q=0.2 , text/html ;Q=0.201",
            "*/*;q=1.000, application/json;q=0",
            ", ,text/html;level=1,",
            "nonsense, text/html",
        ] {
            assert!(prefers_html(&headers(&header::ACCEPT, &[html])), "{html}");
        }
        for json in [
            "",
            "*/*",
            "application/json",
            "application/json, text/plain, */*",
            "application/json, text/html", // a tie, each by its name
            "text/html;q=0",
            "text/html;q=0, */*",
            "text/html;q=0.000, application/json;q=0.001",
            "text/html;q=0.5, application/json",
            "text/*, text/html;q=0",
            "text/html;q=2",
            "text/html;q=0.1234",
            "text/html;q=x",
            "text/htmlx",
            "x/y;z=\"text/html\"",
            "x/y;z=\",text/html,\"",
            "image/png",
        ] {
            assert!(!prefers_html(&headers(&header::ACCEPT, &[json])), "{json}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
        assert!(prefers_html(&headers(&header::ACCEPT, &["application/json;q=0.5", "text/html"])), "two lines are one list");
    }

    #[test]
    fn the_wanted_media_type_is_the_one_with_the_most_weight() {
        let wanted = |accept: &str| preferred(&headers(&header::ACCEPT, &[accept]), &["application/json", "text/csv"]);
        for (accept, place) in [
            ("", Some(0)),
            (" , ", Some(0)),
            ("*/*", Some(0)),
            ("application/json", Some(0)),
            ("application/json, text/csv", Some(0)),
            ("text/csv;q=0.5, application/*", Some(0)),
            ("text/html, */*;q=0.8", Some(0)),
            ("text/csv;q=0, */*", Some(0)),
            ("text/csv", Some(1)),
            ("TEXT/CSV; charset=utf-8", Some(1)),
            ("text/*", Some(1)),
            ("text/csv, */*", Some(1)),
            ("text/csv, application/json;q=0.9", Some(1)),
            ("application/json;q=0, */*;q=0.1", Some(1)),
            ("text/html", None),
            ("application/json;q=0, text/csv;q=0.0", None),
            ("*/*;q=0", None),
            ("nonsense", None),
            ("text/csv;q=2", None),
        ] {
            assert_eq!(wanted(accept), place, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &["application/json", "text/csv"]), Some(0));
    }

    #[test]
    fn gzip_is_for_clients_that_take_it() {
        for gzip in ["gzip", "deflate, GZIP;q=0.5, br", "*", "x-gzip", "identity;q=0.5, *;q=0.6", "gzip, identity"] {
            assert!(accepts_gzip(&headers(&header::ACCEPT_ENCODING, &[gzip])), "{gzip}");
        }
        for plain in ["", "identity", "br", "gzip;q=0", "gzip;q=0, *", "*;q=0", "identity, gzip;q=0.9", "gzip2"] {
            assert!(!accepts_gzip(&headers(&header::ACCEPT_ENCODING, &[plain])), "{plain}");
        }
        assert!(accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn an_entity_tag_is_found_in_a_list() {
        for lines in [&["\"a\""][..], &["W/\"a\""], &["\"b\" , \"a\""], &["\"b\"", "\"a\""], &["*"], &["\"x,y\", \"a\""]] {
            assert!(has_entity_tag(&headers(&header::IF_NONE_MATCH, lines), "\"a\""), "{lines:?}");
        }
        for lines in [&[][..], &[""], &["a"], &["\"A\""], &["\"b\""], &["\"x, \\\"a\\\", y\""]] {
            assert!(!has_entity_tag(&headers(&header::IF_NONE_MATCH, lines), "\"a\""), "{lines:?}");
        }
    }
}
