use std::io::{self, Write};

use super::delivery::source;
use super::start::Prepared;
use super::{FAILURE, OK, complain};
use crate::control::{self, Endpoint, Role};
use crate::files::disk::Disk;
use crate::ledger::Ledger;
use crate::manifest::{self, Manifest};
use crate::plan::{Plan, Policy};

/// Fetches the manifest and prints what a start would do.
pub(super) async fn dry_run(start: Prepared) -> u8 {
    let server = start.config.url.to_string();
    let endpoint = Endpoint::new(start.network, start.config.token, Role::Observer);
    let wire = match control::fetch_once(&endpoint).await {
        Ok(wire) => wire,
        Err(error) => return complain(&error, FAILURE),
    };
    let (manifest, secrets) = match manifest::split(wire) {
        Ok(split) => split,
        Err(error) => return complain(&error, FAILURE),
    };
    let mut ledger = match Ledger::new(start.process.state_dir) {
        Ok(ledger) => ledger,
        Err(error) => return complain(&error, FAILURE),
    };
    ledger.peek(source(&manifest, &server));
    let policy = Policy {
        home: start.process.home,
        own_directories: start.process.own_directories,
        stale_files: start.config.stale_files,
        ..Policy::default()
    };
    let plan = Plan::new(secrets, &Disk, &policy, &ledger);
    match print(&mut io::stdout().lock(), &plan, &manifest) {
        Ok(()) => OK,
        Err(error) => complain(&error, FAILURE),
    }
}

fn print(out: &mut impl Write, plan: &Plan, manifest: &Manifest) -> io::Result<()> {
    write!(out, "{plan}")?;
    let secrets = plan.secrets();
    for name in secrets.secrets.iter().filter_map(|secret| secret.env_name.as_ref()) {
        writeln!(out, "set {name}")?;
    }
    for refused in &secrets.refused {
        writeln!(out, "refuse {refused}")?;
    }
    for script in manifest.scripts.iter().filter(|script| script.run_on_start) {
        writeln!(out, "run {:?}", script.display_name)?;
    }
    out.flush()
}
