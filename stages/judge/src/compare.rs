//! Compares a program's output with the expected one, in three modes at once.
//!
//! Called by the judge with the bytes of one finished run; one pass over both gives the
//! answer of every mode, so that a report can quote all of them (paper §4).
//! Tokens are split at blank, `\n`, `\t`, `\r` and `\v`; bytes need not be UTF-8.
//!
//! | mode | two tokens are equal if |
//! | --- | --- |
//! | strict | their bytes are |
//! | `code_contests` | as in the published judge of that data set, its errors included |
//! | lenient | lower-cased bytes are, or both are numbers of about the same value |
//!
//! Deliberately absent: special checkers. A problem with several right answers is judged
//! against the one that is given.

/// Which modes call two outputs equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Tokens are equal byte for byte.
    pub strict: bool,
    /// The published comparison of CodeContests: ASCII case ignored; 32-bit integers exact;
    /// other numbers as doubles with a difference below 1e-5, so that long integers compare
    /// loosely, and nan, inf and numbers beyond the range of doubles do not equal themselves.
    pub code_contests: bool,
    /// ASCII case ignored; integers exact at any length; other finite numbers within 1e-6,
    /// absolute or relative to the expected one.
    pub lenient: bool,
}

impl Match {
    const ALL: Match = Match {
        strict: true,
        code_contests: true,
        lenient: true,
    };
    const NONE: Match = Match {
        strict: false,
        code_contests: false,
        lenient: false,
    };
}

/// Compares what a program wrote with what is expected.
pub fn compare(output: &[u8], expected: &[u8]) -> Match {
    if output == expected {
        let code_contests = tokens(expected).all(equals_itself_as_published);
        return Match {
            code_contests,
            ..Match::ALL
        };
    }
    let mut result = Match::ALL;
    let (mut left, mut right) = (tokens(output), tokens(expected));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return result,
            (Some(left), Some(right)) => {
                result.strict &= left == right;
                result.code_contests &= equal_as_published(left, right);
                result.lenient &= equal_leniently(left, right);
                if result == Match::NONE {
                    return result;
                }
            }
            _ => return Match::NONE,
        }
    }
}

fn tokens(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    const VERTICAL_TAB: u8 = 0x0b;
    text.split(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | &VERTICAL_TAB))
        .filter(|token| !token.is_empty())
}

fn equal_as_published(left: &[u8], right: &[u8]) -> bool {
    const TOLERANCE: f64 = 1e-5;
    match (as_double(left), as_double(right)) {
        // The difference of two infinities is no number, hence not below anything.
        (Some(left), Some(right)) => (left - right).abs() < TOLERANCE,
        _ => left.eq_ignore_ascii_case(right),
    }
}

fn equals_itself_as_published(token: &[u8]) -> bool {
    // No plain number this short leaves the range of doubles.
    let is_plain = token.len() < 300 && token.iter().all(u8::is_ascii_digit);
    is_plain || equal_as_published(token, token)
}

fn equal_leniently(left: &[u8], right: &[u8]) -> bool {
    const TOLERANCE: f64 = 1e-6;
    if left.eq_ignore_ascii_case(right) {
        return true;
    }
    if is_integer(left) && is_integer(right) {
        return false;
    }
    match (as_double(left), as_double(right)) {
        (Some(left), Some(right)) if left.is_finite() && right.is_finite() => {
            (left - right).abs() <= TOLERANCE * right.abs().max(1.0)
        }
        _ => false,
    }
}

fn without_sign(token: &[u8]) -> &[u8] {
    token
        .strip_prefix(b"-")
        .or(token.strip_prefix(b"+"))
        .unwrap_or(token)
}

