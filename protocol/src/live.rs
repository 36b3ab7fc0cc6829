//! The private calls that tell a running workspace of changes, compiled from our own `live.proto`.
//!
//! They travel on the session of the Agent API. Whichever side lacks them, the other works without.

#[expect(missing_docs, clippy::pedantic, reason = "generated from live.proto, which documents it")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/usersecrets.agent.v1.rs"));
}

pub use generated::*;

/// The parameter by which an agent says, when it dials, that it knows these calls: `live=1`.
pub const DIAL_PARAMETER: &str = "live";

/// `/usersecrets.agent.v1.Live/Watch`
pub const WATCH: &str = "/usersecrets.agent.v1.Live/Watch";
/// `/usersecrets.agent.v1.Live/Report`
pub const REPORT: &str = "/usersecrets.agent.v1.Live/Report";

/// Targets of one report; those that were delivered well are left out first.
pub const MAX_TARGETS: usize = 200;
/// Bytes of a name or an outcome in a report; longer ones are cut.
pub const MAX_TEXT_BYTES: usize = 512;
