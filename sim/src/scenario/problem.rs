//! What is wrong with a file that a person wrote, and how it is told.

use std::io;
use std::path::PathBuf;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode,
};

use super::Problem;
use crate::exit_code::ExitCode;

/// What a file is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A scenario.
    Scenario,
    /// A consumer's configuration.
    Configuration,
}

impl FileKind {
    fn name(self) -> &'static str {
        match self {
            Self::Scenario => "scenario",
            Self::Configuration => "configuration",
        }
    }

    /// Extensions of such files.
    pub(super) fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Scenario => &[".yaml", ".yml"],
            Self::Configuration => &[".yaml", ".yml", ".json", ".toml"],
        }
    }

    /// Where to begin without a file.
    fn beginning(self) -> &'static str {
        match self {
            Self::Scenario => "`fairpoll init FILE` writes a scenario to start from",
            Self::Configuration => "`docs/configuration.md` has an example to start from",
        }
    }
}

/// Why a file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("there is no file `{path}`", path = .path.display())]
    Missing {
        /// As it was given.
        path: PathBuf,
        /// A file with a similar name beside it.
        similar: Option<PathBuf>,
        /// What it is meant to be.
        kind: FileKind,
    },
    /// A folder where a file is wanted.
    #[error("`{path}` is a folder, not a {kind} file", path = .path.display(), kind = .kind.name())]
    Folder {
        /// As it was given.
        path: PathBuf,
        /// What it is meant to be.
        kind: FileKind,
    },
    /// The file exists and cannot be read.
    #[error("`{path}` cannot be read: {source}", path = .path.display())]
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The bytes are no UTF-8.
    #[error("`{path}` is not UTF-8 text: the byte at offset {offset} (line {line}) belongs to no character", path = .path.display())]
    NotUtf8 {
        /// As it was given.
        path: PathBuf,
        /// Of the first bad byte, from 0.
        offset: usize,
        /// Its line, from 1.
        line: usize,
    },
    /// Nothing but white space and comments.
    #[error("`{path}` is empty", path = .path.display())]
    Empty {
        /// As it was given.
        path: PathBuf,
        /// What it is meant to be.
        kind: FileKind,
    },
    /// The text says something that cannot be.
    #[error("`{path}` is not a valid {kind}: {count}", path = .path.display(), kind = .kind.name(), count = counted(.problems.len()))]
    Invalid {
        /// As it was given.
        path: PathBuf,
        /// What it is meant to be.
        kind: FileKind,
        /// The text.
        source_text: String,
        /// In the file's order; at least one.
        problems: Vec<Problem>,
    },
}

fn counted(problems: usize) -> String {
    if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") }
}

/// For whom an error is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendering {
    /// A terminal: colours and box-drawing characters.
    Fancy,
    /// A file or a pipe: ASCII.
    Plain,
}

impl LoadError {
    /// [`ExitCode::Usage`]: nothing was run.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    /// The whole message: every problem with file, line, column, the offending text and a remedy.
    #[must_use]
    pub fn render(&self, rendering: Rendering) -> String {
        let handler = match rendering {
            Rendering::Fancy => GraphicalReportHandler::new_themed(GraphicalTheme::unicode()).with_width(100),
            // Whoever greps wants whole lines.
            Rendering::Plain => {
                GraphicalReportHandler::new_themed(GraphicalTheme::none()).with_wrap_lines(false)
            }
        };
        let handler = handler.with_context_lines(1);
        let mut text = String::new();
        let mut render = |diagnostic: &dyn Diagnostic| {
            // A String takes everything; and a message that cannot be rendered is still better
            // told half than not at all.
            let _ = handler.render_report(&mut text, diagnostic);
        };
        match self {
            Self::Invalid { path, source_text, problems, .. } => {
                let source = NamedSource::new(path.display().to_string(), source_text.clone());
                for problem in problems {
                    render(&Located { problem, source: &source });
                }
            }
            _ => render(&Unlocated(self)),
        }
        text
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Missing { similar: Some(similar), .. } => {
                Some(format!("did you mean `{}`?", similar.display()))
            }
            Self::Missing { similar: None, kind, .. } | Self::Empty { kind, .. } => {
                Some(kind.beginning().to_owned())
            }
            Self::Folder { path, .. } => {
                Some(format!("name the files, for example `{}/*.yaml`", path.display()))
            }
            Self::Unreadable { .. } => Some("check the file's permissions".to_owned()),
            Self::NotUtf8 { .. } => Some("save the file as UTF-8".to_owned()),
            Self::Invalid { .. } => None,
        }
    }
}

/// A problem beside its source, as miette wants it.
#[derive(Debug)]
struct Located<'a> {
    problem: &'a Problem,
    source: &'a NamedSource<String>,
}

impl std::fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Located<'_> {}

impl Diagnostic for Located<'_> {
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let problem = self.problem;
        let first = LabeledSpan::new_primary_with_span(Some(problem.label.clone()), problem.at.clone());
        let second = problem
            .also
            .iter()
            .map(|(at, label)| LabeledSpan::new_with_span(Some(label.clone()), at.clone()));
        Some(Box::new(std::iter::once(first).chain(second)))
    }
}

/// An error about a file as a whole.
#[derive(Debug)]
struct Unlocated<'a>(&'a LoadError);

impl std::fmt::Display for Unlocated<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unlocated<'_> {}

impl Diagnostic for Unlocated<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.remedy().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }
}
