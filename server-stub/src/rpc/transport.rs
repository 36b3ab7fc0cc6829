//! Adapts a WebSocket of axum to the transport of a session.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket, WebSocketUpgrade};
use futures_util::{Sink, SinkExt, Stream, StreamExt, ready};
use protocol::session::{MAX_SENT_MESSAGE, Message};

/// Every idle session holds both buffers, and the server should hold ten thousand sessions. A boot needs some kilobytes.
const BUFFER: usize = 4 * 1024;
/// Room for one message that a slow peer has not read yet, and for the write buffer.
const MAX_WRITE_BUFFER: usize = BUFFER + 2 * MAX_SENT_MESSAGE;
/// The largest message that a session needs: a full yamux window of 256 KiB with its header.
const MAX_MESSAGE: usize = 512 * 1024;

/// Buffer sizes for one WebSocket among ten thousand.
pub(super) fn sized(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
}

/// A WebSocket as [`protocol::session`] sees it.
pub(super) struct Messages(pub(super) WebSocket);

impl Stream for Messages {
    type Item = io::Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = ready!(self.0.poll_next_unpin(cx));
        Poll::Ready(frame.map(|frame| frame.map(received).map_err(io::Error::other)))
    }
}

impl Sink<Message> for Messages {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready_unpin(cx).map_err(io::Error::other)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> io::Result<()> {
        self.0.start_send_unpin(sent(message)).map_err(io::Error::other)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close_unpin(cx).map_err(io::Error::other)
    }
}

fn received(frame: Frame) -> Message {
    match frame {
        Frame::Binary(bytes) => Message::Binary(bytes),
        Frame::Text(_) => Message::Text,
        Frame::Ping(bytes) => Message::Ping(bytes),
        Frame::Pong(bytes) => Message::Pong(bytes),
        // 1005 is RFC 6455's word for a close frame without a code.
        Frame::Close(frame) => Message::Close(frame.map_or(1005, |frame| frame.code)),
    }
}

fn sent(message: Message) -> Frame {
    match message {
        Message::Binary(bytes) => Frame::Binary(bytes),
        Message::Text => Frame::Text(Utf8Bytes::default()),
        Message::Ping(bytes) => Frame::Ping(bytes),
        Message::Pong(bytes) => Frame::Pong(bytes),
        Message::Close(code) => Frame::Close(Some(CloseFrame { code, reason: Utf8Bytes::default() })),
    }
}
