//! Text from callers: trimmed, bounded, without control characters. Parsed once, at the boundary.

use std::str::FromStr;

use email_address::{EmailAddress, Options};

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// Nothing is left after trimming.
    #[error("must not be blank")]
    Blank,
    /// More characters than the field accepts.
    #[error("takes at most {max} characters")]
    TooLong {
        /// The maximum number of characters.
        max: usize,
    },
    /// The text contains NUL or another control character.
    #[error("must not have control characters in it")]
    ControlCharacter,
    /// Not the address of a mailbox on a named host.
    #[error("must be an email address such as juan@email.com")]
    NotAnEmail,
}

/// A customer's full name: 1 to 200 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// The purpose of a movement: 1 to 200 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description(String);

/// An email address: at most 254 characters, ASCII, `local@host.tld`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

/// The longest name and description, in characters.
pub const MAX_TEXT: usize = 200;

/// The longest email address: RFC 5321 limits a path to 256 octets, two of them its angle brackets.
pub const MAX_EMAIL: usize = 254;

fn trimmed(text: &str, max: usize) -> Result<&str, TextFault> {
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
    Ok(text)
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
