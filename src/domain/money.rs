//! Money: whole minor units, exact between the JSON text and the `BIGINT` column in both directions.
//!
//! Nothing here goes through a binary float. The JSON form is a number: `100` or `-15.50`.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

/// Decimals of every supported currency: USD, EUR and COP all have two (ISO 4217).
pub const MINOR_DIGITS: u32 = 2;

/// The largest sum in minor units: 2^53-1, up to which a double represents every integer. JSON holds a
/// fraction of major units, in which doubles distinguish cents up to 2^46 units, about 70
/// trillion. Above that, a client that reads doubles is off by at most a cent.
pub const MAX_MINOR: i64 = 9_007_199_254_740_991;

/// A signed sum in minor units, within `±MAX_MINOR`: a balance, or the change that a movement makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct Money(i64);

/// What many movements come to, in minor units. It has no bound: what goes in and out again counts each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total(i128);

/// A sum that a caller wants to move: at least one minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(Money);

/// Why a JSON value is not a sum of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyFault {
    /// Not a JSON number: a string, null, an object.
    NotANumber,
    /// More decimals than the currencies have.
    TooManyDecimals,
    /// Outside `±MAX_MINOR`.
    OutOfRange,
    /// Zero or less, for an amount to move.
    NotPositive,
}

impl Money {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// A sum of minor units; `None` outside `±MAX_MINOR`.
    #[must_use]
    pub const fn from_minor(minor: i64) -> Option<Self> {
        if minor < -MAX_MINOR || minor > MAX_MINOR { None } else { Some(Self(minor)) }
    }

    /// The sum in minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// Adds two sums; `None` outside `±MAX_MINOR`.
    #[must_use]
    pub const fn plus(self, other: Self) -> Option<Self> {
        Self::from_minor(self.0 + other.0)
    }

    /// The sum with the opposite sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(-self.0)
    }

    /// What is left without the other. It may leave the bounds.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    /// Parses one JSON token.
    ///
    /// # Errors
    /// The token is not a number, has a non-zero third decimal, or is out of range.
    pub fn from_json(token: &str) -> Result<Self, MoneyFault> {
        let minor = minor_from_json(token, MINOR_DIGITS)?;
        Self::from_minor(minor).ok_or(MoneyFault::OutOfRange)
    }

    /// The JSON number: without decimals for a whole number of major units, else with all of them.
    #[must_use]
    pub fn to_json(self) -> String {
        minor_to_json(self.0, MINOR_DIGITS)
    }
}

/// Parses one JSON token as minor units of a currency with this many decimals, within `±MAX_MINOR`.
///
/// # Errors
/// The token is not a number, has more decimals that are not zero, or is out of range.
pub(super) fn minor_from_json(token: &str, digits: u32) -> Result<i64, MoneyFault> {
    if !token.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(MoneyFault::NotANumber);
    }
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let mantissa = exact(mantissa)?;
    if mantissa.is_zero() {
        return Ok(0);
    }
    // A number with a larger or smaller exponent is out of range or has too many decimals.
    let exponent: i32 =
        exponent.parse().map_err(|_| if exponent.starts_with('-') { MoneyFault::TooManyDecimals } else { MoneyFault::OutOfRange })?;
    let scale = i64::from(mantissa.scale());
    let shift = i64::from(exponent) + i64::from(digits) - scale;
    // `exact` removed trailing zeros after the point; the exponent may still shift others behind it.
    let mut minor = mantissa.mantissa();
    if shift < 0 {
        for _ in 0..shift.unsigned_abs() {
            if minor % 10 != 0 {
                return Err(MoneyFault::TooManyDecimals);
            }
            minor /= 10;
        }
    } else {
        let factor = u32::try_from(shift).ok().and_then(|shift| 10_i128.checked_pow(shift));
        minor = factor.and_then(|factor| minor.checked_mul(factor)).ok_or(MoneyFault::OutOfRange)?;
    }
    i64::try_from(minor).ok().filter(|minor| (-MAX_MINOR..=MAX_MINOR).contains(minor)).ok_or(MoneyFault::OutOfRange)
}

