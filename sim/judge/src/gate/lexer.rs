//! Words of the gate language.

use std::ops::Range;

use super::{Comparison, ParseError};

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `fair`, `starved_polls_max`, `max`.
    Name(String),
    /// `1.10`.
    Number(f64),
    /// What stands between `{` and `}`.
    Glob(String),
    /// `.`
    Dot,
    /// `,`
    Comma,
    /// `+`
    Plus,
    /// `*`
    Times,
    /// `/`
    Over,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `<=` and its kind.
    Compare(Comparison),
}

impl Token {
    /// For messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Number(number) => format!("the number {number}"),
            Self::Glob(glob) => format!("`{{{glob}}}`"),
            Self::Dot => "`.`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Plus => "`+`".to_owned(),
            Self::Times => "`*`".to_owned(),
            Self::Over => "`/`".to_owned(),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Compare(op) => format!("`{op}`"),
        }
    }
}

/// The words of `text`, each with its bytes.
pub(super) fn lex(text: &str) -> Result<Vec<(Token, Range<usize>)>, ParseError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let start = text.len() - rest.len();
        let (token, length) = match first {
            'a'..='z' => {
                let name = leading(rest, |c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'));
                (Token::Name(name.to_owned()), name.len())
            }
            '0'..='9' => number(rest, start)?,
            '{' => glob(rest, start)?,
            '<' | '>' | '=' | '!' => comparison(rest, start)?,
            '.' => (Token::Dot, 1),
            ',' => (Token::Comma, 1),
            '+' => (Token::Plus, 1),
            '*' => (Token::Times, 1),
            '/' => (Token::Over, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            other => return Err(stray(other, start)),
        };
        tokens.push((token, start..start + length));
        rest = &rest[length..];
    }
}

fn leading(text: &str, belongs: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !belongs(c)).unwrap_or(text.len())]
}

fn number(rest: &str, start: usize) -> Result<(Token, usize), ParseError> {
    let mut length = leading(rest, |c| c.is_ascii_digit()).len();
    if let Some(fraction) = rest[length..].strip_prefix('.') {
        length += 1 + leading(fraction, |c| c.is_ascii_digit()).len();
    }
    let text = &rest[..length];
    let glued = leading(&rest[length..], |c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    match text.parse::<f64>() {
        Ok(value) if glued.is_empty() && value.is_finite() && !text.ends_with('.') => {
            Ok((Token::Number(value), length))
        }
        _ => Err(ParseError {
            at: start..start + length + glued.len(),
            message: format!("`{text}{glued}` is not a number"),
            help: Some("numbers are written 200 or 1.10; units are part of the metrics' names".to_owned()),
        }),
    }
}

fn glob(rest: &str, start: usize) -> Result<(Token, usize), ParseError> {
    let Some(end) = rest.find('}') else {
        return Err(ParseError {
            at: start..start + rest.len(),
            message: "`{` without its `}`".to_owned(),
            help: Some("a topic is named `{orders}`, several are `{sensor-*}`".to_owned()),
        });
    };
    let glob = rest[1..end].trim();
    if glob.is_empty() || glob.contains(char::is_whitespace) {
        return Err(ParseError {
            at: start..start + end + 1,
            message: "a topic name or glob must stand between `{` and `}`".to_owned(),
            help: Some("`{orders}` is one topic, `{sensor-*}` several".to_owned()),
        });
    }
    Ok((Token::Glob(glob.to_owned()), end + 1))
}

fn comparison(rest: &str, start: usize) -> Result<(Token, usize), ParseError> {
    let spellings = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("==", Comparison::Equal),
        ("!=", Comparison::Unequal),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    for (spelling, comparison) in spellings {
        if rest.starts_with(spelling) {
            return Ok((Token::Compare(comparison), spelling.len()));
        }
    }
    Err(ParseError {
        at: start..start + 1,
        message: format!("`{}` is not a comparison", &rest[..1]),
        help: Some("comparisons are <, <=, >, >=, == and !=".to_owned()),
    })
}

fn stray(character: char, start: usize) -> ParseError {
    let help = match character {
        '-' => "there is no subtraction, for names may contain `-`: move the term to the other side",
        'A'..='Z' => "names of modes and metrics are lower case",
        _ => "a gate reads like `fair.drain_s <= 1.10 * single.drain_s`",
    };
    ParseError {
        at: start..start + character.len_utf8(),
        message: format!("`{character}` does not belong into a gate"),
        help: Some(help.to_owned()),
    }
}
