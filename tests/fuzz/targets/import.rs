//! Secrets files in all three formats. The first byte chooses: `j` JSON, `y` YAML, anything else env.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::import::{self, Format, MAX_FILE_BYTES};
use protocol::rules;

fuzz_target!(|input: &[u8]| {
    let Some((choice, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let format = match choice {
        b'j' => Format::Json,
        b'y' => Format::Yaml,
        _ => Format::Env,
    };
    match import::parse(format, text) {
        Ok(entries) => {
            assert!(text.len() <= MAX_FILE_BYTES);
            assert!((1..=rules::MAX_SECRETS).contains(&entries.len()));
            // To YAML a carriage return ends a line as well.
            let lines = text.matches(['\r', '\n']).count() + 1;
            for (index, entry) in entries.iter().enumerate() {
                assert!(entry.env_name().is_empty() || entry.env_name() == entry.key);
                assert_eq!(entry.line.is_none(), format == Format::Json);
                assert!(entry.line.is_none_or(|line| (1..=lines).contains(&line)), "line {:?} of {lines}", entry.line);
                assert!(entries[..index].iter().all(|other| other.key != entry.key));
            }
            for problem in import::check(&entries) {
                assert_eq!(entries[problem.index].key, problem.key);
                assert!(!problem.detail.is_empty());
            }
        }
        // A message repeats at most a cut key, never the file.
        Err(error) => assert!(error.to_string().len() < 2000),
    }
});
