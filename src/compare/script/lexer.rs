//! A line of a script as tokens.

use super::parse::Bad;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// Anything without blanks and marks.
    Word(String),
    /// What stood in double quotes, unescaped.
    Text(String),
    /// One of `( ) [ ] ; , & *`.
    Mark(char),
}

const MARKS: &str = "()[];,&*";

/// The tokens of a line.
pub(super) fn tokens(line: &str) -> Result<Vec<Token>, Bad> {
    let mut tokens = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(first) = chars.next() {
        if first.is_whitespace() {
            continue;
        }
        if first == '"' {
            tokens.push(Token::Text(text(&mut chars)?));
        } else if MARKS.contains(first) {
            tokens.push(Token::Mark(first));
        } else {
            let mut word = String::from(first);
            while let Some(&next) = chars.peek() {
                if next.is_whitespace() || next == '"' || MARKS.contains(next) {
                    break;
                }
                word.push(next);
                chars.next();
            }
            tokens.push(Token::Word(word));
        }
    }
    Ok(tokens)
}

/// The rest of a quoted text, with the escapes that `{:?}` writes.
fn text(chars: &mut impl Iterator<Item = char>) -> Result<String, Bad> {
    let mut text = String::new();
    loop {
        match chars.next().ok_or(Bad("a text without end".into()))? {
            '"' => return Ok(text),
            '\\' => text.push(match chars.next().ok_or(Bad("a text without end".into()))? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                'u' => {
                    let digits: String = chars.take_while(|c| *c != '}').collect();
                    u32::from_str_radix(digits.trim_start_matches('{'), 16)
                        .ok()
                        .and_then(char::from_u32)
                        .ok_or_else(|| Bad(format!("no character: \\u{digits}}}")))?
                }
                other => other,
            }),
            other => text.push(other),
        }
    }
}
