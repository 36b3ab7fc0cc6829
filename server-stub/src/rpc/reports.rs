//! Checks what agents report. A missing sub-message fails that one call, not the session.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use protocol::agent_api::connection::{Action, Type};
use protocol::agent_api::lifecycle::State;
use protocol::agent_api::log::Level;
use protocol::agent_api::startup::Subsystem;
use protocol::agent_api::timing::{Stage, Status as Outcome};
use protocol::agent_api::{
    BatchCreateLogsRequest, BatchUpdateMetadataRequest, Lifecycle, Log, ReportConnectionRequest, Startup,
    UpdateLifecycleRequest, UpdateStartupRequest, WorkspaceAgentScriptCompletedRequest,
};
use protocol::drpc::Status;
use protocol::live::target::Kind;
use protocol::live::{MAX_TARGETS, MAX_TEXT_BYTES as MAX_TEXT_BYTES_OF_TARGET, ReportRequest, Target};
use uuid::Uuid;

use crate::auth::Agent;
use crate::store::audit::Record;
use crate::store::workspaces::{
    MetadataReport, NewLine, ReportedDelivery, ReportedTarget, StartupReport, Timing, TimingReport,
};
use crate::store::{Generation, now};
use protocol::workspace::definition::MAX_METADATA_KEY_BYTES;

/// Longer metadata values and errors are cut, as in Coder.
const MAX_METADATA_BYTES: usize = 2048;
/// Longer texts that an agent reports about itself are cut.
const MAX_TEXT_BYTES: usize = 4096;
/// Longer reasons of a disconnection are cut.
const MAX_REASON_BYTES: usize = 512;

/// Returns the message to echo, and the part of it to store.
pub(super) fn startup(request: UpdateStartupRequest) -> Result<(Startup, StartupReport), Status> {
    let startup = request.startup.ok_or_else(|| absent("startup"))?;
    if !is_semver(&startup.version) {
        return Err(Status::new(format!("invalid agent semver version {:?}", cut(&startup.version, 64))));
    }
    let subsystems = startup.subsystems.iter().map(|number| match Subsystem::try_from(*number) {
        Ok(Subsystem::Envbox) => Ok("envbox"),
        Ok(Subsystem::Envbuilder) => Ok("envbuilder"),
        Ok(Subsystem::Exectrace) => Ok("exectrace"),
        Ok(Subsystem::Unspecified) | Err(_) => Err(Status::new(format!("invalid agent subsystem {number}"))),
    });
    let mut subsystems = subsystems.collect::<Result<Vec<_>, _>>()?;
    subsystems.sort_unstable();
    subsystems.dedup();
    let report = StartupReport {
        version: cut(&startup.version, MAX_TEXT_BYTES).to_owned(),
        expanded_directory: cut(&startup.expanded_directory, MAX_TEXT_BYTES).to_owned(),
        subsystems,
    };
    Ok((startup, report))
}

/// Returns the message to echo, and the part of it to store.
pub(super) fn lifecycle(request: UpdateLifecycleRequest) -> Result<(Lifecycle, State, Timestamp), Status> {
    let lifecycle = request.lifecycle.ok_or_else(|| absent("lifecycle"))?;
    match State::try_from(lifecycle.state) {
        Ok(State::Unspecified) | Err(_) => Err(Status::new(format!("unknown lifecycle state {}", lifecycle.state))),
        Ok(state) => {
            // An absent time would read as 1970.
            let changed_at = lifecycle.changed_at.as_ref().and_then(time).unwrap_or_else(now);
            Ok((lifecycle, state, changed_at))
        }
    }
}

/// Returns the log source and its lines.
pub(super) fn logs(request: BatchCreateLogsRequest) -> Result<(Uuid, Vec<NewLine>), Status> {
    let source = uuid(&request.log_source_id, "log_source_id")?;
    let line = |log: Log| NewLine {
        created_at: log.created_at.as_ref().and_then(time).unwrap_or_else(now),
        level: match Level::try_from(log.level) {
            Ok(Level::Unspecified) | Err(_) => Level::Info.into(),
            Ok(level) => level.into(),
        },
        output: log.output,
    };
    Ok((source, request.logs.into_iter().map(line).collect()))
}

/// Returns the timing and result of a script.
pub(super) fn timing(request: WorkspaceAgentScriptCompletedRequest) -> Result<TimingReport, Status> {
    let timing = request.timing.ok_or_else(|| absent("timing"))?;
    let moment = |at: &Option<prost_types::Timestamp>, name| at.as_ref().and_then(time).ok_or_else(|| absent(name));
    let (started_at, ended_at) = (moment(&timing.start, "timing.start")?, moment(&timing.end, "timing.end")?);
    if started_at > ended_at {
        return Err(Status::new("a script cannot end before it starts"));
    }
    let known = |name, known| if known { Ok(()) } else { Err(Status::new(format!("unknown {name} of a script"))) };
    known("stage", Stage::try_from(timing.stage).is_ok())?;
    known("status", Outcome::try_from(timing.status).is_ok())?;
    let script = uuid(&timing.script_id, "timing.script_id")?;
    let (exit_code, stage, status) = (timing.exit_code, timing.stage, timing.status);
    Ok(TimingReport { script, timing: Timing { started_at, ended_at, exit_code, stage, status } })
}

