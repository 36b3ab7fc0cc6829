//! `coder-server audit`

use clap::Args;

use super::{AdminError, output};
use crate::store::Store;
use crate::store::audit::Entry;

/// Flags of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Print at most this many records
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(store: &Store, args: &AuditArgs) -> Result<(), AdminError> {
    let entries = store.audit().newest(args.limit).await?;
    if args.json {
        return output::json(&entries);
    }
    let row = |entry: Entry| {
        let who = format!("{} {}", entry.actor_kind, entry.actor_name);
        let what = format!("{} {}", entry.action, entry.resource);
        let status = entry.status.to_string();
        vec![output::local(entry.time), who, entry.address, what, entry.target, status]
    };
    output::table(&["TIME", "WHO", "FROM", "WHAT", "TARGET", "STATUS"], entries.into_iter().map(row))
}
