//! `fairpoll schema`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::cli::{tell, tell_error};
use crate::exit_code::ExitCode;
use crate::scenario;

/// Where to.
#[derive(Debug, Args)]
pub(super) struct SchemaArguments {
    /// Write one file per schema into this folder; without it, the scenario's schema is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn schema(arguments: &SchemaArguments) -> ExitCode {
    let Some(folder) = &arguments.out else {
        tell(pretty(&scenario::schema()).trim_end());
        return ExitCode::Pass;
    };
    match write(folder) {
        Ok(()) => ExitCode::Pass,
        Err((path, error)) => {
            tell_error(format!("`{}` cannot be written: {error}; choose another --out", path.display()));
            ExitCode::Usage
        }
    }
}

/// Every schema with its file name.
fn all() -> Vec<(String, Value)> {
    let own = ("scenario.v1.schema.json".to_owned(), scenario::schema());
    let judge = fairpoll_judge::schemas().into_iter().map(|(name, schema)| (name.to_owned(), schema));
    std::iter::once(own).chain(judge).collect()
}

fn write(folder: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    fs::create_dir_all(folder).map_err(|error| (folder.to_owned(), error))?;
    for (name, schema) in all() {
        let path = folder.join(name);
        fs::write(&path, pretty(&schema)).map_err(|error| (path.clone(), error))?;
        tell(path.display());
    }
    Ok(())
}

/// Keys in alphabetical order, whatever features other crates switch on in serde_json: the files
/// are committed and compared.
fn pretty(schema: &Value) -> String {
    let mut schema = schema.clone();
    schema.sort_all_objects();
    format!("{schema:#}\n")
}
