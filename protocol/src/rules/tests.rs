use proptest::prelude::*;

use super::*;

fn secret(bytes: impl Into<Vec<u8>>) -> Secret {
    Secret::new(bytes.into())
}

fn refused(check: fn(&str) -> Result<(), String>, input: &str) -> String {
    check(input).err().unwrap_or_else(|| panic!("{input:?} was accepted"))
}

#[test]
fn names() {
    for good in ["api-key", "api_key", "api.key", "two words", "ключ", "...", "A=b"] {
        assert_eq!(name(good), Ok(()), "{good:?}");
    }
    for blank in ["", " ", "\t\n", "\u{a0}"] {
        assert_eq!(refused(name, blank), "Name is required.");
    }
    for spaced in [" a", "a ", "\ta", "a\n"] {
        assert_eq!(refused(name, spaced), "Name must not have leading or trailing whitespace.");
    }
    for dots in [".", ".."] {
        assert_eq!(refused(name, dots), "Name must not be . or ..");
    }
    for unfit in ["a/b", "/", "a?", "a#b"] {
        assert_eq!(refused(name, unfit), "Name must not contain /, ?, or #.");
    }
    assert_eq!(refused(name, "a\0b"), "Name must not contain null bytes.");
    assert_eq!(refused(description, "\0"), "Description must not contain null bytes.");
}

#[test]
fn values() {
    for good in [b"hunter2".to_vec(), Vec::new(), b"a\nb\r\n".to_vec(), b"\ta\t".to_vec(), vec![b'x'; MAX_VALUE_BYTES]]
    {
        assert_eq!(value(&secret(good)), Ok(()));
    }
    assert_eq!(value(&secret(*b"a\0b")), Err("secret value must not contain null bytes".into()));
    let over = secret(vec![b'x'; MAX_VALUE_BYTES + 1]);
    assert_eq!(value(&over), Err("secret value must not exceed 24576 bytes".into()));
    assert_eq!(required_value(&secret("")), Err("Value is required.".into()));
    assert_eq!(required_value(&over), value(&over));
}

#[test]
fn env_names() {
    let longest = "A".repeat(MAX_ENV_NAME_BYTES);
    for good in ["", "API_KEY", "api_key", "Api", "_X", "_", "A1B2", "GIT", "LD", "CODERX", "PATHS", "PS1", &longest] {
        assert_eq!(env_name(good), Ok(()), "{good:?}");
    }
    assert_eq!(refused(env_name, &"A".repeat(257)), "environment variable name must not exceed 256 bytes");
    for unfit in ["1A", "A-B", "A.B", "A B", " A", "A\n", "É", "A=", "A\0"] {
        let expected = "must start with a letter or underscore, followed by letters, digits, or underscores";
        assert_eq!(refused(env_name, unfit), expected, "{unfit:?}");
    }
}

#[test]
fn reserved_env_names() {
    for reserved in RESERVED_ENV_NAMES {
        let mixed = format!("{}{}", &reserved[..1], reserved[1..].to_lowercase());
        for spelled in [reserved.to_owned(), reserved.to_lowercase(), mixed] {
            assert_eq!(refused(env_name, &spelled), format!("{spelled} is a reserved environment variable name"));
        }
    }
    for ours in ["CODER", "coder", "CODER_", "CODER_X", "coder_foo"] {
        let expected = "environment variable names starting with CODER_ are reserved for internal use";
        assert_eq!(refused(env_name, ours), expected);
    }
    for prefix in RESERVED_ENV_PREFIXES {
        for spelled in [prefix.to_owned(), format!("{prefix}X"), format!("{prefix}x").to_lowercase()] {
            let expected = format!("environment variables starting with {prefix} are reserved");
            assert_eq!(refused(env_name, &spelled), expected);
        }
    }
}

