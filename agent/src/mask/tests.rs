use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;

fn masker(values: &[&str]) -> Masker {
    let named: Vec<_> = values.iter().map(|value| ("NAME".to_owned(), Secret::from((*value).to_owned()))).collect();
    Masker::new(&named).unwrap().0
}

fn masked(values: &[&str], text: &str) -> String {
    String::from_utf8(masker(values).mask(text.as_bytes())).unwrap()
}

#[test]
fn every_value_is_replaced_wherever_it_is() {
    for (values, text, expected) in [
        (vec!["hunter2"], "hunter2", "********"),
        (vec!["hunter2"], "a hunter2, hunter2!", "a ********, ********!"),
        (vec!["hunter2"], "hunter2hunter2", "****************"),
        (vec!["hunter2"], "hunter hunter", "hunter hunter"),
        (vec!["hunter", "hunter2"], "hunter2 hunter", "******** ********"),
        (vec!["hunter2", "second-value"], "second-value hunter2", "******** ********"),
        (vec!["abcdef", "defghi"], "<abcdefghi>", "<********>"),
        (vec!["abcdefgh", "bcdefg"], "<abcdefgh>", "<********>"),
        (vec!["ababab"], "<abababab>", "<********>"),
        (vec![], "hunter2", "hunter2"),
    ] {
        assert_eq!(masked(&values, text), expected, "{values:?} in {text}");
    }
}

#[test]
fn long_values_with_one_beginning_are_told_apart_at_their_end() {
    let value = format!("{}tail-1", "x".repeat(100));
    let other = format!("{}tail-2", "x".repeat(100));
    assert_eq!(masked(&[&value], &format!("<{value}>{other}")), format!("<********>{other}"));
    assert_eq!(masked(&[&value, &other], &format!("<{value}>{other}")), "<********>********");
    assert_eq!(masked(&[&value], &format!("x{value}")), "x********");
}

/// What sorts between a text and the value it begins with must not hide that value.
#[test]
fn the_longest_value_at_a_place_is_found_among_its_like() {
    let values = ["abcdef", "abcdefg1", "abcdefg1x", "abcdefg5", "abcdeg"];
    for (text, expected) in [
        ("abcdefg3", "********g3"),
        ("abcdefg1w", "********w"),
        ("abcdefg1xy", "********y"),
        ("abcdefz", "********z"),
        ("abcdez", "abcdez"),
    ] {
        assert_eq!(masked(&values, text), expected, "{text}");
    }
}

#[test]
fn a_stream_masks_what_it_learns_on_the_way() {
    let mut stream = masker(&["hunter2"]).stream();
    let mut seen = stream.push(b"second-value hunter2 sec");
    stream.follow(&masker(&["hunter2", "second-value"]));
    seen.extend(stream.push(b"ond-value second-value hunt"));
    stream.follow(&masker(&["second-value"]));
    seen.extend(stream.push(b"er2"));
    seen.extend(stream.finish());
    assert_eq!(String::from_utf8(seen).unwrap(), "second-value ******** second-value ******** hunter2");
}

#[test]
fn lines_of_a_value_are_replaced_one_by_one() {
    let value = "-----BEGIN KEY-----\r\n  first line\nsecond line\n}\n";
    assert_eq!(masked(&[value], "x: second line\ny: first line"), "x: ********\ny: ********");
    // The newline stays, or the next line would be joined to this one.
    assert_eq!(masked(&[value], value), "********\n");
}

#[test]
fn what_is_too_short_stays_and_is_named_once() {
    let named = [
        ("SHORT", "12345"),
        ("LINES", "long enough\n12\n34\n"),
        ("LONG", "123456"),
        ("EMPTY", ""),
        ("NEWLINE", "123456\n\n"),
    ];
    let named = named.map(|(name, value)| (name.to_owned(), Secret::from(value.to_owned())));
    let (masker, too_short) = Masker::new(&named).unwrap();
    assert_eq!(too_short, ["SHORT", "LINES"]);
    assert_eq!(masker.mask(b"12345 12 123456"), b"12345 12 ********");
}

#[test]
fn base64_is_found_at_every_alignment() {
    for value in ["hunter2", "hunter22", "hunter222", "\u{3ff}\u{3ff}?>\u{3ff}hunter", &"long value ".repeat(40)] {
        for before in ["", "a", "ab", "abc", "abcd"] {
            for after in ["", "x", "xy"] {
                let plain = format!("{before}{value}{after}");
                for encoded in [STANDARD.encode(&plain), URL_SAFE.encode(&plain)] {
                    let masked = masked(&[value], &encoded);
                    assert!(masked.contains(REPLACEMENT), "{plain} as {encoded}");
                    // Left are only characters that neighbours share.
                    let left = masked.replace(REPLACEMENT, "");
                    assert!(left.len() <= before.len() * 2 + after.len() * 2 + 6, "{left} of {encoded}");
                }
            }
        }
    }
}

#[test]
fn base64_in_lines_is_found() {
    let value = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(8);
    for width in [64, 76] {
        let encoded = STANDARD.encode(&value);
        let lines: Vec<_> = encoded.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let masked = masked(&[&value], &lines.join("\n"));
        let left = masked.lines().filter(|line| *line != REPLACEMENT).count();
        assert!(left <= 1, "{masked}");
    }
}

