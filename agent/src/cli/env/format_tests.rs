use proptest::prelude::*;
use protocol::secret::Secret;

use crate::environment::Origin;

use super::*;

fn variable(name: &str, value: &[u8]) -> Variable {
    Variable { name: name.into(), value: Secret::new(value.to_vec()), origin: Origin::Secret }
}

fn written(format: Format, value: &[u8]) -> String {
    let (text, left_out) = format.write(&[variable("A", value)]).unwrap();
    assert_eq!(left_out, []);
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn each_format_quotes_what_it_must() {
    let value = b"a'b\"c\\d$e`f#g\nh";
    for (format, expected) in [
        (Format::Sh, "export A='a'\\''b\"c\\d$e`f#g\nh'\n"),
        (Format::Fish, "set -gx A 'a\\'b\"c\\\\d$e`f#g\nh'\n"),
        (Format::Tcsh, "setenv A 'a'\\''b\"c'$coder_backslash:q'd$e`f#g'$coder_newline:q'h';\n"),
        (Format::Dotenv, "A='a\\'b\"c\\d$e`f#g\nh'\n"),
        (Format::Json, "{\n  \"A\": \"a'b\\\"c\\\\d$e`f#g\\nh\"\n}\n"),
        (Format::Systemd, "A=\"a'b\\\"c\\\\d\\$e\\`f#g\nh\"\n"),
        (Format::Nul, "A=a'b\"c\\d$e`f#g\nh\0"),
    ] {
        assert_eq!(written(format, value), expected, "{format:?}");
    }
    assert_eq!(written(Format::Dotenv, br"a\\b\'c"), r"A='a\\\b\\\'c'".to_owned() + "\n");
    assert_eq!(written(Format::Dotenv, br"C:\a b\"), "A=C:\\a b\\\n");
    for value in [b"a\nb\\".as_slice(), b" a\\", b"it's\\", b"a #b\\"] {
        assert!(Format::Dotenv.write(&[variable("A", value)]).is_err(), "{value:?}");
    }
}

#[test]
fn what_a_format_cannot_hold_is_an_error_with_the_name() {
    for (format, name) in [(Format::Dotenv, "dotenv"), (Format::Json, "json"), (Format::Systemd, "systemd")] {
        let error = format.write(&[variable("RAW", b"\xff")]).unwrap_err();
        assert_eq!(error, FormatError::new(&variable("RAW", b""), "is not valid UTF-8", name));
    }
    for format in [Format::Sh, Format::Fish, Format::Nul] {
        let (text, _) = format.write(&[variable("RAW", b"\xff")]).unwrap();
        assert!(text.contains(&0xff), "{format:?}");
    }
}

#[test]
fn names_that_are_no_identifiers_are_left_out_and_named() {
    let variables = [variable("BASH_FUNC_f%%", b"() { :; }"), variable("1A", b""), variable("_a1", b"x")];
    let (text, left_out) = Format::Sh.write(&variables).unwrap();
    assert_eq!((text.as_slice(), left_out.len()), (b"export _a1='x'\n".as_slice(), 2));
    assert!(Format::Nul.write(&variables).unwrap().1.is_empty());
}

#[test]
fn names_that_a_reader_keeps_are_left_out_with_the_reader() {
    let told = |format: Format, name: &str| {
        let (text, left_out) = format.write(&[variable(name, b"x"), variable("AFTER", b"y")]).unwrap();
        assert!(String::from_utf8_lossy(&text).contains("AFTER"), "{format:?}");
        left_out.first().map(ToString::to_string).unwrap_or_default()
    };
    for (format, name, expected) in [
        (Format::Sh, "UID", "bash, zsh keep this name for internal use; --format dash has it"),
        (Format::Sh, "USERNAME", "zsh keeps this name for internal use; --format bash has it"),
        (Format::Sh, "BASHPID", "bash, mksh keep this name for internal use; --format dash has it"),
        (Format::Sh, "OPTIND", "bash, dash, mksh, zsh keep this name for internal use"),
        (Format::Zsh, "USERNAME", "zsh keeps this name for internal use"),
        (Format::Fish, "status", "fish keeps this name for internal use"),
        (Format::Tcsh, "HOST", "tcsh keeps this name for internal use"),
        (Format::Systemd, "LISTEN_FDS", "systemd keeps this name for internal use"),
    ] {
        assert_eq!(told(format, name), format!("variable {name} is left out: {expected}"), "{format:?}");
    }
    for (format, name) in
        [(Format::Bash, "USERNAME"), (Format::Json, "UID"), (Format::Dotenv, "UID"), (Format::Sh, "Uid")]
    {
        assert_eq!(told(format, name), "", "{format:?}");
    }
}

#[test]
fn only_what_somebody_set_is_missed() {
    let inherited = Variable { origin: Origin::Inherited, ..variable("SHLVL", b"1") };
    let (_, left_out) = Format::Sh.write(&[inherited, variable("SHLVL", b"1")]).unwrap();
    assert_eq!(left_out.iter().map(LeftOut::is_missed).collect::<Vec<_>>(), [false, true]);
}

/// What python-dotenv does between quotes: an unescaped one ends it, and each kind has its own escapes.
fn read_dotenv(line: &[u8]) -> Vec<u8> {
    assert!(!line.contains(&b'\r'));
    let quote = line[2];
    let quoted = line[3..].strip_suffix(&[quote, b'\n']).unwrap();
    let mut value = Vec::new();
    let mut bytes = quoted.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        assert_ne!(byte, quote, "a quote that ends it");
        let special: &[u8] = if quote == b'"' { b"\"'\\abfnrtv" } else { b"'\\" };
        let escaped = bytes.next_if(|next| byte == b'\\' && special.contains(next));
        value.push(escaped.map_or(byte, |escaped| if escaped == b'r' { b'\r' } else { escaped }));
    }
    value
}

proptest! {
    #[test]
    fn any_text_survives(value in "[^\0]{0,40}|[\\\\'\"$`\n\r#ra]{0,20}") {
        let json: BTreeMap<String, String> = serde_json::from_str(&written(Format::Json, value.as_bytes())).unwrap();
        prop_assert_eq!(&json["A"], &value);
        prop_assume!(!value.ends_with('\\'));
        prop_assert_eq!(read_dotenv(written(Format::Dotenv, value.as_bytes()).as_bytes()), value.as_bytes());
    }
}

#[test]
fn the_text_for_tcsh_is_ascii() {
    let variables = [variable("A", "a\u{e4}b\u{e4}".as_bytes()), variable("B", b"\xff\xfe")];
    let (text, _) = Format::Tcsh.write(&variables).unwrap();
    let expected = [
        r"set coder_bytes1 = (`setenv LC_ALL C; set echo_style = sysv; echo '\303\244 \377 \376'`);",
        "setenv A 'a'$coder_bytes1[1]:q'b'$coder_bytes1[1]:q'';",
        "setenv B ''$coder_bytes1[2]:q''$coder_bytes1[3]:q'';",
        "unset coder_bytes1;\n",
    ];
    assert_eq!(String::from_utf8(text.to_vec()).unwrap(), expected.join("\n"));
    // No command prints as much as tcsh reads at a time.
    let many: String = (0x4e00..0x5400).filter_map(char::from_u32).flat_map(|character| [character, ' ']).collect();
    let (text, _) = Format::Tcsh.write(&[variable("A", many.as_bytes())]).unwrap();
    assert_eq!(String::from_utf8(text.to_vec()).unwrap().matches("\nunset").count(), 3);
}
