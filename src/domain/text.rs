//! Text from callers: trimmed, bounded, visible, without control characters. Parsed once, at the boundary.

use std::{fmt, str::FromStr};

use email_address::{EmailAddress, Options};
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{BidiControl, DefaultIgnorableCodePoint, GeneralCategory},
};

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// Nothing is left after trimming.
    #[error("must not be blank")]
    Blank,
    /// Every character is white space, ignorable or otherwise blank.
    #[error("must have a visible character in it")]
    Invisible,
    /// More characters than the field accepts.
    #[error("takes at most {max} characters")]
    TooLong {
        /// The maximum number of characters.
        max: usize,
    },
    /// The text contains NUL or another control character.
    #[error("must not have control characters in it")]
    ControlCharacter,
    /// The text contains a character that changes the direction of writing, and so what a reader sees.
    #[error("must not have bidirectional control characters in it")]
    BidirectionalControl,
    /// The text contains a character that is not printable ASCII.
    #[error("takes only printable ASCII characters")]
    NotPrintable,
    /// Not the category of a merchant.
    #[error("must be 4 digits, such as 5734")]
    NotACategory,
    /// Not the code of a country.
    #[error("must be a country's code of two capital letters (ISO 3166-1), such as US")]
    NotACountry,
    /// Not the address of a mailbox on a named host.
    #[error("must be an email address such as juan@email.com")]
    NotAnEmail,
}

/// The name of a customer, an account, an API key or a limit: 1 to 200 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// The purpose of a movement: 1 to 200 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description(String);

/// Why something was done, in a caller's words: 1 to 100 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

/// What people call a card: 1 to 100 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

/// An account's own name for a customer or a card: 1 to 100 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalId(String);

/// An email address: at most 254 characters, ASCII, `local@host.tld`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

/// The longest name and description, in characters.
pub const MAX_TEXT: usize = 200;

/// The longest reason, label and external id, in characters.
pub const MAX_REASON: usize = 100;

/// The longest email address: RFC 5321 limits a path to 256 octets, two of them its angle brackets.
pub const MAX_EMAIL: usize = 254;

/// A text without the white space around it: 1 to `max` characters, at least one of them visible, none of them a control
/// character.
///
/// # Errors
/// The text breaks one of these rules.
pub fn trimmed(text: &str, max: usize) -> Result<&str, TextFault> {
    let text = text.trim();
    if text.is_empty() {
        return Err(TextFault::Blank);
    }
    if text.chars().count() > max {
        return Err(TextFault::TooLong { max });
    }
    if text.chars().any(char::is_control) {
        return Err(TextFault::ControlCharacter);
    }
    if text.chars().any(is_bidirectional_control) {
        return Err(TextFault::BidirectionalControl);
    }
    if !text.chars().any(is_visible) {
        return Err(TextFault::Invisible);
    }
    Ok(text)
}

/// A text without the spaces around it: 1 to `max` characters of printable ASCII.
///
/// # Errors
/// The text breaks one of these rules.
pub fn printable(text: &str, max: usize) -> Result<&str, TextFault> {
    let text = trimmed(text, max)?;
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) { Ok(text) } else { Err(TextFault::NotPrintable) }
}

/// Whether a character overrides, embeds, isolates or marks a direction of writing.
pub(super) fn is_bidirectional_control(character: char) -> bool {
    CodePointSetData::new::<BidiControl>().contains(character)
}

/// Characters that Unicode classes as symbols but that have no ink: an empty Braille cell and a note without a head.
const BLANK_SYMBOLS: [char; 2] = ['\u{2800}', '\u{1d159}'];

/// Whether a reader sees the character by itself.
fn is_visible(character: char) -> bool {
    let is_format = || CodePointMapData::<GeneralCategory>::new().get(character) == GeneralCategory::Format;
    let is_ignorable = || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character);
    !(character.is_whitespace() || character.is_control() || BLANK_SYMBOLS.contains(&character) || is_format() || is_ignorable())
}

impl FromStr for Name {
    type Err = TextFault;