#[test]
fn escaped_forms_are_found() {
    let value = "p@ss w/rd\"<é>\\&\n\tend";
    for encoded in [
        "p%40ss%20w%2Frd%22%3C%C3%A9%3E%5C%26%0A%09end",
        "p%40ss%20w%2frd%22%3c%c3%a9%3e%5c%26%0a%09end",
        "p%40ss%20w/rd%22%3C%C3%A9%3E%5C%26%0A%09end",
        "p%40ss+w%2Frd%22%3C%C3%A9%3E%5C%26%0A%09end",
        "p@ss w/rd\\\"<é>\\\\&\\n\\tend",
        "p@ss w/rd\\\"\\u003cé\\u003e\\\\\\u0026\\n\\tend",
        "p@ss w/rd\\\"<\\u00e9>\\\\&\\n\\tend",
    ] {
        assert_eq!(masked(&[value], &format!("<{encoded}>")), "<********>", "{encoded}");
    }
    assert_eq!(serde_json::to_string(value).unwrap(), format!("\"{}\"", "p@ss w/rd\\\"<é>\\\\&\\n\\tend"));
}

#[test]
fn what_shells_quote_is_found() {
    for (value, printed) in [
        ("it's-secret", r"+ echo 'it'\''s-secret'"),
        ("it's-secret", r#"export X='it'"'"'s-secret'"#),
        ("pa$word", r#"declare -x X="pa\$word""#),
        ("one'\ntwo", r"+ echo $'one\'\ntwo'"),
        ("a secret", r"a\ secret"),
    ] {
        let masked = masked(&[value], printed);
        assert!(masked.contains(REPLACEMENT), "{masked}");
        assert!(!["secret", "word", "two"].iter().any(|part| masked.contains(part)), "{masked}");
    }
}

#[test]
fn only_what_may_become_a_value_is_held_back() {
    let mut stream = masker(&["hunter2"]).stream();
    assert_eq!(stream.push(b"say hun"), b"say ");
    assert_eq!(stream.push(b"ger, hunter"), b"hunger, ");
    assert_eq!(stream.push(b"2."), b"********.");
    assert_eq!(stream.push(b"hunter"), b"");
    assert_eq!(stream.finish(), b"hunter");
}

#[test]
fn a_line_is_masked_before_it_is_cut() {
    let masker = masker(&["hunter2"]);
    assert_eq!(masker.mask_line(b"ab hunter2 cd", 6), "ab ***");
    assert_eq!(masker.mask_line(b"ab hunter2 cd", 100), "ab ******** cd");
    assert_eq!(masker.mask_line("aé".as_bytes(), 2), "a");
    assert_eq!(masker.mask_line(b"a\xffb", 100), "a\u{fffd}b");
}

#[test]
fn binary_values_are_masked_too() {
    let values = [("KEY".to_owned(), Secret::new(b"\xff\xfe\0\x01\x02\x03".to_vec()))];
    let (masker, _) = Masker::new(&values).unwrap();
    assert_eq!(masker.mask(b"a\xff\xfe\0\x01\x02\x03b"), b"a********b");
}

#[test]
fn nothing_printable_holds_a_value() {
    let masker = masker(&["hunter2"]);
    let mut stream = masker.stream();
    stream.push(b"hunter");
    assert_eq!(format!("{masker:?} {stream:?}"), "Masker { .. } MaskedStream { .. }");
}

/// Two letters, so that values begin, overlap and nearly match everywhere.
fn word(len: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just('a'), Just('b')], len).prop_map(String::from_iter)
}

#[test]
fn as_much_as_a_server_may_send_is_masked_in_bounded_memory() {
    // No two lines alike, so that nothing can be shared.
    let line = |number: usize, line: usize| format!("{number}-{line}-x\\\"<x\\\"<x\\\"<x\\\"<");
    let value = |number: usize| (0..200).map(|it| line(number, it)).collect::<Vec<_>>().join("\n");
    let values: Vec<_> = (0..50).map(|number| ("NAME".to_owned(), Secret::from(value(number)))).collect();
    let masker = Masker::new(&values).unwrap().0;
    let held: usize = masker.0.iter().map(<[u8]>::len).sum();
    assert!(held < 30 * values.iter().map(|(_, value)| value.len()).sum::<usize>(), "{held}");
    assert_eq!(masker.mask(format!("<{}>", value(7)).as_bytes()), b"<********>");
}

proptest! {
    #[test]
    fn no_chunking_lets_a_value_through(
        values in proptest::collection::vec(word(6..80), 1..4),
        pieces in proptest::collection::vec((word(0..20), any::<proptest::sample::Index>()), 0..6),
        sizes in proptest::collection::vec(1usize..40, 1..200),
    ) {
        let names: Vec<&str> = values.iter().map(String::as_str).collect();
        let text = pieces.iter().flat_map(|(filler, index)| [filler.as_str(), *index.get(&names)]).collect::<String>();
        let masker = masker(&names);
        let mut stream = masker.stream();
        let mut output = Vec::new();
        let mut rest = text.as_bytes();
        for size in sizes.into_iter().cycle() {
            let (chunk, more) = rest.split_at(size.min(rest.len()));
            output.extend(stream.push(chunk));
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        output.extend(stream.finish());
        let output = String::from_utf8(output).unwrap();
        for value in &values {
            prop_assert!(!output.contains(value.as_str()), "{value} in {output}");
        }
        prop_assert_eq!(output.as_bytes(), masker.mask(text.as_bytes()));
    }

    #[test]
    fn text_without_values_comes_out_as_it_went_in(
        value in "[a-z]{6,60}",
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
    ) {
        let text = chunks.concat();
        let masker = masker(&[&value]);
        let one_of_its_forms = masker.0.iter().any(|form| text.windows(form.len()).any(|window| window == form));
        prop_assume!(!one_of_its_forms);
        let mut stream = masker.stream();
        let mut output: Vec<u8> = chunks.iter().flat_map(|chunk| stream.push(chunk)).collect();
        output.extend(stream.finish());
        prop_assert_eq!(output, text);
    }
}