/// Returns the last item of each key. The agent's clock is ignored.
pub(super) fn metadata(request: BatchUpdateMetadataRequest) -> Result<Vec<MetadataReport>, Status> {
    let keys: usize = request.metadata.iter().map(|item| item.key.len()).sum();
    if keys > MAX_METADATA_KEY_BYTES {
        return Err(Status::new(format!("metadata keys of {keys} bytes exceed the limit of {MAX_METADATA_KEY_BYTES}")));
    }
    let kept = |text: &str| cut(text.trim(), MAX_METADATA_BYTES).to_owned();
    let mut reports = BTreeMap::new();
    for item in request.metadata {
        let result = item.result.ok_or_else(|| absent("metadata.result"))?;
        // No definition has an empty key, of which the limit above allows any number.
        if !item.key.is_empty() {
            let (value, error) = (kept(&result.value), kept(&result.error));
            reports.insert(item.key.clone(), MetadataReport { key: item.key, value, error });
        }
    }
    Ok(reports.into_values().collect())
}

/// Returns the audit record of a user's session in the workspace.
pub(super) fn connection(request: ReportConnectionRequest, agent: &Agent) -> Result<Record, Status> {
    let connection = request.connection.ok_or_else(|| absent("connection"))?;
    let id = uuid(&connection.id, "connection.id")?;
    if id.is_nil() {
        return Err(Status::new("connection.id must not be zero"));
    }
    let action = match Action::try_from(connection.action) {
        Ok(Action::Connect) => "connect",
        Ok(Action::Disconnect) => "disconnect",
        Ok(Action::Unspecified) | Err(_) => return Err(Status::new("unknown action of a connection")),
    };
    let kind = match Type::try_from(connection.r#type) {
        Ok(Type::Ssh) => "ssh",
        Ok(Type::Vscode) => "vscode",
        Ok(Type::Jetbrains) => "jetbrains",
        Ok(Type::ReconnectingPty) => "reconnecting_pty",
        Ok(Type::Unspecified) | Err(_) => return Err(Status::new("unknown type of a connection")),
    };
    let diff = serde_json::json!({
        "type": kind,
        "ip": connection.ip.parse::<IpAddr>().ok(),
        "reason": connection.reason.as_deref().map(|reason| cut(reason, MAX_REASON_BYTES)),
        "exit_code": connection.status_code,
    });
    Ok(Record::new(agent.actor.clone(), action, "workspace_session").on(id, &agent.identity.path()).diff(diff))
}

/// How a delivery went: what fits, and no null bytes, which a database may not take.
pub(super) fn delivery(request: ReportRequest) -> Result<ReportedDelivery, Status> {
    let generation = request.generation.ok_or_else(|| absent("generation"))?;
    let kept = |text: &str| cut(text, MAX_TEXT_BYTES_OF_TARGET).replace('\0', "\u{fffd}");
    let target = |target: Target| ReportedTarget {
        kind: match target.kind() {
            Kind::Env | Kind::Unspecified => "env",
            Kind::File => "file",
            Kind::Stale => "stale",
        }
        .to_owned(),
        name: kept(&target.name),
        delivered: target.delivered,
        outcome: kept(&target.outcome),
    };
    Ok(ReportedDelivery {
        generation: Generation { epoch: generation.epoch, number: generation.number },
        revoked: request.revoked,
        targets: request.targets.into_iter().take(MAX_TARGETS).map(target).collect(),
        at: now(),
    })
}

fn absent(what: &str) -> Status {
    Status::new(format!("{what} is required"))
}

fn uuid(bytes: &[u8], what: &str) -> Result<Uuid, Status> {
    Uuid::from_slice(bytes).map_err(|_| Status::new(format!("{what} must have 16 bytes, and has {}", bytes.len())))
}

fn time(at: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(at.seconds, at.nanos).ok()
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// `vMAJOR[.MINOR[.PATCH[-PRERELEASE][+BUILD]]]`, as Go reads it.
fn is_semver(version: &str) -> bool {
    let Some(version) = version.strip_prefix('v') else { return false };
    let (version, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(rest, pre)| (rest, Some(pre)));
    let words = |text: &str| {
        text.split('.').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    let number = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
    };
    let numbers = core.split('.').count();
    core.split('.').all(number)
        && numbers <= 3
        && (numbers == 3 || (pre.is_none() && build.is_none()))
        && [pre, build].into_iter().flatten().all(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_go_reads_them() {
        for good in ["v2.35.1", "v0.1.0", "v2", "v2.3", "v1.0.0-rc.1+build-7.x", "v1.0.0+b"] {
            assert!(is_semver(good), "{good}");
        }
        for bad in [
            "",
            "v",
            "2.35.1",
            "v2.35.1.4",
            "v01.2.3",
            "v1.2.x",
            "v1.2-rc",
            "v1.0.0-",
            "v1.0.0+",
            "v1.0.0-a..b",
            "v1.0.0-ä",
        ] {
            assert!(!is_semver(bad), "{bad}");
        }
    }

    #[test]
    fn an_absent_time_is_now_and_an_unknown_level_is_info() {
        let lifecycle = Lifecycle { state: State::Ready.into(), changed_at: None };
        let before = now();
        let (_, _, changed_at) = super::lifecycle(UpdateLifecycleRequest { lifecycle: Some(lifecycle) }).unwrap();
        assert!(changed_at >= before);
        let log = Log { created_at: None, output: "x".into(), level: 77 };
        let (source, lines) = logs(BatchCreateLogsRequest { log_source_id: vec![0; 16], logs: vec![log] }).unwrap();
        assert!(source.is_nil() && lines[0].created_at >= before && lines[0].level == i32::from(Level::Info));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
