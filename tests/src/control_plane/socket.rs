//! A WebSocket of tokio-tungstenite as the byte stream of tokio-yamux.

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// What is sent beside the byte stream.
pub type Sender = mpsc::UnboundedSender<Message>;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a close frame of this code; 1005 is RFC 6455's word for none.
    Close(u16),
    /// Without one.
    Lost,
}

/// Filled when the connection has ended.
pub type Ending = Arc<Mutex<Option<End>>>;

/// Pumps between `socket` and the stream returned, in a task of its own. The session that owns the stream ends it.
pub fn bytes_of<S>(mut socket: WebSocketStream<S>) -> (DuplexStream, Sender, Ending)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (ours, mut theirs) = tokio::io::duplex(256 * 1024);
    let (sender, mut beside) = mpsc::unbounded_channel();
    let ending = Ending::default();
    let end = ending.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        let how = loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        if theirs.write_all(&bytes).await.is_err() {
                            break End::Lost;
                        }
                    }
                    Some(Ok(Message::Close(frame))) => break End::Close(frame.map_or(1005, |frame| frame.code.into())),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break End::Lost,
                },
                Some(message) = beside.recv() => drop(socket.send(message).await),
                read = theirs.read(&mut buffer) => {
                    let Ok(read @ 1..) = read else { break End::Lost };
                    if socket.send(Message::binary(buffer[..read].to_vec())).await.is_err() {
                        break End::Lost;
                    }
                }
            }
        };
        *end.lock().unwrap() = Some(how);
        // Answers the close frame, where one came.
        let _ = socket.close(None).await;
    });
    (ours, sender, ending)
}
