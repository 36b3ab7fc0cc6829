//! The server among strangers, proxies, full disks and administrators who change their mind.

mod answers;
mod budget;
mod coder_clients;
pub mod connections;
mod disk;
mod hostile;
mod logs;
mod metrics;
mod null_bytes;
mod proxies;
mod reload;
