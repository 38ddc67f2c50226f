//! `traceparent`: the trace that a request belongs to, by W3C Trace Context, level 1.
//!
//! <https://www.w3.org/TR/trace-context-1/>

use std::fmt;

use axum::http::{HeaderMap, HeaderName};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request's position in its caller's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace's id.
    pub trace_id: TraceId,
    /// The caller's span.
    pub parent_id: u64,
    /// Whether the caller exports its own span.
    pub sampled: bool,
}

/// A trace's id, displayed as in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TraceContext {
    /// Reads the headers. Anything but exactly one valid `traceparent` counts as none.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(&TRACEPARENT).iter();
        match (given.next(), given.next()) {
            (Some(only), None) => Self::parse(only.as_bytes()),
            _ => None,
        }
    }

    /// `version-trace_id-parent_id-flags`, in lower-case hex digits. A later version may append fields.
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(55)?;
        if [2, 35, 52].iter().any(|dash| known.get(*dash) != Some(&b'-')) {
            return None;
        }
        let number = |digits| hex(known.get(digits)?);
        let (version, trace_id, parent_id, flags) = (number(0..2)?, number(3..35)?, number(36..52)?, number(53..55)?);
        let ends = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        if !ends || trace_id == 0 || parent_id == 0 {
            return None;
        }
        Some(Self { trace_id: TraceId(trace_id), parent_id: parent_id.try_into().ok()?, sampled: flags & 1 == 1 })
    }
}

/// Reads at most 32 hex digits.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    fn parse(text: &str) -> Option<TraceContext> {
        TraceContext::parse(text.as_bytes())
    }

    #[test]
    fn a_valid_header_is_read_completely() {
        let read = parse(&format!("00-{TRACE}-{PARENT}-01")).expect("valid");
        assert_eq!(read.trace_id, TraceId(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c));
        assert_eq!(read.trace_id.to_string(), TRACE);
        assert_eq!(read.parent_id, 0xb7ad_6b71_6920_3331);
        assert!(read.sampled);
    }

    #[test]
    fn only_the_lowest_flag_bit_means_sampled() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("fe", false), ("ff", true)] {
            assert_eq!(parse(&format!("00-{TRACE}-{PARENT}-{flags}")).map(|read| read.sampled), Some(sampled), "{flags}");
        }
    }

    #[test]
    fn only_versions_after_0_may_append_fields() {
        for (version, end, valid) in [
            ("00", "", true),
            ("00", "-", false),
            ("00", "-what-more-there-is", false),
            ("00", "0", false),
            ("01", "", true),
            ("01", "-", true),
            ("01", "-what-more-there-is", true),
            ("01", "0", false),
            ("01", ".what", false),
            ("cc", "-09", true),
            ("fe", "", true),
            ("ff", "", false),
            ("ff", "-09", false),
        ] {
            assert_eq!(parse(&format!("{version}-{TRACE}-{PARENT}-01{end}")).is_some(), valid, "{version} with {end:?}");
        }
    }

    #[test]
    fn malformed_headers_are_ignored() {
        let (zeros, upper) = ("0".repeat(32), TRACE.to_uppercase());
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{upper}-{PARENT}-01"),
            format!("00-{TRACE}-{}-01", PARENT.to_uppercase()),
            format!("0A-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-0A"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}"),
            format!("0-{TRACE}-{PARENT}-001"),
            format!("00-{}-{PARENT}-01", &TRACE[1..]),
            format!("00-{TRACE}-{}-001", &PARENT[1..]),
            format!("00_{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}_{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}_01"),
            format!("00-{}g-{PARENT}-01", &TRACE[1..]),
            format!("00-{}é-{PARENT}-01", &TRACE[2..]),
            format!("00-+{}-{PARENT}-01", &TRACE[1..]),
            format!(" 00-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-01 "),
        ] {
            assert_eq!(parse(&text), None, "{text:?}");
        }
    }

    #[test]
    fn duplicate_headers_are_ignored() {
        let value = HeaderValue::from_str(&format!("00-{TRACE}-{PARENT}-01")).expect("a value");
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of(&headers), None);
        headers.append(&TRACEPARENT, value.clone());
        assert_eq!(TraceContext::of(&headers).map(|read| read.trace_id.to_string()).as_deref(), Some(TRACE));
        headers.append(&TRACEPARENT, value);
        assert_eq!(TraceContext::of(&headers), None, "two equal headers");
    }

    proptest! {
        #[test]
        fn any_valid_ids_round_trip(trace_id in 1_u128.., parent_id in 1_u64.., flags in any::<u8>()) {
            let read = parse(&format!("00-{trace_id:032x}-{parent_id:016x}-{flags:02x}"));
            prop_assert_eq!(read, Some(TraceContext { trace_id: TraceId(trace_id), parent_id, sampled: flags % 2 == 1 }));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _read = TraceContext::parse(&bytes);
        }
    }
}
