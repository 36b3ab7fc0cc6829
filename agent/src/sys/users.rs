//! Accounts, homes, and dropping root.
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "static"))]
#[cfg_attr(not(feature = "static"), expect(dead_code, reason = "tests of other builds only read with it"))]
mod files;
#[cfg(not(feature = "static"))]
mod nss;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};

use crate::sys::process;
#[cfg(feature = "static")]
use files as database;
#[cfg(not(feature = "static"))]
use nss as database;

/// One entry of the passwd database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Login name.
    pub name: String,
    /// Home directory; may be empty or missing on disk.
    pub home: PathBuf,
    /// Login shell; `/bin/sh` where the entry has none.
    pub shell: PathBuf,
}

/// Why an account could not be found or taken on.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum UserError {
    #[error("no user {0} in the passwd database")]
    Unknown(String),
    #[error("cannot look up user {user}")]
    Lookup { user: String, source: io::Error },
    #[error("the user can only be changed before other threads start")]
    Threads,
    #[error("cannot count the threads of this process in /proc/self/task")]
    CountThreads { source: std::io::Error },
    #[error("cannot take on the groups of user {user}")]
    Groups { user: String, source: io::Error },
    #[error("cannot take on group id {gid} of user {user}")]
    Group { user: String, gid: u32, source: Errno },
    #[error("cannot take on user id {uid} of user {user}")]
    User { user: String, uid: u32, source: Errno },
    #[error("user {0} was taken on, but the way back to root is still open")]
    Revocable(String),
}

impl Account {
    fn new(uid: u32, gid: u32, name: String, home: PathBuf, shell: PathBuf) -> Self {
        let shell = if shell.as_os_str().is_empty() { PathBuf::from("/bin/sh") } else { shell };
        Self { uid, gid, name, home, shell }
    }

    /// The account of a name, or of a decimal user id where no account has it as its name.
    pub fn find(user: &str) -> Result<Self, UserError> {
        let lookup = |source| UserError::Lookup { user: user.into(), source };
        if let Some(account) = database::by_name(user).map_err(lookup)? {
            return Ok(account);
        }
        let uid = user.parse().map_err(|_| UserError::Unknown(user.into()))?;
        Self::by_uid(uid)?.ok_or_else(|| UserError::Unknown(user.into()))
    }

    /// The account of a user id; `None` where the passwd database has no entry, as for arbitrary ids in containers.
    pub fn by_uid(uid: u32) -> Result<Option<Self>, UserError> {
        database::by_uid(uid).map_err(|source| UserError::Lookup { user: uid.to_string(), source })
    }

    /// The account this process runs as.
    pub fn current() -> Result<Option<Self>, UserError> {
        Self::by_uid(unistd::geteuid().as_raw())
    }

    /// Becomes this account for good: groups, group, user, in the one order that works. Nothing can undo it.
    ///
    /// To be called before any thread exists; afterwards it is refused. An agent that is not root can only "become"
    /// itself.
    pub fn take_on(&self) -> Result<(), UserError> {
        if !process::is_single_threaded().map_err(|source| UserError::CountThreads { source })? {
            return Err(UserError::Threads);
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        if !unistd::geteuid().is_root() && unistd::getresuid().is_ok_and(|ids| ids.real == uid && ids.saved == uid) {
            return Ok(());
        }
        let user = || self.name.clone();
        database::take_on_groups(self).map_err(|source| UserError::Groups { user: user(), source })?;
        unistd::setresgid(gid, gid, gid).map_err(|source| UserError::Group { user: user(), gid: self.gid, source })?;
        unistd::setresuid(uid, uid, uid).map_err(|source| UserError::User { user: user(), uid: self.uid, source })?;
        self.verify(uid, gid)
    }

    /// A kernel or a sandbox may answer success and keep a saved id; believing it would leave a root agent.
    fn verify(&self, uid: Uid, gid: Gid) -> Result<(), UserError> {
        let users = unistd::getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [uid; 3]);
        let groups = unistd::getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [gid; 3]);
        let back = !uid.is_root() && unistd::setuid(Uid::from_raw(0)).is_ok();
        if users && groups && !back { Ok(()) } else { Err(UserError::Revocable(self.name.clone())) }
    }
}

/// Where `~` is: `$HOME` of the agent's process, else the account's home. `None` where neither is an absolute path.
#[must_use]
pub fn home(variable: Option<OsString>, account: Option<&Account>) -> Option<PathBuf> {
    let from_account = || account.map(|account| account.home.clone());
    let absolute = |path: &PathBuf| path.is_absolute();
    variable.map(PathBuf::from).filter(absolute).or_else(from_account).filter(absolute)
}

/// The home of whoever types a command: `$HOME`, else that of the account.
#[must_use]
pub fn own_home() -> Option<PathBuf> {
    database::home()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(home: &str) -> Account {
        Account { uid: 1, gid: 1, name: "a".into(), home: home.into(), shell: "/bin/sh".into() }
    }

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = Account::find("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(Account::find("0").unwrap(), root);
        assert_eq!(Account::by_uid(0).unwrap(), Some(root));
    }

    #[test]
    fn an_unknown_user_is_named() {
        let error = Account::find("no-such-user-here").unwrap_err();
        assert_eq!(error.to_string(), "no user no-such-user-here in the passwd database");
        assert!(matches!(Account::find("4294967290"), Err(UserError::Unknown(_))));
        assert_eq!(Account::by_uid(4_294_967_290).unwrap(), None);
    }

    #[test]
    fn the_user_is_not_changed_once_threads_exist() {
        let (hold, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv().ok());
        assert!(matches!(Account::find("root").unwrap().take_on(), Err(UserError::Threads)));
        drop(hold);
        thread.join().unwrap();
    }

    #[test]
    fn home_is_the_variable_then_the_account_then_unknown() {
        let alice = account("/home/alice");
        for (variable, account, expected) in [
            (Some("/h"), Some(&alice), Some("/h")),
            (Some(""), Some(&alice), Some("/home/alice")),
            (Some("relative"), Some(&alice), Some("/home/alice")),
            (None, Some(&alice), Some("/home/alice")),
            (None, Some(&account("")), None),
            (None, None, None),
        ] {
            assert_eq!(home(variable.map(Into::into), account), expected.map(PathBuf::from));
        }
    }

    #[test]
    fn an_account_that_was_taken_on_cannot_be_left() {
        if !crate::sys::process::tests::needs_root("an_account_that_was_taken_on_cannot_be_left") {
            return;
        }
        crate::sys::process::tests::alone(|| {
            let account = Account { uid: 65_534, gid: 65_533, ..account("/") };
            account.take_on().unwrap();
            assert_eq!((unistd::getuid().as_raw(), unistd::getgid().as_raw()), (65_534, 65_533));
            assert_eq!(unistd::getgroups().unwrap(), [Gid::from_raw(65_533)]);
            assert!(unistd::setuid(Uid::from_raw(0)).is_err() && unistd::setgid(Gid::from_raw(0)).is_err());
            // It can be taken on again, but no other.
            account.take_on().unwrap();
            assert!(matches!(Account { uid: 1, ..account }.take_on(), Err(UserError::Groups { .. })));
        });
    }
}
