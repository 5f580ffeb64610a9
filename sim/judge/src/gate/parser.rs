//! Grammar of the gate language: `docs/gates.md`.

use std::ops::Range;

use super::lexer::{Token, lex};
use super::{Expression, Extreme, Node, ParseError, Reference};

// Nobody writes more brackets than this; without a limit a malicious line overflows the stack.
const DEPTH_MAX: usize = 64;

// A sum of thousands of terms is a tree as deep, and dropping or evaluating it recurses.
const TEXT_BYTES_MAX: usize = 10_000;

pub(super) fn parse(text: &str) -> Result<Expression, ParseError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ParseError {
            at: 0..text.len(),
            message: format!("the gate has {} bytes, more than {TEXT_BYTES_MAX}", text.len()),
            help: Some("split the gate".to_owned()),
        });
    }
    let mut parser = Parser { tokens: lex(text)?, next: 0, end: text.len(), depth: 0 };
    let left = parser.sum()?;
    let comparison = match parser.take() {
        Some((Token::Compare(comparison), _)) => comparison,
        other => return Err(parser.expected("a comparison (<, <=, >, >=, ==, !=)", other)),
    };
    let right = parser.sum()?;
    match parser.take() {
        None => Ok(Expression { text: text.to_owned(), left, comparison, right }),
        Some((Token::Compare(_), at)) => Err(ParseError {
            at,
            message: "a gate has one comparison".to_owned(),
            help: Some("write two gates".to_owned()),
        }),
        other => Err(parser.expected("the end of the gate", other)),
    }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    next: usize,
    end: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn take(&mut self) -> Option<(Token, Range<usize>)> {
        let token = self.tokens.get(self.next).cloned();
        self.next += usize::from(token.is_some());
        token
    }

    fn take_if(&mut self, wanted: &Token) -> bool {
        let there = self.peek() == Some(wanted);
        self.next += usize::from(there);
        there
    }

    fn expected(&self, what: &str, found: Option<(Token, Range<usize>)>) -> ParseError {
        let (found, at) = match found {
            Some((token, at)) => (token.describe(), at),
            None => ("the end".to_owned(), self.end..self.end),
        };
        ParseError {
            at,
            message: format!("expected {what}, found {found}"),
            help: Some("a gate reads like `fair.drain_s <= 1.10 * single.drain_s`".to_owned()),
        }
    }

    fn sum(&mut self) -> Result<Node, ParseError> {
        let mut node = self.product()?;
        while self.take_if(&Token::Plus) {
            node = Node::Sum(Box::new(node), Box::new(self.product()?));
        }
        Ok(node)
    }

    fn product(&mut self) -> Result<Node, ParseError> {
        let mut node = self.factor()?;
        loop {
            if self.take_if(&Token::Times) {
                node = Node::Product(Box::new(node), Box::new(self.factor()?));
            } else if self.take_if(&Token::Over) {
                node = Node::Quotient(Box::new(node), Box::new(self.factor()?));
            } else {
                return Ok(node);
            }
        }
    }

    fn factor(&mut self) -> Result<Node, ParseError> {
        match self.take() {
            Some((Token::Number(value), _)) => Ok(Node::Number(value)),
            Some((Token::Open, at)) => {
                self.descend(at)?;
                let node = self.sum()?;
                self.close()?;
                Ok(node)
            }
            Some((Token::Name(name), at)) => match (name.as_str(), self.peek()) {
                ("min", Some(Token::Open)) => self.extreme(Extreme::Min, at),
                ("max", Some(Token::Open)) => self.extreme(Extreme::Max, at),
                (_, Some(Token::Dot)) => self.reference(name, at),
                _ => Err(ParseError {
                    at,
                    message: format!("`{name}` is neither a number nor a mode's metric"),
                    help: Some("a metric is written with its mode: `fair.drain_s`".to_owned()),
                }),
            },
            other => Err(self.expected("a number, a metric, min(…), max(…) or `(`", other)),
        }
    }

    fn extreme(&mut self, which: Extreme, at: Range<usize>) -> Result<Node, ParseError> {
        self.descend(at)?;
        self.take();
        let mut arguments = vec![self.sum()?];
        while self.take_if(&Token::Comma) {
            arguments.push(self.sum()?);
        }
        self.close()?;
        Ok(Node::Extreme(which, arguments))
    }

    fn reference(&mut self, mode: String, mode_at: Range<usize>) -> Result<Node, ParseError> {
        self.take();
        let (metric, metric_at) = match self.take() {
            Some((Token::Name(metric), at)) => (metric, at),
            other => return Err(self.expected("the name of a metric", other)),
        };
        let (topics, topics_at) = match self.peek() {
            Some(Token::Glob(glob)) => {
                let glob = glob.clone();
                let at = self.tokens[self.next].1.clone();
                self.next += 1;
                (Some(glob), at)
            }
            _ => (None, metric_at.end..metric_at.end),
        };
        Ok(Node::Metric(Reference { mode, metric, topics, mode_at, metric_at, topics_at }))
    }

    fn descend(&mut self, at: Range<usize>) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ParseError {
                at,
                message: format!("more than {DEPTH_MAX} brackets inside each other"),
                help: Some("split the gate".to_owned()),
            });
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), ParseError> {
        self.depth -= 1;
        match self.take() {
            Some((Token::Close, _)) => Ok(()),
            other => Err(self.expected("`)`", other)),
        }
    }
}
