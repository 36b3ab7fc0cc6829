//! The user database as glibc knows it: files, LDAP, whatever the machine is set up for.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid, User};

use super::Account;

pub(super) fn by_name(name: &str) -> io::Result<Option<Account>> {
    Ok(User::from_name(name)?.map(Account::from))
}

pub(super) fn by_uid(uid: u32) -> io::Result<Option<Account>> {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(entry) => Ok(entry.map(Account::from)),
        // An image without a passwd file has no entries either.
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes the groups of `account` those of this process.
pub(super) fn take_on_groups(account: &Account) -> io::Result<()> {
    let name = CString::new(account.name.as_str())?;
    Ok(unistd::initgroups(&name, Gid::from_raw(account.gid))?)
}

/// The home of this process's user.
pub(super) fn home() -> Option<PathBuf> {
    dirs::home_dir()
}

impl From<User> for Account {
    fn from(entry: User) -> Self {
        Self::new(entry.uid.as_raw(), entry.gid.as_raw(), entry.name, entry.dir, entry.shell)
    }
}
