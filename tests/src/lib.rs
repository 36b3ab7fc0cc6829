//! Harness for end-to-end tests: the built executables, real sockets, a cleared environment.
//!
//! A test makes an [`Env`], starts what it needs through it and asserts on what comes out:
//!
//! ```no_run
//! let env = tests::Env::new();
//! let server = env.server();
//! let alice = env.user("alice");
//! let value = alice.secret("api-key", &["--env", "API_KEY"]);
//! let workspace = env.workspace("owner: alice\nname: dev\nagent: { name: main }\n");
//! let mut agent = env.agent(&server, &workspace).command(["sh", "-c", "printf %s \"$API_KEY\" > ~/seen"]).start();
//! assert_eq!(agent.exit().code, Some(0));
//! assert_eq!(agent.read("seen"), value);
//! ```
//!
//! - [`Env`]: the scratch directory, the cleared environment, and the hunt for values when the test ends
//! - [`World`]: a server, alice and her workspace, which is what most tests need; what a theme adds goes around it
//! - [`Run`] and [`Output`]: one command line and what it printed
//! - [`Process`], [`Server`], [`Agent`]: what runs meanwhile; ended by pid when dropped
//! - [`Sshd`], [`Account`], [`GitHost`]: logins of a user of this machine
//! - [`HungDisk`]: a file system that does not answer
//! - [`ControlPlane`]: a peer that shares no code with the product, and records what it hears
//! - [`Postgres`]: a database server that the test may kill
//! - [`Proxy`]: faults between a client and the server
//! - [`fleet`]: agents by the thousand
//! - [`Rest`]: requests without the command line
//! - [`nasty`]: values that are hard to deliver, and what a process saw of them
//! - [`wait_until`]: the one way to wait
//! - [`Seed`]: choices that can be made again
//! - [`requires`]: what a test needs from the machine
#![forbid(unsafe_code)]

mod account;
mod agent;
mod binaries;
mod canary;
mod command;
pub mod control_plane;
mod database;
mod env;
pub mod fleet;
mod git_host;
mod hung_disk;
pub mod nasty;
mod needs;
mod postgres;
mod process;
mod proxy;
mod rest;
mod seed;
mod server;
mod sshd;
mod wait;
mod workspace;
mod world;

pub use account::Account;
pub use agent::{Agent, AgentBuilder};
pub use binaries::{Binaries, binaries, static_coder};
pub use canary::{Canaries, Leak};
pub use command::{Output, Run};
pub use control_plane::ControlPlane;
pub use database::on_postgres;
pub use env::Env;
pub use git_host::GitHost;
pub use hung_disk::HungDisk;
pub use needs::{Need, is_about_the_file, postgres_program, requires, static_program};
pub use postgres::Postgres;
pub use process::{Exit, Process};
pub use proxy::{Fault, Proxy};
pub use rest::{Reply, Rest};
pub use seed::Seed;
pub use server::{Server, User};
pub use sshd::{Sshd, drop_in, shipped};
pub use wait::{LONG, SHORT, wait_for, wait_until};
pub use workspace::{AgentToken, Workspace};
pub use world::{DEV, World, WorldBuilder};
