//! `coder-server workspace apply`

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::{AdminError, output};
use crate::store::Store;
use crate::store::workspaces::{AppliedWorkspace, ApplyError};
use protocol::workspace::Checked;
use protocol::workspace::definition::{self, Fault, MAX_FILE_BYTES};

/// What is wrong with a definition file.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// It cannot be read.
    #[error("cannot read workspace definition {}", path.display())]
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
}

/// Where a definition was read, for a fault that shows later.
struct Origin {
    path: PathBuf,
    line: u64,
}

pub(super) async fn run(store: &Store, files: &[PathBuf], json: bool, rotate_tokens: bool) -> Result<(), AdminError> {
    let (definitions, origins) = read_all(files)?;
    let applied =
        store.workspaces().apply(definitions, rotate_tokens).await.map_err(|error| at_origin(error, &origins))?;
    if json {
        return output::json(&json!({ "workspaces": applied.iter().map(as_json).collect::<Vec<_>>() }));
    }
    as_text(&applied)
}

fn read_all(files: &[PathBuf]) -> Result<(Vec<Checked>, Vec<Origin>), DefinitionError> {
    let (mut definitions, mut origins, mut seen) = (Vec::new(), Vec::new(), HashMap::new());
    for path in files {
        let text = read(path).map_err(|source| DefinitionError::Read { path: path.clone(), source })?;
        let faulty = |fault| DefinitionError::Fault { path: path.clone(), fault };
        for workspace in definition::parse(&text).map_err(faulty)? {
            let line = workspace.line();
            let name = format!("{}/{}", workspace.owner.value, workspace.name.value);
            // In one call the second would silently win over the first.
            if let Some(first) = seen.insert(name.to_ascii_lowercase(), format!("{}:{line}", path.display())) {
                let detail = format!("workspace {name} is defined at {first} already");
                return Err(faulty(Fault::at(&workspace.name, detail)));
            }
            definitions.push(Checked::new(workspace).map_err(faulty)?);
            origins.push(Origin { path: path.clone(), line });
        }
    }
    Ok((definitions, origins))
}

fn read(path: &Path) -> io::Result<String> {
    // One byte more than the limit tells a file that is too long from one that just fits.
    let limit = MAX_FILE_BYTES as u64 + 1;
    let mut text = String::new();
    if path.as_os_str() == "-" {
        io::stdin().take(limit).read_to_string(&mut text)?;
    } else {
        File::open(path)?.take(limit).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn at_origin(error: ApplyError, origins: &[Origin]) -> AdminError {
    match error {
        ApplyError::Store(error) => error.into(),
        ApplyError::UnknownOwner { index, .. } => {
            let (path, line) = match origins.get(index) {
                Some(origin) => (origin.path.clone(), Some(origin.line)),
                None => (PathBuf::new(), None),
            };
            DefinitionError::Fault { path, fault: Fault { line, detail: error.to_string() } }.into()
        }
    }
}

fn as_json(workspace: &AppliedWorkspace) -> Value {
    let agents: Vec<_> = workspace
        .agents
        .iter()
        .map(|agent| {
            // The one place, with the table below, where a token is printed.
            let token = agent.token.as_ref().and_then(|token| token.expose_str().ok());
            json!({ "name": agent.name, "token": token })
        })
        .collect();
    json!({ "owner": workspace.owner, "name": workspace.name, "agents": agents })
}

fn as_text(applied: &[AppliedWorkspace]) -> Result<(), AdminError> {
    let rows = applied.iter().flat_map(|workspace| {
        let path = format!("{}/{}", workspace.owner, workspace.name);
        let done = if workspace.created { "created" } else { "updated" };
        let kept = workspace.agents.iter().map(|agent| {
            let token = agent.token.as_ref().and_then(|token| token.expose_str().ok());
            (agent.name.clone(), token.unwrap_or("(as before)").to_owned())
        });
        let removed = workspace.removed.iter().map(|name| (name.clone(), "(agent removed)".to_owned()));
        let row = |(agent, token)| vec![path.clone(), done.to_owned(), agent, token];
        kept.chain(removed).map(row).collect::<Vec<_>>()
    });
    output::table(&["WORKSPACE", "", "AGENT", "TOKEN"], rows)?;
    if applied.iter().flat_map(|workspace| &workspace.agents).any(|agent| agent.token.is_some()) {
        output::line(
            "\nTokens are shown this once. Start an agent with CODER_AGENT_URL and CODER_AGENT_TOKEN set: coder agent",
        )?;
    }
    Ok(())
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
