use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use super::status::Status;
use super::wire::{self, Answer, Launch, Request};
use super::{Sessions, Workspace};
use crate::environment;

/// Bytes of a question with a whole environment, as most are.
const USUAL: usize = 2 * 1024;
/// For the whole question: a client has it ready before it connects.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// For the whole answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Nobody waits longer for a boot or a fetch, whatever they say.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// What the agent knows besides the environment.
pub trait Host: Send + Sync + 'static {
    /// How the workspace is.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// Where sessions start.
    fn start(&self) -> Start;

    /// Fetches the manifest and delivers it; says in words what was delivered, or why not. May be dropped at any time.
    fn reload(&self) -> impl Future<Output = Result<String, String>> + Send;

    /// The owner's public git key, as a line; `fresh` where it may have been replaced just now.
    fn git_key(&self, fresh: bool) -> impl Future<Output = Result<String, String>> + Send;

    /// A signature with the git key that this is the public part of.
    fn git_sign(&self, blob: &[u8], data: &[u8], flags: u32) -> impl Future<Output = Result<Vec<u8>, String>> + Send;
}

/// Where sessions start.
#[derive(Debug, Default)]
pub struct Start {
    /// The manifest's directory, or the home.
    pub directory: PathBuf,
    /// As the template names it; empty where it names none.
    pub motd: PathBuf,
}

/// One question, one answer.
pub(super) async fn serve(mut stream: UnixStream, sessions: &Sessions, host: &impl Host) -> io::Result<()> {
    let frame = timeout(ASK_LIMIT, read(&mut stream)).await??;
    let request = match Request::decode(&frame) {
        Ok(request) => request,
        Err(error) => {
            warn!(%error, "refused a question on the socket of sessions");
            return answer(&mut stream, &Answer::Failed(error.to_string())).await;
        }
    };
    drop(frame);
    let reply = tokio::select! {
        reply = reply(request, sessions, host) => reply,
        () = gone(&mut stream) => return Ok(()),
    };
    answer(&mut stream, &reply).await
}

async fn read(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = stream.read_u32_le().await? as usize;
    if length > wire::MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the question is too long"));
    }
    // Beyond what is usual it grows with what really comes, not with what was announced.
    let mut frame = Zeroizing::new(Vec::with_capacity(length.min(USUAL)));
    stream.take(length as u64).read_to_end(&mut frame).await?;
    if frame.len() == length { Ok(frame) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn answer(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    timeout(ANSWER_LIMIT, stream.write_all(&answer.encode())).await?
}

/// A client that gave up must not hold its place until its time is over. It has nothing more to say.
async fn gone(stream: &mut UnixStream) {
    let _ = stream.read_u8().await;
}

async fn reply(request: Request, sessions: &Sessions, host: &impl Host) -> Answer {
    match request {
        Request::Resolve { caller, wait, variables } => {
            if timeout(wait.min(MAX_WAIT), sessions.environment()).await.is_err() {
                return Answer::Booting;
            }
            resolve(caller, variables, sessions, host)
        }
        Request::Status => match serde_json::to_vec(&host.status().await) {
            Ok(json) => Answer::Status(json),
            Err(error) => Answer::Failed(format!("cannot tell the status: {error}")),
        },
        Request::Reload { wait } => match timeout(wait.min(MAX_WAIT), host.reload()).await {
            Ok(Ok(delivered)) => Answer::Reloaded(delivered),
            Ok(Err(reason)) => Answer::Failed(reason),
            Err(_) => Answer::Failed(format!("nothing was delivered within {wait:?}")),
        },
        Request::GitKey { fresh } => host.git_key(fresh).await.map_or_else(Answer::Failed, Answer::GitKey),
        Request::GitSign { blob, data, flags } => {
            host.git_sign(&blob, &data, flags).await.map_or_else(Answer::Failed, Answer::Signature)
        }
    }
}

fn resolve(caller: wire::Caller, variables: environment::Variables, sessions: &Sessions, host: &impl Host) -> Answer {
    let (environment, degraded) = match sessions.current() {
        Workspace::Booting => return Answer::Booting,
        Workspace::Ready(environment) => (environment, None),
        Workspace::Degraded(environment, reason) => (environment, Some(reason)),
    };
    let caller = match caller {
        wire::Caller::Exec => environment::Caller::Exec(variables),
        wire::Caller::Session => environment::Caller::Session(variables),
    };
    let resolved = environment.resolve(&caller);
    let left_out: Vec<String> = resolved.left_out.iter().map(ToString::to_string).collect();
    for text in &left_out {
        debug!("in a launch, {text}");
    }
    let Start { directory, motd } = host.start();
    Answer::Launch(Launch { variables: resolved.variables, left_out, degraded, directory, motd })
}