#[test]
fn file_paths() {
    let longest = format!("/{}", "a".repeat(MAX_FILE_PATH_BYTES - 1));
    for good in ["", "~/a", "~/.ssh/id_ed25519", "/etc/x", "/", "~/", "/a/../b", &longest] {
        assert_eq!(file_path(good), Ok(()), "{good:?}");
    }
    for relative in ["a/b", "./a", "../a", "a", "~", "~a", "~user/a", " /a", "$HOME/a"] {
        assert_eq!(refused(file_path, relative), "file path must start with ~/ or /", "{relative:?}");
    }
    assert_eq!(refused(file_path, "/a\0b"), "file path must not contain null bytes");
    assert_eq!(refused(file_path, &format!("{longest}a")), "file path must not exceed 4096 bytes");
}

fn fields(problems: &[FieldProblem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.field.as_str()).collect()
}

#[test]
fn a_create_request_has_all_its_faults_told_in_order() {
    let good = CreateUserSecretRequest { name: "a".into(), value: secret("v"), ..CreateUserSecretRequest::default() };
    assert_eq!(create(&good), []);
    let without_value = CreateUserSecretRequest { value: secret(""), ..good };
    assert_eq!(create(&without_value), [FieldProblem::new("value", "Value is required.")]);
    let bad = CreateUserSecretRequest {
        name: "a/b".into(),
        value: secret("\0"),
        env_name: "PATH".into(),
        file_path: "a".into(),
        ..CreateUserSecretRequest::default()
    };
    assert_eq!(fields(&create(&bad)), ["name", "value", "env_name", "file_path"]);
}

#[test]
fn an_update_request_has_all_its_faults_told_in_order() {
    let cleared = UpdateUserSecretRequest {
        value: Some(secret("")),
        env_name: Some(String::new()),
        file_path: Some(String::new()),
        ..UpdateUserSecretRequest::default()
    };
    assert_eq!(update(&cleared), []);
    assert_eq!(update(&UpdateUserSecretRequest::default()), []);
    let bad = UpdateUserSecretRequest {
        value: Some(secret("\0")),
        env_name: Some("1".into()),
        file_path: Some("a".into()),
        ..UpdateUserSecretRequest::default()
    };
    assert_eq!(fields(&update(&bad)), ["value", "env_name", "file_path"]);
}

proptest! {
    #[test]
    fn an_accepted_env_name_is_safe_to_export(input in "[A-Za-z_0-9]{0,12}|.{0,12}") {
        if env_name(&input).is_ok() && !input.is_empty() {
            prop_assert!(!input.contains(['=', '\0', '\n', ' ']));
            prop_assert!(!input.as_bytes()[0].is_ascii_digit());
        }
    }

    #[test]
    fn letter_case_never_opens_a_reserved_name(at in 0..RESERVED_ENV_NAMES.len(), upper in prop::collection::vec(any::<bool>(), 40)) {
        let spelled: String = RESERVED_ENV_NAMES[at]
            .chars()
            .zip(upper)
            .map(|(c, upper)| if upper { c } else { c.to_ascii_lowercase() })
            .collect();
        prop_assert!(env_name(&spelled).is_err());
    }

    #[test]
    fn an_accepted_name_is_one_url_segment(input in ".{0,20}") {
        if name(&input).is_ok() {
            prop_assert!(!input.is_empty() && !input.contains(['/', '?', '#']));
            prop_assert_eq!(input.trim(), input.as_str());
        }
    }
}

#[test]
fn names_and_descriptions_are_bounded() {
    assert!(name(&"n".repeat(MAX_NAME_BYTES)).is_ok());
    assert_eq!(name(&"n".repeat(MAX_NAME_BYTES + 1)).unwrap_err(), "Name must not exceed 1024 bytes.");
    let described = |bytes: usize| {
        let request = UpdateUserSecretRequest { description: Some("d".repeat(bytes)), ..Default::default() };
        update(&request).into_iter().map(|problem| problem.detail).collect::<Vec<_>>()
    };
    assert!(described(MAX_DESCRIPTION_BYTES).is_empty());
    assert_eq!(described(MAX_DESCRIPTION_BYTES + 1), ["Description must not exceed 16384 bytes."]);
}
