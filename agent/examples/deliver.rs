//! Writes 100 secret files of 1 KiB in ten directories below the directory that is its argument, as the agent does when it
//! boots. `make bench` times it beside other ways to write them.
#![forbid(unsafe_code)]

use std::io;

use agent::files::{self, disk::Disk};
use agent::ledger::Ledger;
use agent::manifest::{SecretSet, WorkspaceSecret};
use agent::plan::{Plan, Policy};
use agent::sys::memory;
use protocol::secret::Secret;

fn main() -> io::Result<()> {
    let directory = std::env::args().nth(1).ok_or_else(|| io::Error::other("usage: deliver DIRECTORY"))?;
    let values = memory::guard((0..100).map(|_| Secret::new(vec![b'x'; 1024])).collect())?;
    let secret = |(number, value)| WorkspaceSecret {
        env_name: None,
        file_path: Some(format!("{directory}/{}/secret-{number}", number % 10)),
        value,
    };
    let secrets = values.into_iter().enumerate().map(secret).collect();
    let secrets = SecretSet { template: Vec::new(), secrets, refused: Vec::new() };
    let mut ledger = Ledger::new(Some(format!("{directory}/state").into()))?;
    ledger.begin("a server and an owner".to_owned());
    let plan = Plan::new(secrets, &Disk, &Policy::default(), &ledger);
    let applied = files::apply(plan, &mut ledger);
    applied.report().errors().next().map_or(Ok(()), |error| Err(io::Error::other(error.to_string())))
}
