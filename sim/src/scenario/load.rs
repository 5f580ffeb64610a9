//! From a path to a checked scenario.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fairpoll::secrets::mask_source;
use fairpoll_judge::event::{GateFacts, Header};
use sha2::{Digest, Sha256};

use super::problem::{FileKind, LoadError};
use super::schema::schema;
use super::tree::yaml_problem;
use super::{Problem, Scenario, check, conform, gates, suggest, tree};

/// A scenario with the file it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What the file says.
    pub scenario: Scenario,
    /// Where it was read.
    pub path: PathBuf,
    /// Its text.
    pub source: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Where the expressions stand.
    pub gate_lines: GateLines,
}

/// Lines of the file, from 1, in the order of the expressions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GateLines {
    /// Of `scenario.demonstrates`.
    pub demonstrates: Vec<u32>,
    /// Of `scenario.gates`.
    pub gates: Vec<u32>,
}

impl Loaded {
    /// The first line of the log, with the lines of the gates.
    #[must_use]
    pub fn header(&self, broker: &str, runs: u32) -> Header {
        let mut header = self.scenario.header(broker, runs);
        let number = |facts: &mut [GateFacts], lines: &[u32]| {
            for (fact, line) in facts.iter_mut().zip(lines) {
                fact.line = *line;
            }
        };
        number(&mut header.demonstrates, &self.gate_lines.demonstrates);
        number(&mut header.gates, &self.gate_lines.gates);
        header
    }

    /// Leaves only the modes named, and the expressions that name no other mode. Returns the
    /// expressions that went.
    ///
    /// # Errors
    /// If the scenario has no mode of a name.
    pub fn keep_modes(&mut self, names: &[String]) -> Result<Vec<String>, UnknownMode> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let known: Vec<&str> = self.scenario.modes.iter().map(|mode| mode.name.as_str()).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(UnknownMode {
                mode: unknown.clone(),
                scenario: self.path.clone(),
                remedy: suggest::remedy(unknown, &known),
            });
        }
        let gone: Vec<String> =
            known.iter().filter(|mode| !names.iter().any(|n| n == *mode)).map(|m| (*m).to_owned()).collect();
        self.scenario.modes.retain(|mode| names.contains(&mode.name));
        let mut dropped = Vec::new();
        let mut filter = |expressions: &mut Vec<String>, lines: &mut Vec<u32>| {
            let all = std::mem::take(expressions).into_iter().zip(std::mem::take(lines));
            for (expression, line) in all {
                if gates::names_any_mode(&expression, &gone) {
                    dropped.push(expression);
                } else {
                    expressions.push(expression);
                    lines.push(line);
                }
            }
        };
        filter(&mut self.scenario.demonstrates, &mut self.gate_lines.demonstrates);
        filter(&mut self.scenario.gates, &mut self.gate_lines.gates);
        Ok(dropped)
    }
}

/// A mode was asked for that a scenario does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{scenario}` has no mode `{mode}`; {remedy}", scenario = .scenario.display())]
pub struct UnknownMode {
    /// What was asked for.
    pub mode: String,
    /// The scenario's file.
    pub scenario: PathBuf,
    /// The closest mode, or all.
    pub remedy: String,
}

/// Reads and checks a scenario.
///
/// # Errors
/// With everything that is wrong with the file, as far as it can be told at once.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let source = read_text(path, FileKind::Scenario)?;
    let sha256 = Sha256::digest(source.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    match parse(&source) {
        Ok((scenario, gate_lines)) => {
            Ok(Loaded { scenario, path: path.to_owned(), source, sha256, gate_lines })
        }
        Err(mut problems) => {
            problems.sort_by_key(|problem| problem.at.start);
            let (path, kind) = (path.to_owned(), FileKind::Scenario);
            // Masked: the lines around a problem may hold secrets.
            let source_text = mask_source(&source, &[]);
            Err(LoadError::Invalid { path, kind, source_text, problems })
        }
    }
}

/// A file's text, which is more than white space and comments.
///
/// # Errors
/// If there is none.
pub fn read_text(path: &Path, kind: FileKind) -> Result<String, LoadError> {
    let source = String::from_utf8(read(path, kind)?).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
        LoadError::NotUtf8 { path: path.to_owned(), offset, line }
    })?;
    if source.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Err(LoadError::Empty { path: path.to_owned(), kind });
    }
    Ok(source)
}

