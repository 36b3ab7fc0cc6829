use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use super::state::{Sessions, Workspace};
use super::status::Status;
use super::wire::{self, Answer, GitSign, Launch, Malformed, Request, Resolve};
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

    /// Where sessions start. Bounded, however long the disk takes.
    fn start(&self) -> impl Future<Output = Start> + Send;

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
    let request = match Request::from_frame(&frame) {
        Ok(request) => request,
        Err(error) => {
            warn!(%error, "refused a question on the socket of sessions");
            return answer(&mut stream, Answer::Failed(error.to_string())).await;
        }
    };
    drop(frame);
    let reply = tokio::select! {
        reply = reply(request, sessions, host) => reply,
        () = gone(&mut stream) => return Ok(()),
    };
    answer(&mut stream, reply).await
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

async fn answer(stream: &mut UnixStream, answer: Answer) -> io::Result<()> {
    timeout(ANSWER_LIMIT, stream.write_all(&answer.into_frame())).await?
}

/// A client that gave up must not hold its place until its time is over. It has nothing more to say.
async fn gone(stream: &mut UnixStream) {
    let _ = stream.read_u8().await;
}

async fn reply(request: Request, sessions: &Sessions, host: &impl Host) -> Answer {
    match request {
        Request::Resolve(question) => {
            if timeout(bounded(question.wait_ms), sessions.environment()).await.is_err() {
                return Answer::Booting(());
            }
            resolve(question, sessions, host).await.unwrap_or_else(|error| Answer::Failed(error.to_string()))
        }
        Request::Status(()) => match serde_json::to_vec(&host.status().await) {
            Ok(json) => Answer::Status(json),
            Err(error) => Answer::Failed(format!("cannot tell the status: {error}")),
        },
        Request::Reload(wait_ms) => match timeout(bounded(wait_ms), host.reload()).await {
            Ok(Ok(delivered)) => Answer::Reloaded(delivered),
            Ok(Err(reason)) => Answer::Failed(reason),
            Err(_) => Answer::Failed(format!("nothing was delivered within {:?}", Duration::from_millis(wait_ms))),
        },
        Request::GitKey(fresh) => host.git_key(fresh).await.map_or_else(Answer::Failed, Answer::GitKey),
        Request::GitSign(GitSign { blob, data, flags }) => {
            host.git_sign(&blob, &data, flags).await.map_or_else(Answer::Failed, Answer::Signature)
        }
    }
}

fn bounded(wait_ms: u64) -> Duration {
    Duration::from_millis(wait_ms).min(MAX_WAIT)
}

async fn resolve(question: Resolve, sessions: &Sessions, host: &impl Host) -> Result<Answer, Malformed> {
    let (environment, degraded) = match sessions.current() {
        Workspace::Booting => return Ok(Answer::Booting(())),
        Workspace::Ready(environment) => (environment, None),
        Workspace::Degraded(environment, reason) => (environment, Some(reason)),
    };
    let (caller, Start { directory, motd }) = match question.caller() {
        // It keeps the directory of its caller.
        wire::Caller::Exec => (environment::Caller::Exec(question.variables()?), Start::default()),
        wire::Caller::Session => (environment::Caller::Session(question.variables()?), host.start().await),
    };
    let resolved = environment.resolve(&caller);
    let left_out: Vec<String> = resolved.left_out.iter().map(ToString::to_string).collect();
    for text in &left_out {
        debug!("in a launch, {text}");
    }
    let gone = environment.gone();
    let launch = Launch { variables: resolved.variables, left_out, gone, degraded, directory, motd };
    Ok(Answer::Launch(launch.into()))
}
