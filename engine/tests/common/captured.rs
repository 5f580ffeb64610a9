//! What was logged and traced, to be asked about.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Values as text, by name.
#[derive(Debug, Clone, Default)]
pub struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

#[derive(Debug, Clone)]
pub struct Span {
    id: u64,
    pub name: &'static str,
    pub level: Level,
    /// In which span it began, or from which it follows.
    pub cause: Option<&'static str>,
    pub fields: Fields,
    pub closed: bool,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub target: String,
    pub level: Level,
    pub message: String,
}

/// A layer that keeps everything, in order.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    spans: Arc<Mutex<Vec<Span>>>,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Captured {
    pub fn spans(&self, name: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    /// Lines that begin so.
    pub fn lines(&self, start: &str) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.message.starts_with(start)).cloned().collect()
    }

    /// The span of this id that is open: ids are used again.
    fn with(&self, id: &Id, change: impl FnOnce(&mut Span)) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let found = spans.iter_mut().rev().find(|span| span.id == id.into_u64() && !span.closed);
        change(found.expect("it was opened"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Captured {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let cause = context.span(id).and_then(|span| Some(span.parent()?.name()));
        let metadata = attributes.metadata();
        let (name, level) = (metadata.name(), *metadata.level());
        let span = Span { id: id.into_u64(), name, level, cause, fields, closed: false };
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let cause = context.span(follows).map(|span| span.name());
        self.with(id, |span| span.cause = cause);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _context: Context<'_, S>) {
        self.with(id, |span| values.record(&mut span.fields));
    }

    fn on_close(&self, id: Id, _context: Context<'_, S>) {
        self.with(&id, |span| span.closed = true);
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let message = fields.get("message").unwrap_or_default().to_owned();
        let line = Line { target: metadata.target().to_owned(), level: *metadata.level(), message };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
