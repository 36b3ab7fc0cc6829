//! dRPC as Go's client and server do it, on any stream, in storj's frames.

use std::io;

use storj_rpc::{Frame, Kind, Packet, PacketAssembler, append_packet, parse_frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::soon;

/// Why a call of the model failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    Remote(u64, String),
    /// Go says `context canceled`.
    Ended,
    Io(io::ErrorKind),
}

#[derive(Default)]
pub struct Packets {
    bytes: Vec<u8>,
    assembler: PacketAssembler,
}

impl Packets {
    /// The next packet; `None` at FIN.
    pub async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Packet>> {
        loop {
            while let Some((frame, length)) = parse_frame(&self.bytes).map_err(io::Error::other)? {
                self.bytes.drain(..length);
                if let Some(packet) = self.push(frame)? {
                    return Ok(Some(packet));
                }
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn push(&mut self, frame: Frame) -> io::Result<Option<Packet>> {
        self.assembler.push(frame).map_err(io::Error::other)
    }
}

pub fn packet(message: u64, kind: Kind, data: &[u8]) -> Packet {
    Packet { stream_id: 1, message_id: message, kind, control: false, data: data.to_vec() }
}

pub fn bytes_of(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        append_packet(&mut bytes, packet, 64 * 1024);
    }
    bytes
}

pub fn request(path: &str, body: &[u8]) -> Vec<u8> {
    bytes_of(&[
        packet(1, Kind::INVOKE, path.as_bytes()),
        packet(2, Kind::MESSAGE, body),
        packet(3, Kind::CLOSE_SEND, &[]),
    ])
}

/// One unary call on a fresh stream, ended as Go ends it: Close, FIN, and then the peer's FIN awaited.
pub async fn call(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    body: &[u8],
) -> Result<Vec<u8>, Failure> {
    let mut packets = Packets::default();
    let request = request(path, body);
    stream.write_all(&request).await.map_err(|error| Failure::Io(error.kind()))?;
    let answer = match packets.next(&mut stream).await {
        Ok(Some(packet)) if packet.kind == Kind::MESSAGE => {
            let close = bytes_of(&[self::packet(4, Kind::CLOSE, &[])]);
            stream.write_all(&close).await.map_err(|error| Failure::Io(error.kind()))?;
            Ok(packet.data)
        }
        Ok(Some(packet)) if packet.kind == Kind::ERROR => {
            let (code, text) = packet.data.split_first_chunk::<8>().unwrap();
            Err(Failure::Remote(u64::from_be_bytes(*code), String::from_utf8(text.to_vec()).unwrap()))
        }
        Ok(_) => Err(Failure::Ended),
        Err(error) => Err(Failure::Io(error.kind())),
    };
    stream.shutdown().await.map_err(|error| Failure::Io(error.kind()))?;
    // Without the peer's FIN Go waits five minutes.
    let mut rest = Vec::new();
    match soon(stream.read_to_end(&mut rest)).await {
        Ok(_) => answer,
        Err(error) => Err(Failure::Io(error.kind())),
    }
}

/// Answers one call as a Go server does: echoes, or fails with what the path asks for.
pub async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut packets = Packets::default();
    let mut path = String::new();
    let mut body = Vec::new();
    while let Some(packet) = packets.next(&mut stream).await? {
        match packet.kind {
            Kind::INVOKE => path = String::from_utf8(packet.data).unwrap(),
            Kind::MESSAGE => body = packet.data,
            Kind::CLOSE_SEND => {
                let reply = match path.as_str() {
                    "/t/Echo" => vec![packet_of_reply(&body), self::packet(2, Kind::CLOSE_SEND, &[])],
                    "/t/Silent" => vec![],
                    "/t/Huge" => {
                        let half = vec![0; 4 << 20];
                        let mut bytes = bytes_of(&[packet_of_reply(&half)]);
                        // One byte more: the last frame is not the last.
                        let at = bytes.len() - (64 * 1024 + 6);
                        assert_eq!(bytes[at], 0x05, "the header of the last frame");
                        bytes[at] = 0x04;
                        bytes.extend([0x05, 1, 1, 1, 0]);
                        // The client may leave before it has all of it.
                        let _ = stream.write_all(&bytes).await;
                        vec![]
                    }
                    _ => vec![self::packet(1, Kind::ERROR, &storj_rpc::marshal_error(12, "Unimplemented"))],
                };
                for packet in reply {
                    stream.write_all(&bytes_of(&[packet])).await?;
                }
            }
            _ => {}
        }
    }
    stream.shutdown().await
}

fn packet_of_reply(body: &[u8]) -> Packet {
    packet(1, Kind::MESSAGE, body)
}
