//! How a person is found by the start of a word of their name, or of their email. Pure.
//!
//! Case, accents and widths make no difference. The database has the [words](words) of each customer and finds those between
//! the [bounds](Term) of a term, so both sides are folded here, in the same way.

use std::{collections::BTreeSet, str::FromStr};

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::text::{self, TextFault};

/// The longest search, in characters.
pub const MAX_SEARCH: usize = 100;

/// How much of a word is kept and compared, in characters. A longer one is found by its beginning.
const MAX_WORD: usize = 100;

/// What somebody looks for: 1 to [`MAX_SEARCH`] characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    text: String,
    terms: Vec<Term>,
}

/// What a word has to begin with: it is at least `low`, and less than `high`, compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The beginning itself.
    pub low: String,
    /// Greater than every word that begins so.
    pub high: String,
}

impl FromStr for Search {
    type Err = TextFault;

    fn from_str(given: &str) -> Result<Self, TextFault> {
        let text = text::trimmed(given, MAX_SEARCH)?;
        let mut beginnings: Vec<String> = chunks(text).collect::<BTreeSet<_>>().into_iter().collect();
        // The longest term is begun with, since the fewest words begin so.
        beginnings.sort_by_key(|low| std::cmp::Reverse(low.chars().count()));
        let terms = beginnings.into_iter().map(|low| Term { high: format!("{low}{}", char::MAX), low }).collect();
        Ok(Self { text: text.to_owned(), terms })
    }
}

impl Search {
    /// The text, as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What words have to begin with: for each term there must be one. Without a term nobody is found, as with punctuation alone.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether it finds a person.
    #[must_use]
    pub fn finds(&self, name: &str, email: &str) -> bool {
        let words = words(name, email);
        !self.terms.is_empty() && self.terms.iter().all(|term| words.iter().any(|word| word.starts_with(&term.low)))
    }
}

/// The words by which a person is found: those of the name, each with what follows it up to the next space, and the email.
#[must_use]
pub fn words(name: &str, email: &str) -> Vec<String> {
    let mut words: BTreeSet<String> = chunks(email).collect();
    for chunk in chunks(name) {
        // In `perez-lopez` two words begin.
        let mut within = false;
        for (at, character) in chunk.char_indices() {
            if character.is_alphanumeric() && !within {
                words.insert(chunk[at..].to_owned());
            }
            within = character.is_alphanumeric();
        }
        words.insert(chunk);
    }
    words.into_iter().collect()
}

/// The folded parts of a text between its spaces, without the punctuation before them.
fn chunks(text: &str) -> impl Iterator<Item = String> {
    let folded: String = text.nfkd().flat_map(char::to_lowercase).filter(|character| !is_dropped(*character)).flat_map(plain).collect();
    let chunks: Vec<String> = folded
        .split_whitespace()
        .map(|chunk| chunk.trim_start_matches(|character: char| character.is_ascii_punctuation()).chars().take(MAX_WORD).collect())
        .filter(|chunk: &String| !chunk.is_empty())
        .collect();
    chunks.into_iter()
}

/// Accents, what has no width, and apostrophes: `O'Brien` is also written `OBrien`.
fn is_dropped(character: char) -> bool {
    is_combining_mark(character)
        || matches!(character, '\'' | '`' | '\u{b4}' | '\u{2bb}' | '\u{2bc}' | '\u{2018}' | '\u{2019}')
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

/// A letter without the stroke or the ligature that Unicode does not take apart.
fn plain(character: char) -> impl Iterator<Item = char> {
    let letters = match character {
        'ß' => ['s', 's'],
        'æ' => ['a', 'e'],
        'œ' => ['o', 'e'],
        'þ' => ['t', 'h'],
        'ø' => ['o', '\0'],
        'ł' => ['l', '\0'],
        'đ' | 'ð' => ['d', '\0'],
        'ħ' => ['h', '\0'],
        'ı' => ['i', '\0'],
        'ς' => ['σ', '\0'],
        other => [other, '\0'],
    };
    letters.into_iter().filter(|letter| *letter != '\0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finds(search: &str, name: &str) -> bool {
        search.parse::<Search>().expect("valid").finds(name, "juan.perez+cards@email.com")
    }

    #[test]
    fn a_person_is_found_by_the_start_of_every_word_of_the_name_and_of_the_email() {
        let name = "María José Ñandú-Pérez (O'Brien)";
        let found = [
            "m",
            "MARIA",
            "maría",
            "mari\u{301}a",
            "jos",
            "ñandu",
            "nandu-per",
            "perez",
            "obrien",
            "O’B",
            "(obr",
            "jose  maria",
            "per mar jos",
            "juan.perez",
            "JUAN.PEREZ+cards@email.com",
            "maria juan",
            "ＭＡＲＩＡ",
        ];
        for search in found {
            assert!(finds(search, name), "{search}");
        }
        for search in ["aria", "andu", "x", "maria x", "perez.", "cards", "email", "-", "!", "brien)", "mariaa", "@"] {
            assert!(!finds(search, name), "{search}");
        }
    }

    #[test]
    fn letters_are_compared_as_they_are_written_without_accents() {
        for (search, name) in [
            ("strasse", "Straße"),
            ("STRASSE", "straße"),
            ("lodz", "Łódź"),
            ("soren", "Søren"),
            ("istanbul", "İstanbul"),
            ("ΣΑΣ", "σας"),
            ("aegir", "Ægir"),
            ("李", "李小龙"),
            ("fi", "ﬁona"),
            ("han", "한"),
            ("김", "김민준"),
            ("иван", "ИВАН"),
            ("می\u{200c}خ", "میخواهم"),
        ] {
            assert_eq!(finds(search, name), search != "han", "{search}");
        }
    }

    #[test]
    fn a_search_is_bounded_text() {
        for (search, fault) in [("", TextFault::Blank), (" \t", TextFault::Blank), ("a\0b", TextFault::ControlCharacter)] {
            assert_eq!(search.parse::<Search>(), Err(fault));
        }
        assert_eq!("é".repeat(101).parse::<Search>(), Err(TextFault::TooLong { max: MAX_SEARCH }));
        assert!(finds(&"é".repeat(100), &"e".repeat(200)));
        let widest = "\u{fdfa}".repeat(200);
        assert!(words(&widest, "a@b.co").iter().all(|word| word.chars().count() <= MAX_WORD));
        assert!(finds(&widest.chars().take(100).collect::<String>(), &widest));
    }

    proptest! {
        #[test]
        fn the_bounds_of_a_term_are_those_of_its_words(name in "\\PC{1,60}", at in 0_usize..60) {
            let start = name.split_whitespace().next().unwrap_or_default();
            let start: String = start.chars().take(at + 1).collect();
            let Ok(search) = start.parse::<Search>() else { return Ok(()) };
            let words = words(&name, "a@b.co");
            for Term { low, high } in search.terms() {
                prop_assert!(words.iter().any(|word| word >= low && word < high), "{low:?} in {words:?}");
            }
            for word in &words {
                let within = search.terms().iter().all(|Term { low, high }| word >= low && word < high);
                let begins = search.terms().iter().all(|Term { low, .. }| word.starts_with(low.as_str()));
                prop_assert_eq!(within, begins);
            }
        }
    }
}