fn read(path: &Path, kind: FileKind) -> Result<Vec<u8>, LoadError> {
    // Asked first: reading a folder fails differently from system to system.
    if path.is_dir() {
        return Err(LoadError::Folder { path: path.to_owned(), kind });
    }
    fs::read(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            LoadError::Missing { path: path.to_owned(), similar: similar_file(path, kind), kind }
        }
        _ => LoadError::Unreadable { path: path.to_owned(), source },
    })
}

fn similar_file(path: &Path, kind: FileKind) -> Option<PathBuf> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let written = path.file_name()?.to_str()?;
    let names: Vec<String> = fs::read_dir(folder.unwrap_or(Path::new(".")))
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| kind.extensions().iter().any(|extension| name.ends_with(extension)))
        .collect();
    let found = suggest::closest(written, names.iter().map(String::as_str))?;
    Some(folder.map_or_else(|| PathBuf::from(found), |folder| folder.join(found)))
}

fn parse(source: &str) -> Result<(Scenario, GateLines), Vec<Problem>> {
    let tree = tree::parse_yaml(source).map_err(|problem| vec![*problem])?;
    let schema = schema();
    let mut problems = conform::conform(&tree, &schema);
    let scenario = match serde_saphyr::from_str::<Scenario>(source) {
        Ok(scenario) => {
            problems.extend(check::check(&scenario, &tree));
            Some(scenario)
        }
        // The tree has said it already, with all its brothers and in better words.
        Err(_) if !problems.is_empty() => None,
        Err(error) => {
            problems.push(yaml_problem(source, &error));
            None
        }
    };
    if let Some(scenario) = &scenario {
        problems.extend(gates::check(scenario, &tree, source));
    }
    match scenario {
        Some(scenario) if problems.is_empty() => {
            let lines = |key| {
                let places = check::expressions(&tree, key);
                places.into_iter().map(|(_, at)| line_of(source, &at)).collect()
            };
            let gate_lines = GateLines { demonstrates: lines("demonstrates"), gates: lines("gates") };
            Ok((scenario, gate_lines))
        }
        _ => Err(problems),
    }
}

fn line_of(source: &str, at: &Range<usize>) -> u32 {
    let newlines = source.bytes().take(at.start).filter(|byte| *byte == b'\n').count();
    u32::try_from(newlines + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
schema_version: 1
name: filtered
purpose: Two modes, and gates over one or both.
topics: [{name: a, backlog: 10}]
consumer: {max_poll_records: 5}
modes: [single, fair]
stop: {when: drained, deadline_s: 5}
demonstrates: [single.starved_polls_max >= 1]
gates:
  - fair.starved_polls_max <= 1
  - fair.threads_max <= single.threads_max + 1
  - fair.wait_p99_ms <= 50
";

    fn loaded() -> Loaded {
        let (scenario, gate_lines) = parse(SOURCE).unwrap();
        let (path, sha256) = (PathBuf::from("filtered.yaml"), String::new());
        Loaded { scenario, path, source: SOURCE.to_owned(), sha256, gate_lines }
    }

    #[test]
    fn filter_keeps_what_the_remaining_modes_can_answer_with_its_lines() {
        let mut loaded = loaded();
        let dropped = loaded.keep_modes(&["fair".to_owned()]).unwrap();
        assert_eq!(dropped, ["single.starved_polls_max >= 1", "fair.threads_max <= single.threads_max + 1"]);
        assert_eq!(loaded.scenario.gates, ["fair.starved_polls_max <= 1", "fair.wait_p99_ms <= 50"]);
        assert_eq!(loaded.gate_lines, GateLines { demonstrates: vec![], gates: vec![10, 12] });
        assert_eq!(loaded.scenario.modes.len(), 1);
    }

    #[test]
    fn no_filter_keeps_everything() {
        let mut filtered = loaded();
        assert_eq!(filtered.keep_modes(&[]), Ok(Vec::new()));
        assert_eq!(filtered, loaded());
    }

    #[test]
    fn filter_by_an_unknown_mode_changes_nothing() {
        let mut filtered = loaded();
        let error = filtered.keep_modes(&["fare".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "`filtered.yaml` has no mode `fare`; did you mean `fair`?");
        assert_eq!(filtered, loaded());
    }

    #[test]
    fn model_reads_what_it_writes() {
        let scenario = loaded().scenario;
        let text = serde_saphyr::to_string(&scenario).unwrap();
        assert_eq!(serde_saphyr::from_str::<Scenario>(&text).unwrap(), scenario);
    }
}
