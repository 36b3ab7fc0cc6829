//! The server among strangers, proxies, full disks and administrators who change their mind.

mod answers;
mod coder_clients;
mod connections;
mod logs;
mod proxies;
mod reload;
