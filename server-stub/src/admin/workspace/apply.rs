//! `coder-server workspace apply`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use protocol::definitions::{Applied, Batch};
use protocol::terraform;
use protocol::workspace::Checked;
use protocol::workspace::definition::{self, Fault, MAX_FILE_BYTES};

use super::super::{AdminError, output};
use crate::store::Store;
use crate::store::workspaces::{Application, ApplyError};

/// Flags of `workspace apply`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags, each independent of the others")]
pub struct ApplyArgs {
    /// Workspace definition, or - for standard input
    #[arg(value_name = "FILE", required_unless_present = "terraform")]
    files: Vec<PathBuf>,
    /// Take the workspace from a Terraform or OpenTofu state: the output of `terraform show -json`, or a state file; - for standard
    /// input
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    terraform: Option<PathBuf>,
    /// Name of the workspace [default: the one that the state has]
    #[arg(long, requires = "terraform")]
    name: Option<String>,
    /// Owner of the workspace [default: the one that the state has]
    #[arg(long, requires = "terraform")]
    owner: Option<String>,
    /// Take --owner for the owner even if the state names another
    #[arg(long, requires = "owner")]
    ignore_owner: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Give every agent in the files a new token; the old token stops working immediately
    #[arg(long, conflicts_with = "terraform")]
    rotate_tokens: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is wrong with what a workspace is made from.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not say what a definition says.
    #[error("{}:{fault}", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// What and where.
        fault: Fault,
    },
    /// No workspace can be made from the state.
    #[error("{}: {source}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        source: terraform::Error,
    },
    /// The server cannot apply it.
    #[error("{origin}: {detail}")]
    Refused {
        /// File and line.
        origin: String,
        /// Why.
        detail: String,
    },
}

pub(super) async fn run(store: &Store, args: ApplyArgs) -> Result<(), AdminError> {
    let mut batch = match &args.terraform {
        Some(path) => read_state(path, &args)?,
        None => read_all(&args.files)?,
    };
    let how =
        Application { rotate_tokens: args.rotate_tokens, dry_run: args.dry_run, ..Application::by_administrator() };
    let definitions = std::mem::take(&mut batch.definitions);
    let workspaces = store.workspaces().apply_all(definitions, how).await.map_err(|error| at_origin(error, &batch))?;
    let mut applied = Applied { workspaces };
    batch.annotate(&mut applied);
    if args.json {
        return output::json(&applied);
    }
    output::table(&Applied::HEAD, applied.rows(args.dry_run))?;
    let remarks = applied.remarks(args.dry_run);
    if !remarks.is_empty() {
        output::line(&format!("\n{}", output::printable_lines(&remarks)))?;
    }
    if applied.has_tokens() && !args.dry_run {
        output::line(
            "\nTokens are shown this once. Start an agent with CODER_AGENT_URL and CODER_AGENT_TOKEN set: coder agent",
        )?;
    }
    Ok(())
}

fn read_all(files: &[PathBuf]) -> Result<Batch, DefinitionError> {
    let mut batch = Batch::default();
    for path in files {
        let text = read(path, MAX_FILE_BYTES).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
        let text = text.map_err(|source| DefinitionError::Read { path: path.clone(), source })?;
        let faulty = |fault| DefinitionError::Fault { path: path.clone(), fault };
        for workspace in definition::parse(&text).map_err(faulty)? {
            let (line, name_line) = (workspace.line(), workspace.name.referenced.line());
            let Checked { definition, notes } = Checked::new(workspace).map_err(faulty)?;
            let added = batch.add(definition, notes, &format!("{}:{line}", path.display()));
            added.map_err(|detail| faulty(Fault { line: Some(name_line), detail }))?;
        }
    }
    Ok(batch)
}

fn read_state(path: &Path, args: &ApplyArgs) -> Result<Batch, DefinitionError> {
    let bytes = read(path, terraform::MAX_BYTES);
    let bytes = bytes.map_err(|source| DefinitionError::Read { path: path.to_owned(), source })?;
    let state = terraform::read(&bytes).and_then(|workspace| workspace.into_definition(args.name.clone()));
    let (mut definition, notes) = state.map_err(|source| DefinitionError::State { path: path.to_owned(), source })?;
    if let Some(owner) = &args.owner {
        let stated = definition.owner.replace(owner.clone());
        if let Some(stated) = stated.filter(|stated| !stated.eq_ignore_ascii_case(owner) && !args.ignore_owner) {
            let detail =
                format!("this workspace belongs to {stated}, not to {owner}; --ignore-owner gives it to {owner}");
            return Err(DefinitionError::Refused { origin: path.display().to_string(), detail });
        }
    }
    let mut batch = Batch::default();
    // The first of a batch is never there already.
    drop(batch.add(definition, notes, &path.display().to_string()));
    Ok(batch)
}

fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    // One byte more than the limit tells a file that is too long from one that just fits.
    let limit = limit as u64 + 1;
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        io::stdin().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn at_origin(error: ApplyError, batch: &Batch) -> AdminError {
    match (error.index(), error) {
        (Some(index), error) => {
            let origin = batch.origin(index).to_owned();
            DefinitionError::Refused { origin, detail: error.to_string() }.into()
        }
        (None, ApplyError::Store(error)) => error.into(),
        (None, error) => DefinitionError::Refused { origin: String::new(), detail: error.to_string() }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let write = |(index, text): (usize, &&str)| {
            let path = dir.path().join(format!("{index}.yaml"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let paths = texts.iter().enumerate().map(write).collect();
        (dir, paths)
    }

    const DEV: &str = "owner: alice\nname: dev\nagent: { name: main }\n";

    #[test]
    fn a_fault_names_file_and_line() {
        let (_dir, paths) = files(&[DEV, "owner: alice\nname: two\nagent: { name: main }\ncolour: red\n"]);
        let error = read_all(&paths).err().unwrap().to_string();
        assert!(error.contains("1.yaml:4: unknown field `colour`"), "{error}");
    }

    #[test]
    fn the_same_workspace_twice_in_one_call_is_a_fault_of_the_second() {
        let (_dir, paths) = files(&[DEV, "owner: ALICE\nname: dev\nagent: { name: main }\n"]);
        let error = read_all(&paths).err().unwrap().to_string();
        assert!(error.contains("1.yaml:2: workspace ALICE/dev is defined at"), "{error}");
        assert!(error.contains("0.yaml:1 already"), "{error}");
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let missing = read_all(&["/nonexistent/x.yaml".into()]).err().unwrap();
        assert!(missing.to_string().contains("/nonexistent/x.yaml"));
        let (_dir, paths) = files(&["owner: \u{0}\n"]);
        std::fs::write(&paths[0], [0xff, 0xfe, 0x00]).unwrap();
        assert!(matches!(read_all(&paths).err().unwrap(), DefinitionError::Read { .. }));
    }
}
