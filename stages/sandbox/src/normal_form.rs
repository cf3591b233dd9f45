//! The tokens of a C or C++ source, so that sources that differ in blanks and comments only are
//! compiled once.
//!
//! Used by `compile`. Comments become a blank, runs of blanks become one, except in literals
//! and in the lines of directives, which keep their ends. A source whose program may depend on
//! where its lines are, or whose text this simple reading could misread, has no normal form:
//! then only equal bytes are equal.

/// Words after which line numbers, or the very text, may be part of the program.
const DEPENDING_ON_LINES: [&[u8]; 8] = [
    b"__LINE__",
    b"__builtin_LINE",
    b"source_location",
    b"assert",
    b"__FILE__",
    b"__COUNTER__",
    b"__DATE__",
    b"__TIME",
];

/// The normal form, or `None` where there is none.
pub(crate) fn normal_form(source: &[u8]) -> Option<Vec<u8>> {
    let has = |word: &[u8]| source.windows(word.len()).any(|part| part == word);
    let is_spliced = has(b"\\\n") || has(b"\\\r") || has(b"??");
    // A raw literal may hold anything; a stringising macro sees the blanks of its argument.
    let is_raw = has(b"R\"") || is_stringising(source);
    if is_spliced || is_raw || DEPENDING_ON_LINES.iter().any(|word| has(word)) {
        return None;
    }
    let mut text = Vec::with_capacity(source.len());
    let mut rest = source;
    let mut is_directive = false;
    while let Some(&byte) = rest.first() {
        match byte {
            b'/' if rest.starts_with(b"//") => {
                let end = rest.iter().position(|&byte| byte == b'\n');
                rest = &rest[end.unwrap_or(rest.len())..];
                blank(&mut text);
            }
            b'/' if rest.starts_with(b"/*") => {
                let end = rest[2..].windows(2).position(|part| part == b"*/")?;
                // Within a directive a comment over several lines carries it on.
                if is_directive && rest[..end + 4].contains(&b'\n') {
                    return None;
                }
                rest = &rest[end + 4..];
                blank(&mut text);
            }
            // A digit separator is no quote.
            b'\'' if ends_in_a_number(&text) => {
                text.push(byte);
                rest = &rest[1..];
            }
            b'"' | b'\'' => {
                let literal = literal(rest)?;
                text.extend_from_slice(literal);
                rest = &rest[literal.len()..];
            }
            b'\n' => {
                if is_directive {
                    end_line(&mut text);
                    is_directive = false;
                } else {
                    blank(&mut text);
                }
                rest = &rest[1..];
            }
            _ if byte.is_ascii_whitespace() || byte == 0x0b => {
                blank(&mut text);
                rest = &rest[1..];
            }
            b'#' if is_at_start_of_line(source, rest) => {
                end_line(&mut text);
                is_directive = true;
                text.push(byte);
                rest = &rest[1..];
            }
            _ => {
                text.push(byte);
                rest = &rest[1..];
            }
        }
    }
    Some(text)
}

/// Whether a macro turns its argument into text, or pastes.
fn is_stringising(source: &[u8]) -> bool {
    source.split(|&byte| byte == b'\n').any(|line| {
        let line = line.trim_ascii_start();
        line.starts_with(b"#") && line[1..].contains(&b'#')
    })
}

fn is_at_start_of_line(source: &[u8], rest: &[u8]) -> bool {
    let before = &source[..source.len() - rest.len()];
    let line = before.rsplit(|&byte| byte == b'\n').next();
    line.is_none_or(|line| line.trim_ascii().is_empty() || line.ends_with(b"*/"))
}

fn blank(text: &mut Vec<u8>) {
    if !matches!(text.last(), None | Some(b' ' | b'\n')) {
        text.push(b' ');
    }
}

fn end_line(text: &mut Vec<u8>) {
    if text.last() == Some(&b' ') {
        text.pop();
    }
    if !matches!(text.last(), None | Some(b'\n')) {
        text.push(b'\n');
    }
}

/// Whether the word at the end, separators included, begins with a digit.
fn ends_in_a_number(text: &[u8]) -> bool {
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'\'' | b'_');
    let length = text
        .iter()
        .rev()
        .take_while(|byte| is_of_word(byte))
        .count();
    length > 0 && text[text.len() - length].is_ascii_digit()
}

/// The literal at the start, quotes included; `None` if it does not end on its line.
fn literal(rest: &[u8]) -> Option<&[u8]> {
    let quote = rest[0];
    let mut at = 1;
    loop {
        match *rest.get(at)? {
            b'\\' => at += 2,
            b'\n' => return None,
            byte if byte == quote => return rest.get(..=at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(source: &str) -> Option<String> {
        normal_form(source.as_bytes()).map(|text| String::from_utf8(text).expect("ASCII"))
    }

    #[test]
    fn blanks_and_comments_do_not_count() {
        let one = "#include <cstdio>\nint main() {\n  // print\n  puts(\"a  // b\"); /* c */ }\n";
        let other = "#include  <cstdio> // x\n\nint main()\t{ puts(\"a  // b\");  }";
        assert_eq!(
            form(one).map(|text| text.trim_end().to_owned()),
            form(other)
        );
        assert!(form(one).is_some_and(|text| text.contains("\"a  // b\"")));
    }

    #[test]
    fn directives_keep_their_lines_and_literals_their_blanks() {
        assert_eq!(
            form("#define A 1\nint x = A;\n#undef A\n").as_deref(),
            Some("#define A 1\nint x = A;\n#undef A\n")
        );
        assert_ne!(form("char c = ' ';"), form("char c = '  ';"));
        assert_ne!(form("int a b;"), form("int ab;"));
        assert_ne!(form("#define f(x) x\n"), form("#define f (x) x\n"));
        assert_eq!(form("int n = 1'000;").as_deref(), Some("int n = 1'000;"));
        assert_eq!(
            form("auto c = L'\"'; auto s = \"a  b\";").as_deref(),
            Some("auto c = L'\"'; auto s = \"a  b\";")
        );
    }

    #[test]
    fn what_may_depend_on_its_lines_has_no_form() {
        for source in [
            "int a = __LINE__;",
            "#include <cassert>\nint main(){assert(0);}",
            "auto s = R\"(a  b)\";",
            "#define S(x) #x\nauto s = S(a  b);",
            "// a \\\nint x;",
            "char *s = \"no end\n",
            "/* no end",
        ] {
            assert_eq!(form(source), None, "{source}");
        }
    }
}
