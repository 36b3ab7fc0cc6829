//! The encryption key file: mode 0600, ours, replaced as a whole or not at all.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::unistd::Uid;
use zeroize::Zeroizing;

use super::super::data_dir::name_of;
use super::super::private_file::{self, sync_directory};
use super::key::{self, KeyBytes, KeyError};

/// A thousand keys; a file that is longer is no key file.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads the keys, after looking at owner and mode of the very file that is read.
pub(in crate::store) fn read(path: &Path) -> Result<Vec<KeyBytes>, KeyError> {
    let failed = |source| KeyError::File { action: "read", path: path.to_owned(), source };
    // Without O_NONBLOCK a FIFO put there would hold the start for ever.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(failed(io::Error::new(ErrorKind::InvalidInput, "not a regular file")));
    }
    if found.uid() != Uid::effective().as_raw() {
        return Err(KeyError::Owner { path: path.to_owned(), owner: name_of(found.uid()) });
    }
    if found.mode() & 0o077 != 0 {
        return Err(KeyError::Mode { path: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    key::parse(&text, &path.display().to_string())
}

/// Makes the file with one key. Where another process was faster, its file stands.
pub(in crate::store) fn create(path: &Path, key: &KeyBytes) -> Result<(), KeyError> {
    let temporary = write_beside(path, std::slice::from_ref(key))?;
    // A link fails where a file exists, and what it makes is complete: nobody ever reads half a key.
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked.and(removed).and_then(|()| sync_directory(path)),
    }
    .map_err(|source| KeyError::File { action: "create", path: path.to_owned(), source })
}

/// Replaces the keys of the file.
pub(in crate::store) fn replace(path: &Path, keys: &[KeyBytes]) -> Result<(), KeyError> {
    let failed = |source| KeyError::File { action: "replace", path: path.to_owned(), source };
    // The file behind a symbolic link, not the link: the old keys would stay behind in it.
    let real = fs::canonicalize(path).map_err(failed)?;
    let temporary = write_beside(&real, keys)?;
    fs::rename(&temporary, &real).and_then(|()| sync_directory(&real)).map_err(failed)
}

fn write_beside(path: &Path, keys: &[KeyBytes]) -> Result<PathBuf, KeyError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut text = Zeroizing::new(String::from(
        "# Encryption keys of coder-server, one a line. Without them the database cannot be read:\n\
         # keep a copy in another place than the backups of the database.\n",
    ));
    for key in keys {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", *Zeroizing::new(STANDARD.encode(**key)));
    }
    let write = || {
        // Left by a process of the same number that was killed.
        fs::remove_file(&temporary)
            .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        let mut file = private_file::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| KeyError::File { action: "create", path: temporary.clone(), source })?;
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn it_is_private_complete_and_never_overwritten_by_a_slower_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("encryption.key");
        let (first, second) = (key::generate().unwrap(), key::generate().unwrap());
        create(&path, &first).unwrap();
        create(&path, &second).unwrap();
        assert_eq!(read(&path).unwrap(), [first]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_link_points_to_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        create(&file, &key::generate().unwrap()).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let new = [key::generate().unwrap()];
        replace(&link, &new).unwrap();
        assert_eq!((read(&file).unwrap(), read(&link).unwrap()), (new.to_vec(), new.to_vec()));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn it_is_refused_when_others_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        create(&path, &key::generate().unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("has mode 0640"));
    }

    #[test]
    fn a_fifo_in_its_place_does_not_hold_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(matches!(read(&path), Err(KeyError::File { .. })));
    }
}
