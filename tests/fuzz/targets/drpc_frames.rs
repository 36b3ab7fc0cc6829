//! The bytes of a stream: whole and byte by byte they are the same packets, and no packet is over the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::drpc::{DecodeError, Decoder, Encoder, Kind, MAX_PACKET, Packet, Status};

fn decode(input: &[u8], cut: usize) -> (Vec<Packet>, Option<DecodeError>) {
    let mut decoder = Decoder::default();
    let mut packets = Vec::new();
    for mut part in input.chunks(cut) {
        loop {
            match decoder.decode(&mut part) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
            assert!(decoder.held() <= MAX_PACKET);
        }
        assert!(part.is_empty(), "the decoder wants more but left some");
    }
    (packets, None)
}

fuzz_target!(|input: &[u8]| {
    let (packets, error) = decode(input, input.len().max(1));
    let (dripped, dripped_error) = decode(input, 1);
    assert!(packets == dripped && error == dripped_error);
    assert!(packets.is_sorted_by_key(|packet| (packet.stream, packet.message)));
    for packet in packets {
        if packet.kind == Kind::Error {
            let status = Status::from_bytes(&packet.data);
            assert_eq!(Status::from_bytes(&status.to_bytes()).code, status.code);
        }
        let mut again = Vec::new();
        Encoder::new(packet.stream).packet(packet.kind, &packet.data, &mut again);
        let (again, error) = decode(&again, usize::MAX);
        assert!(error.is_none() && again.len() == 1 && again[0].data == packet.data && again[0].kind == packet.kind);
    }
});
