//! Messages of the ssh-agent protocol (RFC draft-ietf-sshm-ssh-agent), as far as we answer them ourselves.

use ssh_encoding::{Decode, Encode, Error, Reader};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// OpenSSH's own limit for a message.
const MAX_MESSAGE: usize = 256 * 1024;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The public keys.
    List,
    /// A signature.
    Sign {
        /// Which key.
        blob: Vec<u8>,
        /// What to sign.
        data: Vec<u8>,
        /// How, for RSA.
        flags: u32,
    },
    /// The connection is now at the service of a host that ssh has logged in to (`ForwardAgent`).
    Forwarded,
    /// Anything else, malformed messages too.
    Other,
}

impl Request {
    /// Reads a message without its length.
    pub(super) fn parse(message: &[u8]) -> Self {
        let Some((kind, mut body)) = message.split_first() else { return Self::Other };
        match *kind {
            REQUEST_IDENTITIES => Self::List,
            SIGN_REQUEST => sign_request(&mut body).unwrap_or(Self::Other),
            EXTENSION if is_forwarding(&mut body).unwrap_or(false) => Self::Forwarded,
            _ => Self::Other,
        }
    }
}

fn sign_request(body: &mut &[u8]) -> Result<Request, Error> {
    Ok(Request::Sign { blob: Vec::decode(body)?, data: Vec::decode(body)?, flags: u32::decode(body)? })
}

/// OpenSSH since 8.9 says first, on each connection, for which session it is and whether that is a forwarded one.
fn is_forwarding(body: &mut &[u8]) -> Result<bool, Error> {
    let name = String::decode(body)?;
    for _host_key_session_and_signature in 0..3 {
        body.drain_prefixed()?;
    }
    Ok(name == "session-bind@openssh.com" && u8::decode(body)? != 0)
}

/// The next message; none at the end of the connection.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// Sends a message.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| std::io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// The request for the public keys.
pub(super) fn list() -> Vec<u8> {
    vec![REQUEST_IDENTITIES]
}

/// No.
pub(super) fn failure() -> Vec<u8> {
    vec![FAILURE]
}

/// The answer to a list: what another agent answered, with `ours` at the end. A malformed answer counts for an empty one.
pub(super) fn identities(theirs: Option<&[u8]>, ours: Option<(&[u8], &str)>) -> Vec<u8> {
    let theirs = theirs.and_then(|answer| keys_of(answer).ok()).unwrap_or_default();
    let ours = ours.filter(|(blob, _)| !theirs.iter().any(|(their, _)| their == blob));
    let mut answer = vec![IDENTITIES_ANSWER];
    let count = theirs.len() + usize::from(ours.is_some());
    let keys = theirs.iter().map(|(blob, comment)| (blob.as_slice(), comment.as_slice()));
    let keys = keys.chain(ours.map(|(blob, comment)| (blob, comment.as_bytes())));
    let written = count.encode(&mut answer).and_then(|()| {
        keys.into_iter()
            .try_for_each(|(blob, comment)| blob.encode(&mut answer).and_then(|()| comment.encode(&mut answer)))
    });
    // Only lengths beyond four bytes can fail.
    if written.is_ok() { answer } else { failure() }
}

type Key = (Vec<u8>, Vec<u8>);

fn keys_of(answer: &[u8]) -> Result<Vec<Key>, Error> {
    let mut body = answer.strip_prefix(&[IDENTITIES_ANSWER]).ok_or(Error::Length)?;
    let count = u32::decode(&mut body)?;
    (0..count).map(|_| Ok((Vec::decode(&mut body)?, Vec::decode(&mut body)?))).collect()
}

/// The answer with a signature.
pub(super) fn signature(blob: &[u8]) -> Vec<u8> {
    let mut answer = vec![SIGN_RESPONSE];
    if blob.encode(&mut answer).is_ok() { answer } else { failure() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strings(parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            part.encode(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn requests() {
        assert_eq!(Request::parse(&[11]), Request::List);
        let sign = [&[13][..], &strings(&[b"key", b"data"]), &[0, 0, 0, 4]].concat();
        assert_eq!(Request::parse(&sign), Request::Sign { blob: b"key".into(), data: b"data".into(), flags: 4 });
        assert_eq!(Request::parse(&sign[..sign.len() - 1]), Request::Other);
        let bind = [&[27][..], &strings(&[b"session-bind@openssh.com", b"host", b"id", b"sig"])].concat();
        assert_eq!(Request::parse(&[&bind[..], &[1]].concat()), Request::Forwarded);
        assert_eq!(Request::parse(&[&bind[..], &[0]].concat()), Request::Other);
        for other in [&[][..], &[17], &[19], &[22], &[27], &[255]] {
            assert_eq!(Request::parse(other), Request::Other);
        }
    }

    #[test]
    fn ours_comes_last_and_once() {
        let theirs = identities(None, Some((b"a", "alice's")));
        let both = identities(Some(&theirs), Some((b"b", "Coder")));
        assert_eq!(keys_of(&both).unwrap(), [(b"a".into(), b"alice's".into()), (b"b".into(), b"Coder".into())]);
        assert_eq!(identities(Some(&both), Some((b"a", "Coder"))), both);
        assert_eq!(identities(Some(&theirs), None), theirs);
        assert_eq!(keys_of(&identities(None, None)).unwrap(), []);
        for broken in [&[][..], &[5], &[12, 255, 255, 255, 255], &theirs[..theirs.len() - 1]] {
            assert_eq!(identities(Some(broken), None), identities(None, None));
        }
    }

    #[tokio::test]
    async fn messages_are_framed_and_bounded() {
        let (mut here, mut there) = tokio::io::duplex(64);
        write(&mut here, b"abc").await.unwrap();
        assert_eq!(read(&mut there).await.unwrap().unwrap(), b"abc");
        here.write_all(&[0, 4, 0, 1]).await.unwrap();
        assert!(read(&mut there).await.is_err());
        drop(here);
        assert_eq!(read(&mut there).await.unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(message: Vec<u8>) {
            Request::parse(&message);
            identities(Some(&message), None);
        }
    }
}
