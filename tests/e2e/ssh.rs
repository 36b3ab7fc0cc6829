//! Logins over real OpenSSH, through the shipped drop-in.

mod broken;
mod channels;
mod elsewhere;
mod restricted;
mod transparent;
mod world;