/// The JSON number of minor units of a currency with this many decimals: without them if they are all zero, else with all
/// of them.
pub(super) fn minor_to_json(minor: impl Into<i128>, digits: u32) -> String {
    let (minor, per_major) = (minor.into(), 10_u128.pow(digits));
    let (major, rest) = (minor.unsigned_abs() / per_major, minor.unsigned_abs() % per_major);
    let sign = if minor < 0 { "-" } else { "" };
    if rest == 0 { format!("{sign}{major}") } else { format!("{sign}{major}.{rest:0width$}", width = digits as usize) }
}

/// Parses a mantissa without rounding.
fn exact(mantissa: &str) -> Result<Decimal, MoneyFault> {
    let significant = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            let fraction = fraction.trim_end_matches('0');
            if fraction.len() > Decimal::MAX_SCALE as usize {
                return Err(MoneyFault::TooManyDecimals);
            }
            if fraction.is_empty() { whole } else { &mantissa[..=whole.len() + fraction.len()] }
        }
        None => mantissa,
    };
    Decimal::from_str_exact(significant).map_err(|_| MoneyFault::OutOfRange)
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_json()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl Total {
    /// A total in minor units.
    #[must_use]
    pub const fn from_minor(minor: i128) -> Self {
        Self(minor)
    }

    /// Adds two totals. No table has the movements that it would take to exceed the largest one.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Serialize for Total {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(minor_to_json(self.0, MINOR_DIGITS)).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl Amount {
    /// An amount to move; `None` if it is zero or less.
    #[must_use]
    pub fn new(money: Money) -> Option<Self> {
        (money > Money::ZERO).then_some(Self(money))
    }

    /// Parses one JSON token.
    ///
    /// # Errors
    /// As for [`Money::from_json`], or the number is not above zero.
    pub fn from_json(token: &str) -> Result<Self, MoneyFault> {
        Self::new(Money::from_json(token)?).ok_or(MoneyFault::NotPositive)
    }

    /// The sum, above zero.
    #[must_use]
    pub const fn money(self) -> Money {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minor(token: &str) -> Result<i64, MoneyFault> {
        Money::from_json(token).map(Money::minor)
    }

    #[test]
    fn numbers_are_parsed_to_exact_cents() {
        for (token, cents) in [
            ("100", 10_000),
            ("-20", -2_000),
            ("15.50", 1_550),
            ("-15.5", -1_550),
            ("0.1", 10),
            ("0.01", 1),
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0e99999999999", 0),
            ("1e2", 10_000),
            ("1E+2", 10_000),
            ("1550e-2", 1_550),
            ("100000e-4", 1_000),
            ("1.50000000000000000000000000000000000000000", 150),
            ("12345678901234.56", 1_234_567_890_123_456),
            ("90071992547409.91", MAX_MINOR),
            ("-90071992547409.91", -MAX_MINOR),
        ] {
            assert_eq!(minor(token), Ok(cents), "{token}");
        }
    }

    #[test]
    fn inexact_numbers_are_refused_and_not_rounded() {
        for (token, fault) in [
            ("\"100\"", MoneyFault::NotANumber),
            ("null", MoneyFault::NotANumber),
            ("true", MoneyFault::NotANumber),
            ("[1]", MoneyFault::NotANumber),
            ("{}", MoneyFault::NotANumber),
            ("1.005", MoneyFault::TooManyDecimals),
            ("0.001", MoneyFault::TooManyDecimals),
            ("1e-3", MoneyFault::TooManyDecimals),
            ("1e-30", MoneyFault::TooManyDecimals),
            ("1e-99999999999", MoneyFault::TooManyDecimals),
            ("0.30000000000000004", MoneyFault::TooManyDecimals),
            ("0.10000000000000000000000000000000000001", MoneyFault::TooManyDecimals),
            ("90071992547409.92", MoneyFault::OutOfRange),
            ("-90071992547409.92", MoneyFault::OutOfRange),
            ("1e29", MoneyFault::OutOfRange),
            ("1e400", MoneyFault::OutOfRange),
            ("-1e400", MoneyFault::OutOfRange),
            ("1e99999999999", MoneyFault::OutOfRange),
            ("12345678901234567890123456789012345", MoneyFault::OutOfRange),
        ] {
            assert_eq!(minor(token), Err(fault), "{token}");
        }
    }

    #[test]
    fn an_amount_is_above_zero() {
        assert_eq!(Amount::from_json("0.01").map(|amount| amount.money().minor()), Ok(1));
        for token in ["0", "-0", "-5", "-0.01", "0e5"] {
            assert_eq!(Amount::from_json(token), Err(MoneyFault::NotPositive), "{token}");
        }
    }

    #[test]
    fn one_tenth_plus_two_tenths_is_three_tenths() {
        let sum = Money::from_json("0.1").and_then(|tenth| tenth.plus(Money::from_json("0.2")?).ok_or(MoneyFault::OutOfRange));
        assert_eq!(sum.map(Money::to_json), Ok("0.30".to_owned()));
    }

    /// Any dependency could enable serde_json's `arbitrary_precision`, which would change how all
    /// numbers are parsed and compared.
    #[test]
    fn serde_json_parses_numbers_without_arbitrary_precision() {
        let read: serde_json::Value = serde_json::from_str("1.50").expect("a number");
        assert_eq!(read, serde_json::json!(1.5));
    }

    /// The cents that a client which parses doubles would show.
    fn read_as_a_double(number: &str) -> i64 {
        let double: f64 = number.parse().expect("a number");
        format!("{double:.2}").replace('.', "").parse().expect("digits")
    }

    #[expect(clippy::float_arithmetic, reason = "parses the same text independently, if coarsely")]
    fn reads_alike(one: &str, other: &str) -> bool {
        let (one, other): (f64, f64) = (one.parse().expect("a number"), other.parse().expect("a number"));
        (one - other).abs() <= f64::EPSILON.max(one.abs() * f64::EPSILON)
    }

    fn any_money() -> impl Strategy<Value = Money> {
        (-MAX_MINOR..=MAX_MINOR).prop_map(|minor| Money::from_minor(minor).expect("within bounds"))
    }

    proptest! {
        #[test]
        fn printing_and_parsing_round_trip(money in any_money()) {
            prop_assert_eq!(Money::from_json(&money.to_json()), Ok(money));
            let through_serde = serde_json::to_string(&money).expect("serialises");
            prop_assert_eq!(through_serde, money.to_json());
        }

        /// Up to 2^46 units; above it, to the bound, by one cent at most.
        #[test]
        fn a_client_that_reads_doubles_is_exact_to_the_cent(money in any_money()) {
            let cents = read_as_a_double(&money.to_json());
            let coarse = money.minor().abs() > 2_i64.pow(46) * 10_i64.pow(MINOR_DIGITS);
            prop_assert!((cents - money.minor()).abs() <= i64::from(coarse));
        }

        #[test]
        fn an_exponent_only_shifts_the_decimal_point(money in any_money(), shift in 0_u32..20) {
            let token = format!("{}e{}", money.minor(), -2);
            prop_assert_eq!(Money::from_json(&token), Ok(money));
            let zeros = "0".repeat(shift as usize);
            let token = format!("{}{zeros}e-{}", money.minor(), shift + 2);
            let read = Money::from_json(&token);
            prop_assert!(read == Ok(money) || read == Err(MoneyFault::OutOfRange), "{token}: {read:?}");
        }

        #[test]
        fn sums_never_drift(cents in prop::collection::vec(-1_000_000_i64..1_000_000, 0..200)) {
            let mut sum = Money::ZERO;
            for step in &cents {
                let step = Money::from_json(&Money::from_minor(*step).expect("small").to_json()).expect("parses");
                sum = Money::from_json(&sum.plus(step).expect("within bounds").to_json()).expect("parses");
            }
            prop_assert_eq!(sum.minor(), cents.iter().sum::<i64>());
        }

        #[test]
        fn sums_outside_the_bounds_are_refused(minor in -2 * MAX_MINOR..2 * MAX_MINOR, other in any_money()) {
            let within = minor.abs() <= MAX_MINOR;
            prop_assert_eq!(Money::from_minor(minor).is_some(), within);
            prop_assert_eq!(Money::from_json(&format!("{minor}e-2")).is_ok(), within);
            let total = minor + other.minor();
            let sum = Money::from_minor(minor).and_then(|money| money.plus(other));
            prop_assert_eq!(sum.map(Money::minor), (within && total.abs() <= MAX_MINOR).then_some(total));
        }

        #[test]
        fn any_json_number_is_parsed_exactly_or_refused(token in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?") {
            if let Ok(money) = Money::from_json(&token) {
                prop_assert!(reads_alike(&token, &money.to_json()), "{token} read as {}", money.to_json());
            }
        }
    }
}
