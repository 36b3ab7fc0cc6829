use clap::FromArgMatches;

use super::*;

fn resolve(args: ServeArgs, variables: &[(&str, &str)]) -> Result<ServeConfig, ConfigError> {
    args.resolve(&|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
}

#[test]
fn defaults() {
    let config = resolve(ServeArgs::default(), &[]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:7080");
    assert_eq!(config.audit_retention, Some(Duration::from_hours(90 * 24)));
    assert_eq!(config.audit_max_size, Some(1 << 30));
    assert_eq!((config.rate_limit, config.targets.has_files(), config.tls), (512, true, None));
}

#[test]
fn coders_own_variables_count_after_ours() {
    let variables = [
        ("CODER_HTTP_ADDRESS", "0.0.0.0:80"),
        ("CODER_DISABLE_USER_SECRET_FILE_PATH", "TRUE"),
        ("CODER_TLS_CERT_FILE", "/c"),
        ("CODER_TLS_KEY_FILE", "/k"),
        ("CODER_ACCESS_URL", "https://coder.example/"),
    ];
    let config = resolve(ServeArgs::default(), &variables).unwrap();
    assert_eq!(config.listen, "0.0.0.0:80");
    assert!(!config.targets.has_files());
    assert_eq!(config.tls, Some(TlsFiles { cert: "/c".into(), key: "/k".into() }));
    assert_eq!(config.access_url.as_deref(), Some("https://coder.example"));
    let args = ServeArgs {
        listen: Some("[::1]:1".into()),
        disable_user_secret_file_path: Some(false),
        ..ServeArgs::default()
    };
    let config = resolve(args, &variables).unwrap();
    assert_eq!((config.listen.as_str(), config.targets.has_files()), ("[::1]:1", true));
}

#[test]
fn nonsense_is_refused_by_name() {
    let args =
        |audit_retention: &str| ServeArgs { audit_retention: Some(audit_retention.into()), ..ServeArgs::default() };
    assert_eq!(resolve(args("0"), &[]).unwrap().audit_retention, None);
    assert_eq!(resolve(args("36h"), &[]).unwrap().audit_retention, Some(Duration::from_hours(36)));
    for bad in ["90", "-1d", "soon", ""] {
        assert!(resolve(args(bad), &[]).unwrap_err().to_string().starts_with("--audit-retention"), "{bad}");
    }
    let sized = |size: &str| {
        let args = ServeArgs { audit_max_size: Some(size.into()), ..ServeArgs::default() };
        resolve(args, &[]).map(|config| config.audit_max_size)
    };
    for (text, bytes) in [("0", None), ("4096", Some(4096)), ("512MiB", Some(512 << 20)), ("2 gb", Some(2 << 30))] {
        assert_eq!(sized(text).unwrap(), bytes, "{text}");
    }
    for bad in ["", "GiB", "-1", "1.5GiB", "1TiB", "99999999999GiB"] {
        assert!(sized(bad).unwrap_err().to_string().starts_with("--audit-max-size"), "{bad}");
    }
    let only_cert = [("CODER_TLS_CERT_FILE", "/c")];
    assert!(matches!(resolve(ServeArgs::default(), &only_cert), Err(ConfigError::HalfTls)));
    for (name, text) in [("CODER_ACCESS_URL", "example.org"), ("CODER_DISABLE_USER_SECRET_FILE_PATH", "maybe")] {
        let error = resolve(ServeArgs::default(), &[(name, text)]).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn the_url_of_the_database_is_not_printed() {
    let args = StoreArgs::augment_args(clap::Command::new("x"));
    let matches = args.try_get_matches_from(["x", "--database-url", "postgres://alice:hunter2@h/d"]).unwrap();
    let args = StoreArgs::from_arg_matches(&matches).unwrap();
    assert!(args.database_url.is_some() && !format!("{args:?}").contains("hunter2"));
}
