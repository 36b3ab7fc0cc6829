//! A WebSocket of tungstenite's as a [`protocol::session`] wants it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use protocol::session::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message as Native};

/// What a close without a code means.
const NO_CODE: u16 = 1005;

/// Small buffers: an idle agent holds them for ever, and yamux frames are seldom longer.
#[must_use]
pub fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(8 * 1024)
        // Four of the largest messages a session sends.
        .max_write_buffer_size(256 * 1024)
        // A yamux window of 256 KiB in one message must pass.
        .max_message_size(Some(512 * 1024))
        .max_frame_size(Some(512 * 1024))
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct WebSocket<S>(pub WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = io::Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.0.poll_next_unpin(cx)) {
            None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => None,
            Some(Ok(message)) => Some(Ok(from_native(message))),
            Some(Err(error)) => Some(Err(into_io(error))),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready_unpin(cx).map_err(into_io)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> io::Result<()> {
        self.0.start_send_unpin(into_native(message)).map_err(into_io)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush_unpin(cx).map_err(into_io)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close_unpin(cx).map_err(into_io)
    }
}

fn from_native(message: Native) -> Message {
    match message {
        Native::Binary(bytes) => Message::Binary(bytes),
        // A raw frame never comes from reading.
        Native::Text(_) | Native::Frame(_) => Message::Text,
        Native::Ping(bytes) => Message::Ping(bytes),
        Native::Pong(bytes) => Message::Pong(bytes),
        Native::Close(frame) => Message::Close(frame.map_or(NO_CODE, |frame| frame.code.into())),
    }
}

fn into_native(message: Message) -> Native {
    match message {
        Message::Binary(bytes) => Native::Binary(bytes),
        Message::Text => Native::Text("".into()),
        Message::Ping(bytes) => Native::Ping(bytes),
        Message::Pong(bytes) => Native::Pong(bytes),
        Message::Close(NO_CODE) => Native::Close(None),
        Message::Close(code) => Native::Close(Some(CloseFrame { code: code.into(), reason: "".into() })),
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
