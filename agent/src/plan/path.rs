//! From the path that a user wrote to the file that it means.

use std::path::{Component, Path, PathBuf};

use protocol::rules;

use super::Refusal;
use crate::expand;

/// The absolute path a user means, cleaned by its text alone as Coder does. No variables are expanded.
pub(super) fn target_path(file_path: &str, home: Option<&Path>) -> Result<PathBuf, Refusal> {
    /// With the null byte that ends it, it must fit into 4096.
    const MOST_BYTES: usize = 4095;
    rules::file_path(file_path).map_err(Refusal::Rule)?;
    let path = match expand::below_home(file_path) {
        Some(rest) => clean(&home.ok_or(Refusal::Home)?.join(rest)),
        None => clean(Path::new(file_path)),
    };
    if path.as_os_str().len() > MOST_BYTES { Err(Refusal::TooLong) } else { Ok(path) }
}

fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}