fn is_integer(token: &[u8]) -> bool {
    let digits = without_sign(token);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// The double a token stands for: decimal with optional point and exponent, or inf, infinity,
/// nan, nan(...) in any case; out of range it is infinite. Neither hexadecimal nor partial.
fn as_double(token: &[u8]) -> Option<f64> {
    if !matches!(
        without_sign(token).first(),
        Some(b'0'..=b'9' | b'.' | b'i' | b'I' | b'n' | b'N')
    ) {
        return None;
    }
    let text = std::str::from_utf8(token).ok()?;
    text.parse().ok().or_else(|| {
        let (name, rest) = without_sign(token).split_at_checked(3)?;
        let payload = rest.strip_prefix(b"(")?.strip_suffix(b")")?;
        let is_payload = payload
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        (name.eq_ignore_ascii_case(b"nan") && is_payload).then_some(f64::NAN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers as three letters, a dot where a mode says "different".
    fn modes(output: &str, expected: &str) -> String {
        let result = compare(output.as_bytes(), expected.as_bytes());
        [
            (result.strict, 's'),
            (result.code_contests, 'c'),
            (result.lenient, 'l'),
        ]
        .map(|(is_equal, letter)| if is_equal { letter } else { '.' })
        .into_iter()
        .collect()
    }

    #[test]
    fn whitespace_between_tokens_does_not_count() {
        assert_eq!(modes("1 2\n3", "1 2\n3"), "scl");
        assert_eq!(modes("1 2 \r\n\n 3\t\n\n", "1\x0b2\n3"), "scl");
        assert_eq!(modes("1\x0c2", "1 2"), "...", "form feed separates nothing");
    }

    #[test]
    fn the_number_of_tokens_counts() {
        assert_eq!(modes("", ""), "scl");
        assert_eq!(modes(" \n", ""), "scl");
        assert_eq!(modes("", "1"), "...");
        assert_eq!(modes("1 2", "1 2 3"), "...");
        assert_eq!(modes("1 2 3", "1 2"), "...");
        assert_eq!(modes("12", "1 2"), "...");
    }

    #[test]
    fn only_strict_minds_case() {
        assert_eq!(modes("YES", "Yes"), ".cl");
        assert_eq!(modes("YESS", "YES"), "...");
        assert_eq!(
            compare("É".as_bytes(), "é".as_bytes()),
            Match::NONE,
            "ASCII only"
        );
    }

    #[test]
    fn long_integers_are_exact_but_for_the_published_mode() {
        assert_eq!(modes("9007199254740993", "9007199254740992"), ".c.");
        assert_eq!(modes("1000000007", "1000000006"), "...");
        assert_eq!(modes("0101", "101"), ".c.");
        assert_eq!(modes("+5", "5"), ".c.");
        let long = "1".repeat(400);
        assert_eq!(modes(&long, &long), "s.l");
        assert_eq!(
            modes(&long, &format!("{long} ")),
            "s.l",
            "the same without the short cut"
        );
    }

    #[test]
    fn floats_are_close_enough_or_not() {
        assert_eq!(modes("0.333333", "0.3333333"), ".cl");
        assert_eq!(modes("0.333", "0.3333"), "...");
        assert_eq!(modes("0.000009", "0"), ".c.");
        assert_eq!(
            modes("1000001.0", "1000000.0"),
            "..l",
            "relative only leniently"
        );
        assert_eq!(modes("3", "3.0"), ".cl");
        assert_eq!(modes(".5 2. 1e3 1E3", "0.5 2 1000 1000"), ".cl");
        assert_eq!(modes("0x10", "16"), "...");
        assert_eq!(modes("1e", "1"), "...");
    }

    #[test]
    fn what_is_no_finite_number_equals_only_its_own_letters() {
        assert_eq!(modes("nan", "nan"), "s.l");
        assert_eq!(modes("NaN", "nan"), "..l");
        assert_eq!(modes("nan(1)", "nan(1) "), "s.l");
        assert_eq!(modes("inf", "infinity"), "...");
        assert_eq!(modes("inf", "1"), "...");
        assert_eq!(modes("1e999", "1e999"), "s.l");
        assert_eq!(modes("1e999", "2e999"), "...");
        assert_eq!(modes("no", "no"), "scl", "words that begin like numbers");
    }

    #[test]
    fn bytes_need_not_be_text() {
        assert_eq!(compare(b"\xff\xfe 1", b"\xff\xfe\n1"), Match::ALL);
        assert_eq!(compare(b"\xff", b"\xfe"), Match::NONE);
        assert_eq!(compare(b"1\0", b"1"), Match::NONE);
    }
}
