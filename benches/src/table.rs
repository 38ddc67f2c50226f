//! The table, in Markdown.

use std::fmt;

const HEAD: [&str; 8] = ["line", "clients", "ours/s", "p50", "p99", "pgbench/s", "ratio", "target"];

/// One line. Cells without a value are empty.
#[derive(Debug, Default)]
pub struct Row(pub [String; HEAD.len()]);

/// All lines.
#[derive(Debug, Default)]
pub struct Table(pub Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = Row(HEAD.map(str::to_owned));
        let rows = || std::iter::once(&head).chain(&self.0);
        let widths: [usize; HEAD.len()] =
            std::array::from_fn(|column| rows().map(|row| row.0[column].chars().count()).max().unwrap_or_default().max(2));
        for (index, row) in rows().enumerate() {
            for (column, (cell, width)) in row.0.iter().zip(widths).enumerate() {
                if column == 0 { write!(out, "| {cell:<width$} |")? } else { write!(out, " {cell:>width$} |")? }
            }
            writeln!(out)?;
            if index == 0 {
                for (column, width) in widths.into_iter().enumerate() {
                    if column == 0 { write!(out, "|:{:-<width$}-|", "")? } else { write!(out, "-{:-<width$}:|", "")? }
                }
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

/// A number in hundredths.
pub fn hundredths(number: u64) -> String {
    format!("{}.{:02}", number / 100, number % 100)
}

/// A rate in hundredths. A small one has a decimal.
pub fn rate(hundredths: u64) -> String {
    if hundredths < 100_000 { format!("{}.{}", hundredths / 100, hundredths / 10 % 10) } else { thousands(hundredths / 100) }
}

/// Microseconds, as milliseconds.
pub fn milliseconds(micros: u64) -> String {
    format!("{} ms", hundredths(micros / 10))
}

/// A number with thousands separators.
pub fn thousands(number: u64) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", thousands(number / 1_000), number % 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown_with_aligned_columns() {
        let cells = ["reads of a card", "256", "10,000", "1.00 ms", "2.00 ms", "20,000", "0.50", "0.50"];
        let table = Table(vec![Row(cells.map(str::to_owned))]).to_string();
        let expected = "\
| line            | clients | ours/s |     p50 |     p99 | pgbench/s | ratio | target |
|:----------------|--------:|-------:|--------:|--------:|----------:|------:|-------:|
| reads of a card |     256 | 10,000 | 1.00 ms | 2.00 ms |    20,000 |  0.50 |   0.50 |
";
        assert_eq!(table, expected);
    }

    #[test]
    fn numbers_are_formatted_for_people() {
        assert_eq!((rate(4_567), rate(123_456_700)), ("45.6".to_owned(), "1,234,567".to_owned()));
        assert_eq!((milliseconds(12_345), hundredths(140)), ("12.34 ms".to_owned(), "1.40".to_owned()));
    }
}
