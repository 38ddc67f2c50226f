//! Comma-separated values (RFC 4180) for spreadsheets.

/// The end of a record.
const END: &[u8] = b"\r\n";

/// What a cell begins with that a spreadsheet runs as a formula. The last four are the wide forms of the first.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Appends a record of cells.
pub(super) fn record<const N: usize>(out: &mut Vec<u8>, cells: [&str; N]) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_cell(out, cell);
    }
    out.extend_from_slice(END);
}

/// Appends a cell. One that a spreadsheet would run as a formula gets an apostrophe, which makes it a text.
fn write_cell(out: &mut Vec<u8>, text: &str) {
    let apostrophe = if text.starts_with(FORMULA) && !is_number(text) { "'" } else { "" };
    if !text.contains(['"', ',', '\r', '\n']) {
        out.extend_from_slice(apostrophe.as_bytes());
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(apostrophe.as_bytes());
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

/// Whether a text is a decimal number, with a sign or without.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    [whole, fraction].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(cell: &str) -> String {
        let mut out = Vec::new();
        write_cell(&mut out, cell);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_cell_is_quoted_where_it_has_to_be() {
        for (cell, expected) in [
            ("", ""),
            ("Café 💳", "Café 💳"),
            ("a,b", "\"a,b\""),
            ("5\" screen", "\"5\"\" screen\""),
            ("a\nb", "\"a\nb\""),
            ("a;b 'c'", "a;b 'c'"),
            (" a ", " a "),
        ] {
            assert_eq!(written(cell), expected);
        }
        let mut out = Vec::new();
        record(&mut out, ["a", "", "b,c"]);
        assert_eq!(out, b"a,,\"b,c\"\r\n");
    }

    #[test]
    fn a_formula_becomes_a_text_and_a_number_stays_one() {
        for number in ["-15.50", "-20", "+1", "0", "-0.01", "-9007199254740991"] {
            assert_eq!(written(number), number);
        }
        for formula in [
            "=1+1", "+1+1", "-1+1", "-", "+", "-a", "-1.", "-.5", "-1e5", "--1", "-1.5.0", "+49 170", "@SUM(A1)", "\ta", "＝1", "－2", "-٣",
        ] {
            assert_eq!(written(formula), format!("'{formula}"));
        }
        assert_eq!(written("=HYPERLINK(\"x\",\"y\")"), "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"");
        assert_eq!(written("\r=1"), "\"'\r=1\"");
        assert_eq!(written("a=1"), "a=1");
    }
}