    fn from_str(text: &str) -> Result<Self, TextFault> {
        trimmed(text, MAX_TEXT).map(|text| Self(text.to_owned()))
    }
}

impl FromStr for Description {
    type Err = TextFault;

    fn from_str(text: &str) -> Result<Self, TextFault> {
        trimmed(text, MAX_TEXT).map(|text| Self(text.to_owned()))
    }
}

/// Texts of at most [`MAX_REASON`] characters.
macro_rules! short_text {
    ($($type:ident)*) => {
        $(impl FromStr for $type {
            type Err = TextFault;

            fn from_str(text: &str) -> Result<Self, TextFault> {
                trimmed(text, MAX_REASON).map(|text| Self(text.to_owned()))
            }
        }

        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        })*
    };
}

short_text! { Reason Label ExternalId }

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Description {
    /// The description of every top-up, as in the published reference.
    #[must_use]
    pub fn of_a_top_up() -> Self {
        Self("Balance top-up".to_owned())
    }

    /// The description of a withdrawal that has no other.
    #[must_use]
    pub fn of_a_withdrawal() -> Self {
        Self("Withdrawal".to_owned())
    }

    /// The description of a transfer that has no other.
    #[must_use]
    pub fn of_a_transfer() -> Self {
        Self("Transfer".to_owned())
    }

    /// The description of the money that goes from a card to the one that replaces it.
    #[must_use]
    pub fn of_a_replacement() -> Self {
        Self("Card replacement".to_owned())
    }

    /// The description of a card payment whose merchant is not known.
    #[must_use]
    pub fn of_a_payment() -> Self {
        Self("Card payment".to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Email {
    /// The address as the caller sent it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which addresses are compared: it ignores case.
    ///
    /// Computed here because the database's `lower()` depends on the locale and folds look-alikes such
    /// as the Kelvin sign into ASCII.
    #[must_use]
    pub fn key(&self) -> String {
        email_key(&self.0)
    }
}

/// The form in which emails are compared, also for text that may not be an email.
pub fn email_key(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

impl FromStr for Email {
    type Err = TextFault;

    fn from_str(text: &str) -> Result<Self, TextFault> {
        let text = trimmed(text, MAX_EMAIL)?;
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        let parsed = EmailAddress::parse_with_options(text, options).map_err(|_| TextFault::NotAnEmail)?;
        // The parser allows quoted local parts and any character in a host; internet mail does not.
        let host_is_plain = parsed.domain().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        if !text.is_ascii() || text.contains('"') || !host_is_plain {
            return Err(TextFault::NotAnEmail);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_trimmed_and_counted_in_characters() {
        assert_eq!("  Juan Perez\t".parse::<Name>().map(|name| name.0), Ok("Juan Perez".to_owned()));
        assert!("é".repeat(200).parse::<Name>().is_ok());
        assert_eq!("é".repeat(201).parse::<Name>(), Err(TextFault::TooLong { max: 200 }));
        assert!(format!(" {} ", "é".repeat(100)).parse::<Reason>().is_ok());
        assert_eq!("é".repeat(101).parse::<Reason>(), Err(TextFault::TooLong { max: 100 }));
    }

    #[test]
    fn blank_and_control_characters_are_refused() {
        for text in ["", " ", "\t\n", "\u{a0}\u{2003}"] {
            assert_eq!(text.parse::<Name>(), Err(TextFault::Blank), "{text:?}");
        }
        for text in ["a\u{0}b", "a\nb", "a\u{1b}b", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(text.parse::<Name>(), Err(TextFault::ControlCharacter), "{text:?}");
        }
    }

    /// Unicode's `Bidi_Control`, written out.
    fn bidirectional_controls() -> impl Iterator<Item = char> {
        ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter().chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}')
    }

    #[test]
    fn every_white_space_is_trimmed_and_stays_within_the_text() {
        let spaces = "\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
        for space in spaces.chars() {
            let parsed = format!("{space}{space}Juan{space}").parse::<Description>();
            assert_eq!(parsed.as_ref().map(Description::as_str), Ok("Juan"), "{:x}", u32::from(space));
        }
        assert_eq!(format!("{spaces}Juan{spaces}").parse::<Name>().as_ref().map(Name::as_str), Ok("Juan"));
        assert_eq!("Juan\u{a0}Perez".parse::<Name>().as_ref().map(Name::as_str), Ok("Juan\u{a0}Perez"));
        assert_eq!("Juan\tPerez".parse::<Name>(), Err(TextFault::ControlCharacter));
    }

    #[test]
    fn bidirectional_controls_are_refused_at_every_position() {
        assert_eq!(bidirectional_controls().count(), 12);
        for control in bidirectional_controls() {
            for text in [format!("{control}Juan"), format!("Ju{control}an"), format!("Juan{control}"), control.to_string()] {
                assert_eq!(text.parse::<Name>(), Err(TextFault::BidirectionalControl), "{text:?}");
                assert_eq!(text.parse::<Description>(), Err(TextFault::BidirectionalControl), "{text:?}");
            }
        }
    }

    #[test]
    fn a_text_of_invisible_characters_is_refused() {
        let invisible = [
            "\u{ad}",
            "\u{34f}",
            "\u{115f}",
            "\u{1160}",
            "\u{17b4}",
            "\u{180e}",
            "\u{200b}",
            "\u{200c}",
            "\u{200d}",
            "\u{2060}",
            "\u{2064}",
            "\u{206a}",
            "\u{2800}",
            "\u{3164}",
            "\u{fe0f}",
            "\u{feff}",
            "\u{ffa0}",
            "\u{fff9}",
            "\u{1d159}",
            "\u{1d173}",
            "\u{e0001}",
            "\u{e0020}",
            "\u{e01ef}",
            "\u{200b}\u{3164} \u{2800}",
        ];
        for text in invisible {
            assert_eq!(text.parse::<Name>(), Err(TextFault::Invisible), "{text:?}");
            assert_eq!(format!(" {text}\t").parse::<Description>(), Err(TextFault::Invisible), "{text:?}");
            let with_letter = format!("{text}a{text}");
            let expected = with_letter.trim().to_owned();
            assert_eq!(with_letter.parse::<Name>().map(|name| name.0), Ok(expected), "{text:?}");
        }
        for text in ["a", "é", "李", "م", "ไ", "한", "💳", "🇨🇴", "👩\u{200d}👩\u{200d}👧", "❤\u{fe0f}", "-", "0", "می\u{200c}خواهم"]
        {
            assert_eq!(text.parse::<Name>().map(|name| name.0).as_deref(), Ok(text));
        }
    }

    #[test]
    fn an_email_names_a_mailbox_on_a_host() {
        for text in ["juan@email.com", "a.b+c@d-e.co", " JUAN@Email.Com ", "o'hara@x.ie"] {
            assert!(text.parse::<Email>().is_ok(), "{text}");
        }
        for text in [
            "a",
            "a@",
            "@b.co",
            "a@b",
            "a b@c.co",
            "a@b c.co",
            "a@@b.co",
            "a..b@c.co",
            ".a@c.co",
            "a.@c.co",
            "a@.co",
            "a@c..co",
            "a@-c.co",
            "a@b_c.co",
            "\"a b\"@c.co",
            "a@[127.0.0.1]",
            "Juan <juan@email.com>",
            "josé@email.com",
            "a@bücher.de",
            "a@b.co,c@d.co",
        ] {
            assert_eq!(text.parse::<Email>(), Err(TextFault::NotAnEmail), "{text}");
        }
        let long = format!("a@{}.co", "b".repeat(260));
        assert_eq!(long.parse::<Email>(), Err(TextFault::TooLong { max: 254 }));
    }

    #[test]
    fn emails_compare_without_case_and_without_folding_look_alikes() {
        let key = |text: &str| text.parse::<Email>().map(|email| email.key());
        assert_eq!(key("Juan@Email.COM"), key("juan@email.com"));
        assert!("\u{212a}ate@email.com".parse::<Email>().is_err());
    }
}
