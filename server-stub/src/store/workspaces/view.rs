//! Workspaces and agents as people look at them.

use jiff::Timestamp;
use protocol::agent_api::lifecycle::State;
use uuid::Uuid;

use super::super::engine::row;
use super::super::now;

/// An agent that was not seen for this long is shown as disconnected: two beats of the connection monitor.
const INACTIVE_MICROSECONDS: i64 = 30_000_000;

/// A workspace.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Stable identifier.
    pub id: Uuid,
    /// Its owner.
    pub owner_id: Uuid,
    /// The owner's name.
    pub owner_name: String,
    /// Its name.
    pub name: String,
    /// When it was first applied.
    pub created_at: Timestamp,
    /// When an apply last changed it.
    pub updated_at: Timestamp,
    /// Since when it gets nothing any more, if that is so.
    pub revoked: Option<Revocation>,
    /// Identifies what it was applied from.
    pub build_id: Uuid,
    /// Grows with each apply that changes something.
    pub build_number: i64,
    /// Since when it has no agents that are let in.
    pub stopped_at: Option<Timestamp>,
    /// Its agents, in the order of the definition.
    pub agents: Vec<Agent>,
}

/// Since when a workspace gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Since when.
    pub at: Timestamp,
    /// Why, in the administrator's words; may be empty.
    pub reason: String,
}

/// An agent, as far as its definition and its reports go.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Stable identifier.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Where scripts and sessions start, unexpanded.
    pub directory: String,
    /// The same, as the agent expanded it.
    pub expanded_directory: String,
    /// Path of what is shown at login.
    pub motd_path: String,
    /// The address of the resource that is its machine, or empty.
    pub resource: String,
    /// Seconds it may take to connect for the first time.
    pub connection_timeout: i64,
    /// When it was first applied.
    pub created_at: Timestamp,
    /// When it was last applied.
    pub updated_at: Timestamp,
    /// Its version, empty until it told.
    pub version: String,
    /// The version of the Agent API that it dialled.
    pub api_version: String,
    /// What it runs inside of.
    pub subsystems: Vec<String>,
    /// What it last reported.
    pub lifecycle: State,
    /// When the workspace last started.
    pub started_at: Option<Timestamp>,
    /// When that start was over, well or not.
    pub ready_at: Option<Timestamp>,
    /// What the connection monitor saw.
    pub presence: Option<Seen>,
    /// Bytes of log that are kept.
    pub logs_bytes: i64,
    /// Whether log lines were refused.
    pub logs_overflowed: bool,
}

/// When an agent was connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// For the first time.
    pub first_connected_at: Timestamp,
    /// For the last time it was seen.
    pub last_connected_at: Timestamp,
    /// When its last session ended.
    pub disconnected_at: Option<Timestamp>,
}

/// Whether an agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It has never been, and still has time.
    Connecting,
    /// It has never been, and should have.
    Timeout,
    /// It is.
    Connected,
    /// It was.
    Disconnected,
}

impl Connection {
    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Timeout => "timeout",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }
}

impl Agent {
    /// Whether it is there at the moment.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.connection_at(now())
    }

    fn connection_at(&self, now: Timestamp) -> Connection {
        let since = |then: Timestamp| now.as_microsecond().saturating_sub(then.as_microsecond());
        let Some(presence) = &self.presence else {
            // Zero means that there is no such limit.
            let limit = self.connection_timeout.saturating_mul(1_000_000);
            let late = limit > 0 && since(self.created_at) > limit;
            return if late { Connection::Timeout } else { Connection::Connecting };
        };
        let left = presence.disconnected_at.is_some_and(|at| at >= presence.last_connected_at);
        if left || since(presence.last_connected_at) > INACTIVE_MICROSECONDS {
            Connection::Disconnected
        } else {
            Connection::Connected
        }
    }
}

/// A script and how it went.
#[expect(clippy::struct_excessive_bools, reason = "the provider's own flags, each independent of the others")]
#[derive(Clone, Debug)]
pub struct Script {
    /// Stable identifier.
    pub id: Uuid,
    /// Where its lines are kept.
    pub log_source_id: Uuid,
    /// Its name.
    pub display_name: String,
    /// See `coder_script`. Empty for people, if it is a secret.
    pub script: String,
    /// Whether its text is a secret.
    pub sensitive: bool,
    /// Six fields, or empty.
    pub cron: String,
    /// Path of its log in the workspace, or empty.
    pub log_path: String,
    /// Seconds; zero for no limit.
    pub timeout: i64,
    /// Runs when the workspace starts.
    pub run_on_start: bool,
    /// Runs when the workspace stops.
    pub run_on_stop: bool,
    /// Clients should wait for it.
    pub start_blocks_login: bool,
    /// How it last went.
    pub last: Option<Timing>,
}

/// Between the name of a script and its number, in the name that the database knows it by.
const NTH: char = '\u{1f}';

/// The name that the database knows the `nth` script of a name by: there it is unique for the agent.
pub(super) fn script_key(name: &str, nth: usize) -> String {
    if nth == 1 { name.to_owned() } else { format!("{name}{NTH}{nth}") }
}

/// The name that people gave it.
pub(super) fn shown_name(key: &str) -> &str {
    key.split(NTH).next().unwrap_or_default()
}

/// One run of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What it ended with.
    pub exit_code: i32,
    /// As on the wire.
    pub stage: i32,
    /// As on the wire.
    pub status: i32,
}

row! {
    /// A metadata item and its last value.
    #[derive(Clone, Debug)]
    pub struct Metadata {
        /// Unique for the agent.
        pub key: String,
        /// What people see.
        pub display_name: String,
        /// What is run to get the value.
        pub script: String,
        /// Seconds; zero for once.
        pub interval: i64,
        /// Seconds; zero for the interval.
        pub timeout: i64,
        /// The value, empty until there is one.
        pub value: String,
        /// Why there is none.
        pub error: String,
        /// When it was collected.
        pub collected_at: Option<Timestamp>,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::time;
    use super::*;

    fn agent(presence: Option<(i64, Option<i64>)>, connection_timeout: i64) -> Agent {
        Agent {
            id: Uuid::nil(),
            name: String::new(),
            directory: String::new(),
            expanded_directory: String::new(),
            motd_path: String::new(),
            resource: String::new(),
            connection_timeout,
            created_at: time(0),
            updated_at: time(0),
            version: String::new(),
            api_version: String::new(),
            subsystems: Vec::new(),
            lifecycle: State::Created,
            started_at: None,
            ready_at: None,
            presence: presence.map(|(last, left)| Seen {
                first_connected_at: time(0),
                last_connected_at: time(last * 1_000_000),
                disconnected_at: left.map(|at| time(at * 1_000_000)),
            }),
            logs_bytes: 0,
            logs_overflowed: false,
        }
    }

    #[test]
    fn the_status_follows_the_connection_monitor() {
        let cases = [
            (None, 120, 100, Connection::Connecting),
            (None, 120, 121, Connection::Timeout),
            (None, 0, 1000, Connection::Connecting),
            (Some((100, None)), 120, 130, Connection::Connected),
            (Some((100, None)), 120, 131, Connection::Disconnected),
            (Some((100, Some(100))), 120, 101, Connection::Disconnected),
            (Some((100, Some(99))), 120, 101, Connection::Connected),
        ];
        for (presence, timeout, now, expected) in cases {
            let shown = agent(presence, timeout).connection_at(time(now * 1_000_000));
            assert_eq!(shown, expected, "{presence:?} at {now}");
        }
    }
}
