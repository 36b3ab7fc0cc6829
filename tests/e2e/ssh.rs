//! Logins over real OpenSSH, through the shipped drop-in.

mod broken;
pub(crate) mod channels;
mod elsewhere;
mod git;
pub(crate) mod logins;
mod restricted;
mod transparent;
