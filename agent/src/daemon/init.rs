use std::process::ExitCode;

use super::{FAILURE, complain};
use crate::config::{AgentArgs, PRIVATE_VARIABLES};
use crate::sys::process;
use crate::sys::reaper::{self, Init, Side};

/// Who takes care of the orphans that the main process leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Orphans {
    /// The agent.
    Ours,
    /// Process 1, or whoever gets them otherwise.
    Others,
}

/// As process 1 of a container, makes the agent a child of a process that only reaps and passes signals on. Gives the
/// arguments back to the agent; in process 1, its exit code when all is over.
pub(super) fn split(args: AgentArgs) -> Result<(AgentArgs, Orphans), ExitCode> {
    if args.no_reap {
        return Ok((args, Orphans::Others));
    }
    match reaper::split() {
        Ok(Side::Agent) => Ok((args, Orphans::Others)),
        // Without a main process the agent is a service, whose manager knows what belongs to it.
        Ok(Side::Elsewhere) if args.command.is_empty() => Ok((args, Orphans::Others)),
        Ok(Side::Elsewhere) => Ok((args, Orphans::Ours)),
        Ok(Side::Init(init)) => Err(stand_by(args, init)),
        Err(error) => Err(complain(&error, FAILURE).into()),
    }
}

/// The token is the agent's alone: it goes from the memory of process 1 before anything else happens.
fn stand_by(args: AgentArgs, init: Init) -> ExitCode {
    // Both are wiped as they are dropped.
    drop(args);
    let wiped = PRIVATE_VARIABLES.iter().try_for_each(|name| process::take_variable(name).map(drop));
    if let Err(error) = wiped.and(process::harden()) {
        complain(&error, FAILURE);
    }
    init.run().into()
}
