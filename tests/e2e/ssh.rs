//! Logins over real OpenSSH, through the shipped drop-in.

mod broken;
pub(crate) mod channels;
mod elsewhere;
mod git;
mod restricted;
mod transparent;
pub(crate) mod world;
