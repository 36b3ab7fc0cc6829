//! The codec alone, and against storj's own.

use proptest::prelude::*;
use protocol::drpc::{DecodeError, Decoder, Encoder, Kind, MAX_FRAME_DATA, MAX_PACKET, Status};

use crate::support::frames::{Plain, packets_of};

const KINDS: [Kind; 7] =
    [Kind::Invoke, Kind::Message, Kind::Error, Kind::Cancel, Kind::Close, Kind::CloseSend, Kind::InvokeMetadata];

fn decode_all(mut bytes: &[u8]) -> Result<Vec<Plain>, DecodeError> {
    let mut decoder = Decoder::default();
    let mut packets = Vec::new();
    while let Some(packet) = decoder.decode(&mut bytes)? {
        packets.push((packet.stream, packet.message, packet.kind, packet.data));
    }
    Ok(packets)
}

fn encoded(packets: &[(Kind, Vec<u8>)]) -> Vec<u8> {
    let mut encoder = Encoder::new(1);
    let mut bytes = Vec::new();
    for (kind, data) in packets {
        encoder.packet(*kind, data, &mut bytes);
    }
    bytes
}

fn some_packets() -> impl Strategy<Value = Vec<(Kind, Vec<u8>)>> {
    let data = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (MAX_FRAME_DATA - 2..MAX_FRAME_DATA + 3).prop_map(|n| vec![7; n]),
    ];
    proptest::collection::vec((proptest::sample::select(&KINDS[..]), data), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_cut_of_the_bytes_decodes_the_same(packets in some_packets(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let bytes = encoded(&packets);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut decoder = Decoder::default();
        let mut decoded = Vec::new();
        for pair in cuts.windows(2) {
            let mut part = &bytes[pair[0]..pair[1]];
            while let Some(packet) = decoder.decode(&mut part).unwrap() {
                decoded.push((packet.kind, packet.data));
            }
            prop_assert!(part.is_empty());
        }
        prop_assert!(decoded == packets);
    }

    #[test]
    fn storj_reads_what_we_write_and_writes_it_the_same(packets in some_packets()) {
        let ours = encoded(&packets);
        let mut theirs = Vec::new();
        for (index, (kind, data)) in packets.iter().enumerate() {
            let packet = storj_rpc::Packet {
                stream_id: 1,
                message_id: index as u64 + 1,
                kind: storj_rpc::Kind(*kind as u8),
                control: false,
                data: data.clone(),
            };
            storj_rpc::append_packet(&mut theirs, &packet, MAX_FRAME_DATA);
        }
        prop_assert!(ours == theirs);
    }

    #[test]
    fn garbage_is_refused_or_awaited_but_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_all(&bytes);
    }
}

#[test]
fn a_control_packet_of_an_unknown_kind_is_ignored_and_a_plain_one_is_not() {
    assert_eq!(decode_all(&hex::decode("9301010105050102000d010300").unwrap()).unwrap().len(), 2);
    assert_eq!(decode_all(&hex::decode("130101017a").unwrap()), Err(DecodeError::UnknownKind(9)));
    assert_eq!(decode_all(&hex::decode("00010100").unwrap()), Ok(vec![]), "not done yet");
    assert_eq!(decode_all(&hex::decode("01010100").unwrap()), Err(DecodeError::UnknownKind(0)));
}

#[test]
fn ids_never_go_back() {
    for bad in [
        "0501020005010100", // message
        "0502010005010200", // stream
        "0501010005010100", // the same again after its end
        "0401020161050101016f",
    ] {
        assert_eq!(decode_all(&hex::decode(bad).unwrap()), Err(DecodeError::IdOrder), "{bad}");
    }
    // A higher id gives up the packet that was not done.
    let packets = decode_all(&hex::decode("0401010161050102016f").unwrap()).unwrap();
    assert_eq!(packets, [(1, 2, Kind::Message, b"o".to_vec())]);
    assert_eq!(decode_all(&hex::decode("0401010161070101016f").unwrap()), Err(DecodeError::KindChange));
}

#[test]
fn varints_have_ten_bytes_and_64_bits_at_most() {
    let with_stream = |varint: &str| decode_all(&hex::decode(format!("05{varint}0100")).unwrap());
    assert_eq!(with_stream("ffffffffffffffffff01").unwrap()[0].0, u64::MAX);
    assert_eq!(with_stream("81808080808080808000").unwrap()[0].0, 1);
    assert_eq!(with_stream("ffffffffffffffffff02"), Err(DecodeError::Varint));
    assert_eq!(with_stream("ffffffffffffffffffff01"), Err(DecodeError::Varint));
}

#[test]
fn a_packet_has_4_mib_at_most_however_it_is_framed() {
    let mut full = encoded(&[(Kind::Message, vec![1; MAX_PACKET])]);
    assert_eq!(packets_of(&full)[0].3.len(), MAX_PACKET);
    full.clear();
    for n in [MAX_PACKET, 1] {
        full.extend(hex::decode("040101").unwrap());
        let mut length = n;
        while length > 0x7f {
            full.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        full.push(length.to_le_bytes()[0]);
        full.extend(vec![1; n]);
    }
    assert_eq!(decode_all(&full), Err(DecodeError::TooLarge));
    assert_eq!(decode_all(&hex::decode("0501018180800200").unwrap()), Err(DecodeError::TooLarge));
    assert_eq!(decode_all(&hex::decode("050101ffffffffffffffffff01").unwrap()), Err(DecodeError::TooLarge));
}

#[test]
fn an_error_text_is_cut_at_a_character() {
    let status = Status::new("ä".repeat(5000));
    let back = Status::from_bytes(&status.to_bytes());
    assert_eq!(back.message.len(), 4096);
    assert!(status.message.starts_with(&back.message));
    assert_eq!(Status::from_bytes(b"short"), Status::new("short"));
}
