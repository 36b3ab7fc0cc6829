//! A stream of the model.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Shared, State, WINDOW_SIZE};
use crate::support::frames::{FIN, Frame, WINDOW};

/// A stream of the model. Shutting it down sends FIN.
pub struct GoStream {
    pub id: u32,
    pub(super) shared: Arc<Shared>,
}

impl GoStream {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    pub fn peer_has_finished(&self) -> bool {
        self.state().entry(self.id).remote_fin
    }
}

impl AsyncRead for GoStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let stream = state.entry(self.id);
        // After an RST Go gives nothing away of what it has buffered.
        if stream.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if stream.buffer.is_empty() {
            if stream.remote_fin {
                return Poll::Ready(Ok(()));
            }
            stream.waker.push(cx.waker().clone());
            return Poll::Pending;
        }
        let (front, _) = stream.buffer.as_slices();
        let n = buf.remaining().min(front.len());
        buf.put_slice(&front[..n]);
        stream.buffer.drain(..n);
        stream.consumed += u32::try_from(n).unwrap();
        if stream.consumed >= WINDOW_SIZE / 2 {
            let credit = std::mem::take(&mut stream.consumed);
            stream.receive_window += credit;
            self.shared.send(Frame::new(WINDOW, 0, self.id, credit));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for GoStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let stream = state.entry(self.id);
        if stream.reset || stream.local_fin {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if stream.send_window == 0 {
            stream.waker.push(cx.waker().clone());
            return Poll::Pending;
        }
        let n = buf.len().min(stream.send_window as usize).min(68 * 1024);
        stream.send_window -= u32::try_from(n).unwrap();
        self.shared.send(Frame::data(0, self.id, &buf[..n]));
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let stream = state.entry(self.id);
        if !std::mem::replace(&mut stream.local_fin, true) {
            self.shared.send(Frame::new(WINDOW, FIN, self.id, 0));
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for GoStream {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            let entry = state.entry(self.id);
            entry.handle_dropped = true;
            if !std::mem::replace(&mut entry.local_fin, true) {
                self.shared.send(Frame::new(WINDOW, FIN, self.id, 0));
            }
            state.forget_if_over(self.id);
        }
    }
}
