//! Reads `events.jsonl`.

use std::io::{self, BufRead};

use serde_json::Value;

use crate::event::{Body, Event, Header, LOG_VERSION};

/// Why a log cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It could not be read.
    #[error("the log cannot be read")]
    Io(#[from] io::Error),
    /// A line is no event.
    #[error("line {line} of the log is no event: {source}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// It was written in another format.
    #[error("the log has version {found}, this tool reads version {LOG_VERSION}: use the one that wrote it")]
    Version {
        /// Its version.
        found: u64,
    },
    /// It does not begin with a header.
    #[error("the log does not begin with a header: it is empty, cut off at its front or no event log")]
    NoHeader,
}

/// The events of a log, one per line. A last line that breaks off (the tool was killed while
/// writing) is left out; the run it belongs to has no end then, and decides nothing.
///
/// # Errors
/// If it cannot be read, a line is no event, or the header is missing or of another version.
pub fn read_log(reader: impl BufRead) -> Result<Vec<Event>, LogError> {
    let mut reader = reader;
    let mut events = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let complete = line.ends_with(b"\n");
        if line.trim_ascii().is_empty() {
            continue;
        }
        if events.is_empty() {
            check_version(&line)?;
        }
        match serde_json::from_slice::<Event>(&line) {
            Ok(event) => events.push(event),
            Err(_) if !complete => break,
            Err(source) => return Err(LogError::Line { line: number, source }),
        }
    }
    header(&events)?;
    Ok(events)
}

/// The header of a log.
pub(super) fn header(events: &[Event]) -> Result<&Header, LogError> {
    match events.first().map(|event| &event.body) {
        Some(Body::Header(header)) if header.version == LOG_VERSION => Ok(header),
        Some(Body::Header(header)) => Err(LogError::Version { found: header.version.into() }),
        _ => Err(LogError::NoHeader),
    }
}

/// Another version may have other fields: the version is looked at before anything else.
fn check_version(line: &[u8]) -> Result<(), LogError> {
    let version =
        serde_json::from_slice::<Value>(line).ok().and_then(|value| value["body"]["version"].as_u64());
    match version {
        Some(found) if found != u64::from(LOG_VERSION) => Err(LogError::Version { found }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Log;

    fn text() -> String {
        let mut log = Log::new(&[("orders", 1)]);
        log.backlog("orders", 0, 10);
        let lines: Vec<String> = log.whole().iter().map(|e| serde_json::to_string(e).unwrap()).collect();
        lines.join("\n") + "\n"
    }

    #[test]
    fn a_log_is_read_back_as_it_was_written() {
        let text = text();
        let events = read_log(text.as_bytes()).unwrap();
        let again: Vec<String> = events.iter().map(|e| serde_json::to_string(e).unwrap()).collect();
        assert_eq!(again.join("\n") + "\n", text);
    }

    #[test]
    fn a_last_line_that_breaks_off_is_left_out_and_any_other_is_an_error() {
        let text = text();
        assert_eq!(read_log(&text.as_bytes()[..text.len() - 20]).unwrap().len(), 1);
        assert_eq!(read_log(text.trim_end().as_bytes()).unwrap().len(), 2, "only the newline is missing");
        let broken = text.clone() + "{\"t_ns\": 1\n";
        let error = read_log(broken.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 3 of the log is no event"), "{error}");
    }

    #[test]
    fn another_version_is_refused_even_with_fields_nobody_knows() {
        let text = text().replace("\"version\":1", "\"version\":2,\"news\":true");
        let error = read_log(text.as_bytes()).unwrap_err();
        assert!(matches!(error, LogError::Version { found: 2 }), "{error}");
    }

    #[test]
    fn a_log_without_a_header_is_refused() {
        let text = text();
        let tail = text.split_once('\n').unwrap().1;
        assert!(matches!(read_log(tail.as_bytes()), Err(LogError::NoHeader)));
        assert!(matches!(read_log(&b""[..]), Err(LogError::NoHeader)));
    }
}
