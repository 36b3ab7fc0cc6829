//! One stream of a session.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::io::{AsyncRead as _, AsyncWrite as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::held::Part;

/// What streams, and those who open one, ask of the driver of the session.
#[derive(Debug)]
pub(super) enum Command {
    /// Open a stream.
    Open { permit: OwnedSemaphorePermit, reply: oneshot::Sender<Stream> },
    /// Send the FIN of a stream that was dropped without one.
    Finish { stream: Box<yamux::Stream>, place: Place },
}

/// What a stream takes from the session for as long as yamux has anything of it.
#[derive(Debug)]
pub(super) struct Place {
    #[expect(dead_code, reason = "held")]
    pub(super) permit: OwnedSemaphorePermit,
    /// None for a stream that we have opened.
    pub(super) part: Option<Part>,
}

/// A stream of a session: read and write it, and shut it down when nothing more will be written.
///
/// Shutting it down sends one FIN, however often it is done: hashicorp's yamux ends the whole session at a second one
/// (trap 4). A stream that is dropped without is finished the same way by the session, behind all that was written,
/// because the RST that yamux would send makes the peer throw away what it has not read yet (trap 3).
#[derive(Debug)]
pub struct Stream {
    /// Gone only while dropping.
    yamux: Option<Box<yamux::Stream>>,
    /// Gone only while dropping: what is still to be finished counts as in flight.
    place: Option<Place>,
    finished: bool,
    commands: UnboundedSender<Command>,
}

impl Stream {
    pub(super) fn new(yamux: yamux::Stream, place: Place, commands: UnboundedSender<Command>) -> Self {
        Self { yamux: Some(Box::new(yamux)), place: Some(place), finished: false, commands }
    }

    fn yamux(&mut self) -> io::Result<Pin<&mut yamux::Stream>> {
        match &mut self.yamux {
            Some(stream) => Ok(Pin::new(stream)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = ready!(self.yamux()?.poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(n);
        if let Some(part) = self.place.as_ref().and_then(|place| place.part.as_ref()) {
            part.read(n);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.yamux()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.yamux()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            ready!(self.yamux()?.poll_close(cx))?;
            self.finished = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let (Some(stream), Some(place)) = (self.yamux.take(), self.place.take()) {
            // No driver, no session: then there is nobody to finish it for.
            let _ = self.commands.send(Command::Finish { stream, place });
        }
    }
}
