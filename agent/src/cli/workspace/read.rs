//! Definitions and states from files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use protocol::definitions::Batch;
use protocol::terraform;
use protocol::workspace::Checked;
use protocol::workspace::definition::{self, MAX_FILE_BYTES};

use crate::cli::error::CliError;

/// Every definition of YAML files.
pub(super) fn definitions(files: &[impl AsRef<Path>]) -> Result<Batch, CliError> {
    let mut batch = Batch::default();
    for path in files.iter().map(AsRef::as_ref) {
        let shown = path.display();
        let text = bytes(path, MAX_FILE_BYTES).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
        let text = text.map_err(|error| CliError::Usage(format!("cannot read {shown}: {error}")))?;
        for workspace in definition::parse(&text).map_err(|fault| CliError::Usage(format!("{shown}:{fault}")))? {
            let (line, name_line) = (workspace.line(), workspace.name.referenced.line());
            let Checked { definition, notes } =
                Checked::new(workspace).map_err(|fault| CliError::Usage(format!("{shown}:{fault}")))?;
            let added = batch.add(definition, notes, &format!("{shown}:{line}"));
            added.map_err(|detail| CliError::Usage(format!("{shown}:{name_line}: {detail}")))?;
        }
    }
    Ok(batch)
}

/// The workspace of a state.
pub(super) fn state(path: &Path, name: Option<String>) -> Result<Batch, CliError> {
    let shown = path.display();
    let bytes =
        bytes(path, terraform::MAX_BYTES).map_err(|error| CliError::Usage(format!("cannot read {shown}: {error}")))?;
    let read = terraform::read(&bytes).and_then(|workspace| workspace.into_definition(name));
    let (definition, notes) = read.map_err(|error| CliError::Usage(format!("{shown}: {error}")))?;
    let mut batch = Batch::default();
    // The first of a batch is never there already.
    drop(batch.add(definition, notes, &shown.to_string()));
    Ok(batch)
}

/// A file, or standard input for `-`.
pub(super) fn bytes(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
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
