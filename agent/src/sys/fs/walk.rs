//! The way to a directory, one component at a time, and what other users can do about it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Component, Path};

use rustix::io::Errno;

use super::{Dir, Entry, Trust};

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

impl Dir {
    /// Opens a directory by its absolute path. Links on the way are followed, unless another user may have put them there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (dir, missing) = Self::open_deepest(path)?;
        if missing.is_empty() { Ok(dir) } else { Err(Errno::NOENT.into()) }
    }

    /// Opens a directory by a path that a link in this one holds.
    pub fn open_from(&self, path: &Path) -> io::Result<Self> {
        let (dir, missing) = self.again()?.walk(path)?;
        if missing.is_empty() { Ok(dir) } else { Err(Errno::NOENT.into()) }
    }

    /// Opens as much of the way to a directory as exists. Also returns the names that are missing, in their order.
    pub fn open_deepest(path: &Path) -> io::Result<(Self, Vec<OsString>)> {
        Self::root(Trust::Private)?.walk(path)
    }

    /// Opens a directory by an absolute path and makes what is missing of it, 0700. Also returns the directories that
    /// got a new entry by that, which are to be flushed.
    pub fn make(path: &Path) -> io::Result<(Self, Vec<Self>)> {
        let (mut dir, missing) = Self::open_deepest(path)?;
        let mut changed = Vec::new();
        for name in missing {
            let (next, made) = dir.make_one(&name)?;
            let parent = std::mem::replace(&mut dir, next);
            if made {
                changed.push(parent);
            }
        }
        Ok((dir, changed))
    }

    fn make_one(&self, name: &OsStr) -> io::Result<(Self, bool)> {
        // If the name is taken, somebody else was faster, or it is a link to nowhere, which opening it then says.
        let made = self.make_child(name)?;
        // What we made ourselves is no link; if it is one now, it was planted in between.
        let dir = if made { self.step(name)? } else { self.open_from(Path::new(name))? };
        Ok((dir, made))
    }

    fn walk(self, path: &Path) -> io::Result<(Self, Vec<OsString>)> {
        let mut at = if path.is_absolute() { self.root_behind_link()? } else { self };
        let mut rest = components(path);
        // So many of the last names are those of `path` itself; what comes before them is of a link.
        let mut own = rest.len();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let is_own = rest.len() < own;
            own = own.min(rest.len());
            match at.step(&name) {
                Ok(next) => at = next,
                // Nothing is made behind a link to nowhere.
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_own => {
                    rest.push(name);
                    rest.reverse();
                    return Ok((at, rest));
                }
                Err(error) if is_no_directory(&error) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = at.read_own_link(&name)?;
                    rest.extend(components(&target));
                    if target.is_absolute() {
                        at = at.root_behind_link()?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok((at, rest))
    }
}

/// Whether another user may have led the path of a file that we created or opened for appending to a file of ours: in a
/// directory that others can write to, by a hard link, which the kernel allows with `fs.protected_hardlinks=0`.
pub fn may_be_led_astray(file: &File, path: &Path) -> io::Result<bool> {
    let is_shared =
        || path.parent().is_none_or(|parent| Dir::open(parent).map_or(true, |dir| dir.trust() != Trust::Private));
    Ok(Entry::of(file)?.links != 1 && is_shared())
}

/// The components of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let forward = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<_> = forward.collect();
    names.reverse();
    names
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTDIR | Errno::LOOP))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::PathBuf;

    use super::*;

    fn directory(path: PathBuf, mode: u32) -> PathBuf {
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn trust(path: &Path) -> Trust {
        Dir::open(path).unwrap().trust()
    }

    #[test]
    fn a_directory_that_others_can_write_to_ends_the_trust_unless_it_is_sticky() {
        let home = tempfile::tempdir().unwrap();
        let home = directory(home.path().join("home"), 0o755);
        let open = directory(home.join("open"), 0o777);
        let sticky = directory(home.join("sticky"), 0o1777);
        let below = [&home, &open, &sticky].map(|parent| directory(parent.join("below"), 0o700));
        assert_eq!(below.map(|path| trust(&path)), [Trust::Private, Trust::Shared, Trust::Private]);
        assert_eq!([&home, &open, &sticky].map(|path| trust(path)), [Trust::Private, Trust::Shared, Trust::Shared]);
        // Behind a link that lies among others' files, too.
        symlink(&home, open.join("link")).unwrap();
        assert_eq!(trust(&open.join("link")), Trust::Shared);
        symlink(&home, sticky.join("link")).unwrap();
        assert_eq!(trust(&sticky.join("link/below")), Trust::Private);
    }

    #[test]
    fn what_another_user_owns_is_foreign_with_all_that_is_below_and_its_links_are_not_followed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let foreign = directory(home.path().join("foreign"), 0o755);
        let below = directory(foreign.join("below"), 0o700);
        chown(&foreign, Some(12345), None).unwrap();
        assert_eq!([&foreign, &below].map(|path| trust(path)), [Trust::Foreign(12345); 2]);
        assert_eq!(Dir::open_deepest(&foreign.join("a/b")).unwrap().0.trust(), Trust::Foreign(12345));

        let sticky = directory(home.path().join("sticky"), 0o1777);
        symlink(home.path(), sticky.join("link")).unwrap();
        std::os::unix::fs::lchown(sticky.join("link"), Some(12345), None).unwrap();
        let error = Dir::open(&sticky.join("link")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    }

    #[test]
    fn the_missing_end_of_a_way_is_told_and_nothing_is_made_behind_a_link_to_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let (dir, missing) = Dir::open_deepest(&home.path().join("a/b")).unwrap();
        assert_eq!((dir.id(), missing), (Dir::open(home.path()).unwrap().id(), vec!["a".into(), "b".into()]));
        symlink("nowhere", home.path().join("link")).unwrap();
        assert!(Dir::make(&home.path().join("link/x")).is_err());
        assert!(!home.path().join("nowhere").exists());
        symlink("loop", home.path().join("loop")).unwrap();
        assert_eq!(Errno::from_io_error(&Dir::open(&home.path().join("loop")).unwrap_err()), Some(Errno::LOOP));
        std::fs::write(home.path().join("file"), "").unwrap();
        let error = Dir::open(&home.path().join("file/x")).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NOTDIR));
    }

    #[test]
    fn a_path_of_many_missing_components_is_made_on_a_small_stack() {
        const DEPTH: usize = 300;
        const SMALL: usize = 128 * 1024;
        let home = tempfile::tempdir().unwrap();
        let path: PathBuf = std::iter::once(home.path()).chain([Path::new("d"); DEPTH]).collect();
        let make = {
            let path = path.clone();
            move || Dir::make(&path).map(|(dir, changed)| (dir.id(), changed.len()))
        };
        let (id, changed) = std::thread::Builder::new().stack_size(SMALL).spawn(make).unwrap().join().unwrap().unwrap();
        assert_eq!((id, changed), (Dir::open(&path).unwrap().id(), DEPTH));
        assert!(Dir::make(&path).unwrap().1.is_empty());
    }
}
