//! The way to the server: real proxies in between, private certificates, other servers than the one of the sign-in.

mod headers;
mod nginx;
mod proxy;
mod sign_in;
mod tls;
pub mod world;
