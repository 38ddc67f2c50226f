//! The setting for what is logged.

use serde::Deserialize;
use tracing::level_filters::LevelFilter;

/// A level, and the levels of modules that have their own.
///
/// The usual syntax of such filters takes a mistyped level for the name of a module. It then logs that module, which does
/// not exist, and nothing else. So here exactly one level without a module is required, and a module needs a level.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LogFilter {
    /// The level of every other module.
    pub level: LevelFilter,
    /// Modules with their levels. Each applies to the modules inside it, too.
    pub modules: Vec<(String, LevelFilter)>,
}

/// The text is not a log filter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a log filter")]
pub struct NotALogFilter;

impl TryFrom<String> for LogFilter {
    type Error = NotALogFilter;

    fn try_from(text: String) -> Result<Self, NotALogFilter> {
        let (mut levels, mut modules) = (Vec::new(), Vec::new());
        for entry in text.split(',').map(str::trim) {
            match entry.split_once('=') {
                None => levels.push(level(entry)?),
                Some((module, of)) => modules.push((name(module)?, level(of)?)),
            }
        }
        let [level] = levels[..] else { return Err(NotALogFilter) };
        Ok(Self { level, modules })
    }
}

fn level(word: &str) -> Result<LevelFilter, NotALogFilter> {
    // The parser of levels also accepts numbers and an empty word.
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_word { word.parse().map_err(|_| NotALogFilter) } else { Err(NotALogFilter) }
}

fn name(module: &str) -> Result<String, NotALogFilter> {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if module.split("::").all(is_part) { Ok(module.to_owned()) } else { Err(NotALogFilter) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Result<LogFilter, NotALogFilter> {
        text.to_owned().try_into()
    }

    #[test]
    fn one_level_and_levels_of_modules_are_accepted() {
        for (text, level) in [
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("INFO", LevelFilter::INFO),
            (" debug ", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
            ("off", LevelFilter::OFF),
        ] {
            assert_eq!(filter(text), Ok(LogFilter { level, modules: Vec::new() }), "{text}");
        }
        let modules = vec![("sqlx".to_owned(), LevelFilter::WARN), ("core_api::http".to_owned(), LevelFilter::TRACE)];
        assert_eq!(filter("sqlx=warn, info ,core_api::http=trace"), Ok(LogFilter { level: LevelFilter::INFO, modules }));
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "warning",
            "warning,sqlx=warn",
            "information",
            "",
            ",",
            "info,",
            "0",
            "info,sqlx",
            "sqlx=warn",
            "info,debug",
            "info,sqlx=warning",
            "info,sqlx=",
            "info,=warn",
            "info,core-api=debug",
            "info,core_api:http=debug",
            "info,core_api::=debug",
            "info;sqlx=warn",
            "info sqlx=warn",
            "info,[request]=debug",
            "info,sqlx=warn=warn",
        ] {
            assert_eq!(filter(wrong), Err(NotALogFilter), "{wrong:?}");
        }
    }
}
