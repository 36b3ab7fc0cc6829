//! The account that logged in.

use std::path::PathBuf;

use crate::sys::users::Account;

/// Who logged in, as a session needs to know it.
#[derive(Debug)]
pub struct Login {
    /// Login name; empty if neither the user database nor sshd tells.
    pub name: String,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

impl Login {
    /// From the user database, else from the variables that sshd sets.
    #[must_use]
    pub fn of_this_process(account: Option<&Account>) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match account {
            Some(account) => {
                Self { name: account.name.clone(), home: account.home.clone(), shell: account.shell.clone() }
            }
            None => Self {
                name: variable("USER").and_then(|name| name.into_string().ok()).unwrap_or_default(),
                home: variable("HOME").map_or_else(|| "/".into(), PathBuf::from),
                shell: variable("SHELL").map_or_else(|| "/bin/sh".into(), PathBuf::from),
            },
        }
    }
}
