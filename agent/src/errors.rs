//! How an error is told to a person.
#![forbid(unsafe_code)]

use std::error::Error;

/// An error and its sources on one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        // No Display of ours repeats its source, but those of libraries do.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Step(&'static str, #[source] Option<Box<Step>>);

    #[test]
    fn every_cause_is_told_once() {
        let cause = Step("no such file", None);
        let library = Step("I/O error: no such file", Some(Box::new(cause)));
        let ours = Step("cannot read /a", Some(Box::new(library)));
        assert_eq!(chain(&ours), "cannot read /a: I/O error: no such file");
    }
}
