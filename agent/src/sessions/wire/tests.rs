use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use protocol::secret::Secret;

use super::frame::VERSION;
use super::*;

fn body(frame: &Buffer) -> &[u8] {
    let length = u32::from_le_bytes(frame[..LENGTH_BYTES].try_into().unwrap());
    assert_eq!(length as usize, frame.len() - LENGTH_BYTES);
    &frame[LENGTH_BYTES..]
}

fn requests() -> Vec<Request> {
    let variables = vec![
        (OsString::from_vec(vec![b'A', 0xff]), Secret::new(b"\n\xfe\"".to_vec())),
        ("EMPTY".into(), Secret::default()),
    ];
    vec![
        Request::Resolve { caller: Caller::Session, wait: Duration::from_millis(1500), variables },
        Request::Resolve { caller: Caller::Exec, wait: Duration::MAX, variables: Vec::new() },
        Request::Status,
        Request::Reload { wait: Duration::from_secs(1) },
        Request::GitKey { fresh: true },
        Request::GitSign { blob: b"key".to_vec(), data: b"\0data".to_vec(), flags: 4 },
    ]
}

fn answers() -> Vec<Answer> {
    let variables = ORIGINS.map(|origin| Variable { name: "N".into(), value: Secret::new(vec![0xff]), origin });
    vec![
        Answer::Launch(Launch {
            variables: variables.into(),
            left_out: vec!["too large".into()],
            degraded: Some(String::new()),
            directory: "/home/ä".into(),
            motd: PathBuf::new(),
        }),
        Answer::Status(b"{}".to_vec()),
        Answer::Reloaded("done".into()),
        Answer::GitKey("ssh-ed25519 x".into()),
        Answer::Signature(b"\0signature".to_vec()),
        Answer::Booting,
        Answer::Failed("why".into()),
    ]
}

#[test]
fn what_was_said_is_what_is_understood() {
    for request in requests() {
        let frame = request.encode();
        assert_eq!(*Request::decode(body(&frame)).unwrap().encode(), *frame, "{request:?}");
    }
    for answer in answers() {
        let frame = answer.encode();
        assert_eq!(*Answer::decode(body(&frame)).unwrap().encode(), *frame, "{answer:?}");
    }
}

#[test]
fn a_frame_that_is_cut_or_goes_on_is_refused() {
    for request in requests() {
        let frame = request.encode();
        let frame = body(&frame);
        for end in 0..frame.len() {
            assert!(Request::decode(&frame[..end]).is_err(), "{request:?} cut at {end}");
        }
        assert_eq!(Request::decode(&[frame, b"x"].concat()).unwrap_err(), Malformed::Frame);
    }
    for answer in answers() {
        let frame = answer.encode();
        for end in 0..body(&frame).len() {
            assert!(Answer::decode(&body(&frame)[..end]).is_err());
        }
    }
}

#[test]
fn a_flag_is_zero_or_one() {
    assert_eq!(Request::decode(&[VERSION, 5, 2]).unwrap_err(), Malformed::Frame);
    assert!([0, 1].iter().all(|flag| Request::decode(&[VERSION, 5, *flag]).is_ok()));
}

#[test]
fn nonsense_is_refused_without_much_memory() {
    assert_eq!(Request::decode(b"GET / HTTP/1.1").unwrap_err(), Malformed::Version);
    assert_eq!(Request::decode(&[VERSION, 99]).unwrap_err(), Malformed::Frame);
    let billions = [&[VERSION, 1][..], &[0; 8], &[0xff; 4]].concat();
    assert_eq!(Request::decode(&billions).unwrap_err(), Malformed::Frame);
    let origin = [&[VERSION, 1][..], &[1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(Answer::decode(&origin).unwrap_err(), Malformed::Frame);
}
