use std::process::{Command, Stdio};
use std::time::Duration;

use protocol::rest::AgentGitSshKey;
use tempfile::TempDir;

use super::super::key::GitKey;
use super::*;

fn key() -> Arc<Key> {
    let key = GitKey::new(AgentGitSshKey {
        public_key: include_str!("../testdata/ed25519.pub").to_owned(),
        private_key: include_str!("../testdata/ed25519").to_owned().into(),
    });
    Arc::new(Key::Here(key.unwrap()))
}

/// An ssh-agent that serves, and where it does.
struct Served {
    dir: TempDir,
    agent: Arc<SshAgent>,
}

impl Served {
    /// Serves the descendants of `root`; `own_agent` answers for the user's own.
    fn start(offer: Offer, own_agent: Option<PathBuf>, root: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let (sender, offered) = watch::channel(offer);
        let agent = Arc::new(SshAgent::new(offered, own_agent));
        let serving = Arc::clone(&agent);
        tokio::spawn(async move {
            let _sender = sender;
            serving.serve(&listener, root).await
        });
        Self { dir, agent }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }
}

async fn ask(stream: &mut UnixStream, message: &[u8]) -> Option<Vec<u8>> {
    wire::write(stream, message).await.ok()?;
    wire::read(stream).await.ok()?
}

fn sign_request(blob: &[u8]) -> Vec<u8> {
    use ssh_encoding::Encode;
    let mut message = vec![13];
    blob.encode(&mut message).unwrap();
    b"data".as_slice().encode(&mut message).unwrap();
    message.extend([0; 4]);
    message
}

fn forwarded() -> Vec<u8> {
    use ssh_encoding::Encode;
    let mut message = vec![27];
    "session-bind@openssh.com".encode(&mut message).unwrap();
    (0..3).for_each(|_| "x".encode(&mut message).unwrap());
    message.push(1);
    message
}

#[tokio::test]
async fn it_lists_and_signs_and_nothing_else() {
    let served = Served::start(Offer::Key(key()), None, std::process::id());
    let mut stream = served.connect().await;
    assert!(!served.agent.was_listed());
    assert_eq!(ask(&mut stream, &[11]).await.unwrap(), wire::identities(None, Some((key().public().blob(), "Coder"))));
    assert!(served.agent.was_listed() && !served.agent.has_signed());
    assert_eq!(ask(&mut stream, &sign_request(b"another key")).await.unwrap(), wire::failure());
    assert!(!served.agent.has_signed());
    assert_eq!(ask(&mut stream, &sign_request(key().public().blob())).await.unwrap()[0], 14);
    assert!(served.agent.has_signed());
    for refused in [&[17][..], &[19], &[25], &[22, 0, 0, 0, 0], &[27], &[]] {
        assert_eq!(ask(&mut stream, refused).await.unwrap(), wire::failure());
    }
}

#[tokio::test]
async fn the_users_own_agent_answers_first_and_for_all_else() {
    let own = Served::start(Offer::Key(key()), None, std::process::id());
    let served = Served::start(Offer::Nothing, Some(own.path()), std::process::id());
    let mut stream = served.connect().await;
    assert_eq!(ask(&mut stream, &[11]).await.unwrap(), wire::identities(None, Some((key().public().blob(), "Coder"))));
    assert_eq!(ask(&mut stream, &sign_request(key().public().blob())).await.unwrap()[0], 14);
    assert!(own.agent.has_signed() && !served.agent.has_signed());
}

#[tokio::test]
async fn an_own_agent_that_is_gone_is_no_obstacle() {
    let served = Served::start(Offer::Key(key()), Some("/nowhere/agent.sock".into()), std::process::id());
    let answer = ask(&mut served.connect().await, &[11]).await.unwrap();
    assert_eq!(answer, wire::identities(None, Some((key().public().blob(), "Coder"))));
}

#[tokio::test]
async fn a_host_that_the_agent_is_forwarded_to_does_not_see_the_key() {
    let served = Served::start(Offer::Key(key()), None, std::process::id());
    let mut stream = served.connect().await;
    assert_eq!(ask(&mut stream, &forwarded()).await.unwrap(), wire::failure());
    assert_eq!(ask(&mut stream, &[11]).await.unwrap(), wire::identities(None, None));
    assert_eq!(ask(&mut stream, &sign_request(key().public().blob())).await.unwrap(), wire::failure());
    assert!(!served.agent.was_listed());
    assert_eq!(ask(&mut served.connect().await, &sign_request(key().public().blob())).await.unwrap()[0], 14);
}

#[tokio::test]
async fn a_process_that_does_not_descend_from_the_program_is_refused() {
    let mut other = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let served = Served::start(Offer::Key(key()), None, other.id());
    let answer = tokio::time::timeout(Duration::from_secs(5), ask(&mut served.connect().await, &[11])).await;
    assert_eq!(answer.unwrap(), None, "the connection is closed");
    assert!(!served.agent.was_listed());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn a_request_waits_until_the_key_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("s")).unwrap();
    let (offer, offered) = watch::channel(Offer::Pending);
    let agent = Arc::new(SshAgent::new(offered, None));
    let serving = Arc::clone(&agent);
    tokio::spawn(async move { serving.serve(&listener, std::process::id()).await });
    let mut stream = UnixStream::connect(dir.path().join("s")).await.unwrap();
    let asked = tokio::spawn(async move { ask(&mut stream, &[11]).await });
    tokio::task::yield_now().await;
    offer.send_replace(Offer::Key(key()));
    assert_eq!(asked.await.unwrap().unwrap(), wire::identities(None, Some((key().public().blob(), "Coder"))));
}
