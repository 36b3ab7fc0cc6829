//! The user database of a static executable: `/etc/passwd` and `/etc/group`, and nothing else. glibc would load modules
//! of the machine it runs on, which need their own glibc.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{self, Gid};

use super::Account;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

pub(super) fn by_name(name: &str) -> io::Result<Option<Account>> {
    find(Path::new(PASSWD), |line| account(line).filter(|account| account.name == name))
}

pub(super) fn by_uid(uid: u32) -> io::Result<Option<Account>> {
    find(Path::new(PASSWD), |line| account(line).filter(|account| account.uid == uid))
}

/// Makes the groups of `account` those of this process.
pub(super) fn take_on_groups(account: &Account) -> io::Result<()> {
    let groups = groups(Path::new(GROUP), account)?;
    Ok(unistd::setgroups(&groups.into_iter().map(Gid::from_raw).collect::<Vec<_>>())?)
}

/// The home of this process's user.
pub(super) fn home() -> Option<PathBuf> {
    let account = by_uid(unistd::geteuid().as_raw()).ok().flatten();
    super::home(std::env::var_os("HOME"), account.as_ref())
}

fn groups(file: &Path, account: &Account) -> io::Result<Vec<u32>> {
    let mut groups = vec![account.gid];
    let none: Option<()> = find(file, |line| {
        let others = group_with(line, account.name.as_bytes()).filter(|gid| !groups.contains(gid));
        groups.extend(others);
        None
    })?;
    debug_assert!(none.is_none());
    Ok(groups)
}

/// The first line of which `pick` makes something. A file that is not there has no lines.
fn find<T>(path: &Path, mut pick: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => BufReader::new(file.map_err(named)?),
    };
    for line in file.split(b'\n') {
        if let Some(found) = pick(&line.map_err(named)?) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// `name:password:uid:gid:comment:home:shell`; nothing for a comment, or an entry of NIS.
fn account(line: &[u8]) -> Option<Account> {
    let [name, _, uid, gid, _, home, shell] = fields(line)?;
    let name = std::str::from_utf8(name).ok()?;
    let path = |bytes| PathBuf::from(OsStr::from_bytes(bytes));
    Some(Account::new(number(uid)?, number(gid)?, name.to_owned(), path(home), path(shell)))
}

/// The id of the group `name:password:gid:members` where `member` is one of them.
fn group_with(line: &[u8], member: &[u8]) -> Option<u32> {
    let [_, _, gid, members] = fields(line)?;
    members.split(|byte| *byte == b',').any(|it| it == member).then(|| number(gid)).flatten()
}

fn fields<const N: usize>(line: &[u8]) -> Option<[&[u8]; N]> {
    line.split(|byte| *byte == b':').collect::<Vec<_>>().try_into().ok()
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_is_an_account() {
        let alice = account(b"alice:x:1000:1001:Alice,,,:/home/alice:/bin/bash").unwrap();
        assert_eq!(alice, Account::new(1000, 1001, "alice".into(), "/home/alice".into(), "/bin/bash".into()));
        assert_eq!(account(b"a:x:1:1:::").unwrap().shell, Path::new("/bin/sh"));
        for none in
            ["", "# alice", "+::::::", "+nis", "a:x:one:1::/:", "a:x:1:1:/:", "a:x:-1:1:::", "a:x:4294967296:1:::"]
        {
            assert_eq!(account(none.as_bytes()), None, "{none:?}");
        }
    }

    #[test]
    fn groups_are_the_own_one_and_those_that_name_the_user() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("group");
        std::fs::write(&file, "wheel:x:10:bob,alice\nal:x:11:al\ndocker:x:12:alice\nown:x:7:alice\nbad:x::alice\n")
            .unwrap();
        let alice = Account::new(1, 7, "alice".into(), "/".into(), "/bin/sh".into());
        assert_eq!(groups(&file, &alice).unwrap(), [7, 10, 12]);
        assert_eq!(groups(&scratch.path().join("none"), &alice).unwrap(), [7]);
        let error = groups(scratch.path(), &alice).unwrap_err().to_string();
        assert!(error.contains(scratch.path().to_str().unwrap()), "{error}");
    }

    #[test]
    fn it_finds_whom_glibc_finds_in_the_files() {
        for line in std::fs::read_to_string(PASSWD).unwrap().lines() {
            let Some(entry) = account(line.as_bytes()) else { continue };
            assert_eq!(by_name(&entry.name).unwrap(), Account::find(&entry.name).ok());
            assert_eq!(by_uid(entry.uid).unwrap(), Account::by_uid(entry.uid).unwrap());
        }
        assert_eq!(by_name("no-such-user-here").unwrap(), None);
    }
}
