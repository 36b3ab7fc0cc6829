use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::Places;

/// Where scripts and sessions start.
#[derive(Debug)]
pub struct WorkingDirectory {
    /// A directory that can be entered, as far as there is one.
    pub path: PathBuf,
    /// Why it is not the one that the template names.
    pub problem: Option<DirectoryError>,
}

/// The directory that the template names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot enter the workspace's directory {wanted}: {source}; scripts and sessions start in {instead}")]
pub struct DirectoryError {
    /// Expanded.
    wanted: PathBuf,
    instead: PathBuf,
    source: io::Error,
}

impl Places {
    /// What the template says, else home. A directory that does not exist yet is no reason not to run the script that
    /// makes it. Blocks for as long as the disk does.
    #[must_use]
    pub fn working_directory(&self, template: &str) -> WorkingDirectory {
        let home = self.home.clone().unwrap_or_else(|| "/".into());
        let instead = || if can_enter(&home).is_ok() { home.clone() } else { "/".into() };
        if template.is_empty() {
            return WorkingDirectory { path: instead(), problem: None };
        }
        let wanted = home.join(self.expand(template));
        match can_enter(&wanted) {
            Ok(()) => WorkingDirectory { path: wanted, problem: None },
            Err(source) => {
                let problem = DirectoryError { wanted, instead: instead(), source };
                WorkingDirectory { path: problem.instead.clone(), problem: Some(problem) }
            }
        }
    }
}

fn can_enter(path: &Path) -> io::Result<()> {
    if !path.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(accessat(CWD, path, Access::EXEC_OK | Access::READ_OK, AtFlags::EACCESS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_start_where_the_template_says_else_at_home() {
        let dir = tempfile::tempdir().unwrap();
        let home = Some(dir.path().to_owned());
        let places = Places { log_dir: "/nonexistent".into(), home, variables: Vec::new() };
        std::fs::create_dir(dir.path().join("project")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for (template, expected, problem) in [
            ("~/project", "project", None),
            ("project", "project", None),
            ("", "", None),
            ("~", "", None),
            ("~/missing", "", Some("No such file or directory")),
            ("~/file", "", Some("not a directory")),
            ("/nonexistent", "", Some("No such file or directory")),
        ] {
            let found = places.working_directory(template);
            assert_eq!(found.path, dir.path().join(expected), "{template}");
            let text = found.problem.map(|problem| problem.to_string());
            assert_eq!(text.is_some(), problem.is_some(), "{template}: {text:?}");
            assert!(text.is_none_or(|text| text.contains(problem.unwrap())), "{template}");
        }
        let homeless = Places { home: None, ..places };
        assert_eq!(homeless.working_directory("~/project").path, Path::new("/"));
    }
}
