//! What the server is told of a delivery.

use protocol::live::{Generation, MAX_TARGETS, MAX_TEXT_BYTES, ReportRequest, Target, target::Kind};

use super::delivery::Delivery;
use crate::errors::chain;

/// How `delivery` went, as the state that the server counts as `generation`. Names, paths and reasons; never a value.
pub(super) fn of(delivery: &Delivery, generation: Option<Generation>) -> ReportRequest {
    let refused = delivery.refused.iter().map(|it| target(Kind::Env, &it.name, Err(it.reason.clone())));
    let left_out =
        delivery.left_out.iter().map(|it| target(Kind::Env, &it.name.to_string_lossy(), Err(it.to_string())));
    let is_set = |name: &&String| !delivery.left_out.iter().any(|it| it.name == ***name);
    let variables = delivery.variables.iter().filter(is_set).map(|name| target(Kind::Env, name, Ok("set".to_owned())));
    let files = delivery.files.outcomes().iter().map(|file| {
        let outcome = file.result.as_ref().map(ToString::to_string).map_err(|error| chain(&error.failure));
        target(Kind::File, &file.path.to_string_lossy(), outcome)
    });
    let stale = delivery.files.stale().iter().map(|stale| {
        let outcome = stale.kept.as_ref().map_or_else(|| "removed".to_owned(), |reason| format!("left: {reason}"));
        target(Kind::Stale, &stale.path.to_string_lossy(), Ok(outcome))
    });
    // What failed first: if there are too many, the rest is left out.
    let mut targets: Vec<_> = refused.chain(left_out).chain(stale).chain(files).chain(variables).collect();
    targets.sort_by_key(|target| target.delivered);
    targets.truncate(MAX_TARGETS);
    ReportRequest { generation, targets, revoked: delivery.revoked }
}

fn target(kind: Kind, name: &str, outcome: Result<String, String>) -> Target {
    let delivered = outcome.is_ok();
    let (Ok(outcome) | Err(outcome)) = outcome;
    Target { kind: kind.into(), name: cut(name), delivered, outcome: cut(&outcome) }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}
