use proptest::prelude::*;

use super::*;

fn body(frame: &Buffer) -> &[u8] {
    let length = u32::from_le_bytes(frame[..LENGTH_BYTES].try_into().unwrap());
    assert_eq!(length as usize, frame.len() - LENGTH_BYTES);
    &frame[LENGTH_BYTES..]
}

fn variables(pairs: &[(&[u8], &[u8])]) -> Variables {
    pairs.iter().map(|(name, value)| (OsStr::from_bytes(name).to_owned(), Secret::new(value.to_vec()))).collect()
}

fn requests() -> Vec<Request> {
    let nasty = variables(&[(b"A\xff", b"\n\xfe\"="), (b"EMPTY", b""), (b"=C:", b"x")]);
    vec![
        Request::Resolve(Resolve::new(Caller::Session, Duration::from_millis(1500), &nasty)),
        Request::Resolve(Resolve::new(Caller::Exec, Duration::MAX, &Vec::new())),
        Request::Status(()),
        Request::Reload(1000),
        Request::GitKey(true),
        Request::GitSign(GitSign { blob: b"key".to_vec(), data: b"\0data".to_vec(), flags: 4 }),
    ]
}

fn launch() -> Launch {
    let variables =
        ORIGINS.map(|origin| environment::Variable { name: "N".into(), value: Secret::new(vec![0xff]), origin });
    Launch {
        variables: variables.into(),
        left_out: vec!["too large".into()],
        gone: vec!["GONE".into()],
        degraded: Some(String::new()),
        directory: "/home/ä".into(),
        motd: PathBuf::new(),
    }
}

fn answers() -> Vec<Answer> {
    vec![
        Answer::Launch(launch().into()),
        Answer::Status(b"{}".to_vec()),
        Answer::Reloaded("done".into()),
        Answer::GitKey("ssh-ed25519 x".into()),
        Answer::Signature(b"\0signature".to_vec()),
        Answer::Booting(()),
        Answer::Failed("why".into()),
    ]
}

#[test]
fn what_was_said_is_what_is_understood() {
    for request in requests() {
        let frame = request.into_frame();
        assert_eq!(*Request::from_frame(body(&frame)).unwrap().into_frame(), *frame);
    }
    for answer in answers() {
        let frame = answer.into_frame();
        assert_eq!(*Answer::from_frame(body(&frame)).unwrap().into_frame(), *frame);
    }
    let received = Launch::try_from(LaunchMessage::from(launch())).unwrap();
    assert_eq!(format!("{received:?}"), format!("{:?}", launch()));
}

#[test]
fn the_callers_variables_arrive_byte_for_byte() {
    let pairs: [(&[u8], &[u8]); 3] = [(b"A\xff", b"\n\xfe\"="), (b"EMPTY", b""), (b"=C:", b"x")];
    let sent = Resolve::new(Caller::Exec, Duration::ZERO, &variables(&pairs));
    assert_eq!(sent.variables().unwrap(), variables(&pairs));
    assert!(Resolve::new(Caller::Exec, Duration::ZERO, &Vec::new()).variables().unwrap().is_empty());
    for bad in [&b"A=1"[..], b"\0", b"A\0", b"A=1\0\0"] {
        let sent = Resolve { caller: 0, wait_ms: 0, environ: bad.to_vec() };
        assert_eq!(sent.variables().unwrap_err(), Malformed::Message, "{bad:?}");
    }
}

#[test]
fn a_message_that_is_cut_or_goes_on_is_refused() {
    for frame in requests().into_iter().map(Request::into_frame) {
        let frame = body(&frame);
        for end in 0..frame.len() {
            assert!(Request::from_frame(&frame[..end]).is_err(), "{frame:?} cut at {end}");
        }
        assert!(matches!(Request::from_frame(&[frame, b"x"].concat()), Err(Malformed::Message)));
    }
    for frame in answers().into_iter().map(Answer::into_frame) {
        for end in 0..body(&frame).len() {
            assert!(Answer::from_frame(&body(&frame)[..end]).is_err());
        }
    }
}

#[test]
fn nonsense_is_refused_without_much_memory() {
    assert_eq!(Request::from_frame(b"GET / HTTP/1.1").err(), Some(Malformed::Version));
    assert_eq!(Request::from_frame(&[1, 3]).err(), Some(Malformed::Version), "the format before this one");
    assert_eq!(Request::from_frame(&[VERSION, 99]).err(), Some(Malformed::Message));
    let empty = Resolve { caller: 0, wait_ms: 0, environ: b"A=\0".repeat(MAX_FRAME / 3) };
    assert_eq!(empty.variables().err(), Some(Malformed::Message));
    let origin = VariableMessage { name: Vec::new(), value: Vec::new(), origin: 99 };
    let unknown = LaunchMessage { variables: vec![origin], ..LaunchMessage::default() };
    assert!(matches!(Launch::try_from(unknown), Err(Malformed::Message)));
}

proptest! {
    #[test]
    fn no_message_is_too_strange(message: Vec<u8>) {
        let framed = [&[VERSION], &message[..]].concat();
        if let Ok(Request::Resolve(resolve)) = Request::from_frame(&framed) {
            let _ = resolve.variables();
        }
        if let Ok(Answer::Launch(launch)) = Answer::from_frame(&framed) {
            let _ = Launch::try_from(launch);
        }
    }
}
