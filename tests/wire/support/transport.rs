//! WebSocket connections in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use protocol::session::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// One end of a connection. Dropping it is what the other end sees as a connection that is gone.
pub struct Pipe {
    incoming: mpsc::Receiver<Message>,
    outgoing: PollSender<Message>,
}

/// Both ends of a connection whose sockets hold a few messages.
pub fn pipe() -> (Pipe, Pipe) {
    let (left_out, right_in) = mpsc::channel(8);
    let (right_out, left_in) = mpsc::channel(8);
    (
        Pipe { incoming: left_in, outgoing: PollSender::new(left_out) },
        Pipe { incoming: right_in, outgoing: PollSender::new(right_out) },
    )
}

fn gone<E>(_: E) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Stream for Pipe {
    type Item = io::Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(cx).map(|message| message.map(Ok))
    }
}

impl Sink<Message> for Pipe {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_ready_unpin(cx).map_err(gone)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> io::Result<()> {
        self.outgoing.start_send_unpin(message).map_err(gone)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_flush_unpin(cx).map_err(gone)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// How a peer cuts its byte stream into messages.
#[derive(Clone, Copy)]
pub enum Cut {
    /// As much as there is.
    Whole,
    /// One byte a message.
    Drip,
}

/// Lets a peer that knows only byte streams talk through `end`.
pub fn as_bytes(mut end: Pipe, cut: Cut) -> DuplexStream {
    let (ours, mut theirs) = tokio::io::duplex(256 * 1024);
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            tokio::select! {
                message = end.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        if theirs.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    Some(Ok(Message::Ping(payload))) => end.send(Message::Pong(payload)).await.unwrap_or(()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
                read = theirs.read(&mut buffer) => {
                    let Ok(n @ 1..) = read else { return };
                    let size = match cut { Cut::Whole => n, Cut::Drip => 1 };
                    for part in buffer[..n].chunks(size) {
                        if end.send(Message::Binary(Bytes::copy_from_slice(part))).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    });
    ours
}
