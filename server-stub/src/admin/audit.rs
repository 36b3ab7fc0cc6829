//! `coder-server audit`

use clap::Args;
use jiff::Timestamp;

use super::{AdminError, output};
use crate::config::since;
use crate::store::Store;
use crate::store::audit::Entry;

/// Flags of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Print at most this many records
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Print only records of this user: what they and the agents of their workspaces did, and what was done to their account
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print only records since then: a time ago such as 2h or 7d, or a date such as 2026-11-30
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(store: &Store, args: &AuditArgs) -> Result<(), AdminError> {
    let since = args.since.as_deref().map(|text| since(text, Timestamp::now())).transpose()?;
    let entries = store.audit().select(args.user.as_deref(), since, args.limit).await?;
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
