//! Which versions of the Agent API the server accepts: any 2.x. Clients never fall back to a lower version, and a call that this server
//! lacks gets an error code of its own.

use protocol::agent_api::MAJOR_VERSION;
use protocol::problem::{FieldProblem, Problem};

/// The version of a client that names none.
pub(super) const DEFAULT: &str = "2.0";
/// The newest version that this server was written against. Only messages use it.
const SERVER: &str = "2.10";

/// Checks `MAJOR.MINOR`; the texts are Coder's.
pub(super) fn check(version: &str) -> Result<(), Problem> {
    let detail = match parse(version) {
        None => format!("invalid version string: {version}"),
        Some((MAJOR_VERSION, _)) => return Ok(()),
        Some((major, _)) if major > MAJOR_VERSION => {
            format!("server is at version {SERVER}, behind requested major version {version}")
        }
        Some(_) => format!("version {version} is no longer supported"),
    };
    Err(Problem {
        message: "Unknown or unsupported API version".into(),
        detail: String::new(),
        validations: vec![FieldProblem::new("version", detail)],
    })
}

fn parse(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((number(major)?, number(minor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_minor_of_two_is_accepted() {
        for good in ["2.0", "2.4", "2.10", "2.999"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn others_are_refused_in_the_words_of_coder() {
        let cases = [
            ("3.0", "server is at version 2.10, behind requested major version 3.0"),
            ("1.9", "version 1.9 is no longer supported"),
            ("2", "invalid version string: 2"),
            ("2.x", "invalid version string: 2.x"),
            ("2.-1", "invalid version string: 2.-1"),
            ("+2.0", "invalid version string: +2.0"),
            ("2.0.0", "invalid version string: 2.0.0"),
            ("", "invalid version string: "),
        ];
        for (version, detail) in cases {
            let problem = check(version).unwrap_err();
            assert_eq!(problem.message, "Unknown or unsupported API version");
            assert_eq!(problem.validations, [FieldProblem::new("version", detail)]);
        }
    }
}
