//! The directory of the sign-in, shared with Coder's own command line: `url` and `session`, one line each,
//! and `ca.pem`, which is ours. `url` says whose token `session` is: no other server gets it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use protocol::secret::Secret;

use super::ui;
use crate::sys::users;

/// Longest `url` or `session` file that is read; real ones have less than a hundred bytes.
pub(crate) const MAX_LINE_BYTES: usize = 8192;

const URL: &str = "url";
const SESSION: &str = "session";
const CA: &str = "ca.pem";

/// A failure in the directory, with its path.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub(crate) struct ConfigDirError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl ConfigDirError {
    fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { operation, path: path.to_owned(), source }
    }
}

/// `$XDG_CONFIG_HOME`, else `~/.config`.
fn base() -> Option<PathBuf> {
    let chosen = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    chosen.or_else(|| Some(users::own_home()?.join(".config")))
}

/// Where the sign-in is kept.
#[derive(Debug)]
pub(crate) struct ConfigDir(PathBuf);

impl ConfigDir {
    /// The given directory, else `coderv2` in the user's configuration directory; none without a home.
    pub(crate) fn locate(given: Option<PathBuf>) -> Option<Self> {
        given.or_else(|| base().map(|base| base.join("coderv2"))).map(Self)
    }

    /// The address that the user signed in to.
    pub(crate) fn url(&self) -> Result<Option<String>, ConfigDirError> {
        let url = self.read(URL)?;
        Ok(url.and_then(|url| url.expose_str().ok().map(ToOwned::to_owned)))
    }

    /// The session token of that address.
    pub(crate) fn session(&self) -> Result<Option<Secret>, ConfigDirError> {
        self.read(SESSION)
    }

    /// The certificates to trust for that address, a PEM file, if some were named at the sign-in.
    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        Some(self.0.join(CA)).filter(|path| path.exists())
    }

    /// Keeps a sign-in, with a copy of the certificates to trust for it. A token never stands beside another server's
    /// address, wherever this is interrupted.
    pub(crate) fn store(&self, url: &str, session: &Secret, ca: Option<&[u8]>) -> Result<(), ConfigDirError> {
        let create = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        create.map_err(ConfigDirError::at("create", &self.0))?;
        self.remove(SESSION)?;
        self.write(URL, url.as_bytes())?;
        match ca {
            Some(ca) => self.write(CA, ca)?,
            None => drop(self.remove(CA)?),
        }
        self.write(SESSION, session.expose())
    }

    /// Forgets the sign-in. False if there was none.
    pub(crate) fn forget(&self) -> Result<bool, ConfigDirError> {
        let session = self.remove(SESSION)?;
        let url = self.remove(URL)?;
        self.remove(CA)?;
        Ok(session || url)
    }

    fn read(&self, name: &str) -> Result<Option<Secret>, ConfigDirError> {
        let path = self.0.join(name);
        match File::open(&path).and_then(|file| ui::read_secret(file, MAX_LINE_BYTES)) {
            Ok(line) => {
                let line = Secret::new(line.expose().trim_ascii().to_vec());
                Ok((!line.is_empty()).then_some(line))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ConfigDirError::at("read", &path)(error)),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), ConfigDirError> {
        let path = self.0.join(name);
        let temporary = self.0.join(format!(".{name}.{}", std::process::id()));
        let written = write_new(&temporary, content).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|error| {
            drop(fs::remove_file(&temporary));
            ConfigDirError::at("write", &path)(error)
        })
    }

    fn remove(&self, name: &str) -> Result<bool, ConfigDirError> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ConfigDirError::at("remove", &path)(error)),
        }
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    // What a killed process of the same number left behind.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_sign_in_is_kept_for_its_owner_alone_and_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("new/coderv2");
        let dir = ConfigDir::locate(Some(path.clone())).unwrap();
        assert_eq!(dir.url().unwrap(), None);
        assert_eq!(dir.session().unwrap(), None);
        assert!(!dir.forget().unwrap());

        dir.store("https://one.example", &Secret::from("first".to_owned()), Some(b"pem")).unwrap();
        assert_eq!(dir.ca_file(), Some(path.join(CA)));
        dir.store("https://two.example", &Secret::from("second".to_owned()), None).unwrap();
        assert_eq!(dir.ca_file(), None);
        assert_eq!(dir.url().unwrap().as_deref(), Some("https://two.example"));
        assert_eq!(dir.session().unwrap(), Some(Secret::from("second".to_owned())));
        assert_eq!([mode(&path), mode(&path.join(URL)), mode(&path.join(SESSION))], [0o700, 0o600, 0o600]);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "a temporary file was left");

        assert!(dir.forget().unwrap());
        assert_eq!(dir.session().unwrap(), None);
    }

    #[test]
    fn a_line_of_another_program_is_trimmed() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(URL), " https://one.example\r\n").unwrap();
        fs::write(home.path().join(SESSION), "\n").unwrap();
        let dir = ConfigDir::locate(Some(home.path().to_owned())).unwrap();
        assert_eq!(dir.url().unwrap().as_deref(), Some("https://one.example"));
        assert_eq!(dir.session().unwrap(), None);
    }

    #[test]
    fn a_failure_names_its_path() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(SESSION)).unwrap();
        let dir = ConfigDir::locate(Some(home.path().to_owned())).unwrap();
        let error = dir.session().unwrap_err().to_string();
        assert!(error.starts_with("read /") && error.ends_with("/session"), "{error}");
    }
}
