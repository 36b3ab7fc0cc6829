//! What a session costs while it is idle. Alone in its process, because it reads what the process holds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use protocol::session::{Message, Options, Role, Session};

const SESSIONS: usize = 10_000;
/// What ten thousand agents may cost a server here: 80 MiB. The sockets below come on top.
const LIMIT: usize = 8 * 1024;

/// A connection on which nothing comes and everything goes.
struct Idle;

impl Stream for Idle {
    type Item = io::Result<Message>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Sink<Message> for Idle {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Message) -> io::Result<()> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

#[tokio::test]
async fn ten_thousand_idle_sessions_cost_little() {
    let before = resident_bytes().expect("Linux");
    let sessions: Vec<_> =
        (0..SESSIONS).map(|_| Session::start(Idle, Role::Server, Options::new(Role::Server))).collect();
    // Every driver runs once: it has made its timers and sent its first ping.
    for _ in 0..sessions.len() {
        tokio::task::yield_now().await;
    }
    let each = (resident_bytes().expect("Linux") - before) / SESSIONS;
    println!("{each} bytes for each idle session");
    assert!(each < LIMIT, "{each} bytes for each idle session");
}
