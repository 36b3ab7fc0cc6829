//! What scripts print, however it is cut: nothing of a value comes out, and all else does.
//!
//! Two values, each with its end `\0`, then a byte for how to cut, then what is printed: `\x01` and `\x02` stand for the values.
#![no_main]

use agent::mask::{Masker, SHORTEST};
use libfuzzer_sys::fuzz_target;
use protocol::secret::Secret;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let (Some(first), Some(second), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return };
    let Some((cut, template)) = rest.split_first() else { return };
    let text: Vec<u8> = template
        .iter()
        .flat_map(|byte| match byte {
            1 => first,
            2 => second,
            other => std::slice::from_ref(other),
        })
        .copied()
        .collect();
    let values = [first, second].map(|value| ("NAME".to_owned(), Secret::new(value.to_vec())));
    let (masker, _) = Masker::new(&values).expect("memory for two values");
    let masked = masker.mask(&text);

    let mut stream = masker.stream();
    let mut streamed: Vec<u8> = text.chunks(usize::from(*cut) + 1).flat_map(|chunk| stream.push(chunk)).collect();
    streamed.extend(stream.finish());
    assert!(streamed == masked, "cut in pieces of {} it comes out otherwise", usize::from(*cut) + 1);

    for line in [first, second].into_iter().flat_map(|value| value.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        // Beside a replacement a value with its characters may seem to stand where none was.
        if line.len() >= SHORTEST && !line.contains(&b'*') {
            assert!(!masked.windows(line.len()).any(|window| window == line), "a value comes out");
        }
    }
});
