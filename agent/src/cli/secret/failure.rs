//! What a failed request about secrets means: not done, perhaps done, or not offered by this server.

use protocol::problem::Problem;
use reqwest::StatusCode;

use crate::cli::client::{Client, ClientError};
use crate::cli::error::CliError;

/// What Coder's older servers say to a change of a field that they do not know.
const NO_FIELD: &str = "At least one field must be provided";

/// The failure to read secrets.
pub(super) fn read(operation: impl Into<String>) -> impl FnOnce(ClientError) -> CliError {
    let operation = operation.into();
    move |error| without_secrets(&operation, &error).unwrap_or_else(|| CliError::request(operation)(error))
}

/// The failure to change the secret `name`. `done` is the participle of the change, such as `stored`.
pub(super) fn change(operation: String, name: &str, done: &str) -> impl FnOnce(ClientError) -> CliError {
    let look = format!("coder secret list {}", shell_word(name));
    let perhaps = format!("The secret may have been {done} all the same. Look with: {look}");
    let name = name.to_owned();
    move |error| {
        if let Some(unsupported) = without_secrets(&operation, &error) {
            return unsupported;
        }
        let hint = if error.may_be_done() { Some(perhaps) } else { conflict(&name, &error) };
        CliError::Change { operation, hint, source: Box::new(error) }
    }
}

/// That the server knows no secrets at all.
fn without_secrets(operation: &str, error: &ClientError) -> Option<CliError> {
    match error {
        ClientError::NoRoute { version } => {
            let reason = format!("this server{version} has no user secrets");
            Some(CliError::Unsupported { operation: operation.to_owned(), reason })
        }
        _ => None,
    }
}

/// That the server knows no disabled secrets; `None` if `error` says something else.
pub(super) fn without_enabled(operation: &str, client: &Client, error: &ClientError) -> Option<CliError> {
    match error {
        ClientError::Refused { status: StatusCode::BAD_REQUEST, problem, .. }
            if problem.message.starts_with(NO_FIELD) =>
        {
            Some(always_enabled(operation, client, "nothing was changed"))
        }
        _ => None,
    }
}

/// A server that delivers every secret. `so` is what that means for the change.
pub(super) fn always_enabled(operation: &str, client: &Client, so: &str) -> CliError {
    let version = client.shown_version();
    let reason = format!("this server{version} delivers every secret and cannot disable one; {so}");
    CliError::Unsupported { operation: operation.to_owned(), reason }
}

fn refusal(error: &ClientError, wanted: StatusCode) -> Option<&Problem> {
    match error {
        ClientError::Refused { status, problem, .. } if *status == wanted => Some(problem),
        _ => None,
    }
}

/// What to do about a name or a target that another secret has.
fn conflict(name: &str, error: &ClientError) -> Option<String> {
    if refusal(error, StatusCode::NOT_FOUND).is_some() {
        return Some("List your secrets with: coder secret list".into());
    }
    let problem = refusal(error, StatusCode::CONFLICT)?;
    let has = |field: &str| problem.validations.iter().any(|fault| fault.field == field);
    Some(if has("name") {
        let word = shell_word(name);
        format!("{name} exists already. To change its value: echo -n \"$VALUE\" | coder secret update {word}")
    } else if has("env_name") || has("file_path") {
        "Find the secret that has this target with: coder secret list --column name,env,file".into()
    } else {
        "List your secrets with: coder secret list".into()
    })
}

/// `text` as one word of a POSIX shell.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '%' | '+' | ',');
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use protocol::problem::FieldProblem;

    use super::*;

    fn refused(status: StatusCode, problem: Problem) -> ClientError {
        ClientError::Refused { server: "http://x".into(), status, problem, elsewhere: None }
    }

    #[test]
    fn words_of_a_shell() {
        for (text, word) in [("api-key", "api-key"), ("two words", "'two words'"), ("it's", r"'it'\''s'"), ("", "''")] {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn a_conflict_tells_what_to_do() {
        let taken = |field: &str| {
            let problem = Problem::validation(vec![FieldProblem::new(field, "taken")]);
            conflict("api-key", &refused(StatusCode::CONFLICT, problem)).unwrap()
        };
        assert!(taken("name").ends_with("| coder secret update api-key"), "{}", taken("name"));
        assert!(taken("env_name").ends_with("--column name,env,file"));
        assert!(conflict("a", &refused(StatusCode::BAD_REQUEST, Problem::new("No."))).is_none());
    }

    #[test]
    fn what_may_be_done_is_not_called_failed() {
        let error = change("create secret \"a\"".into(), "a", "stored")(refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            Problem::new("Internal error creating secret."),
        ));
        let CliError::Change { hint: Some(hint), .. } = error else { panic!("{error:?}") };
        assert_eq!(hint, "The secret may have been stored all the same. Look with: coder secret list a");
    }
}
