//! How an error is told to a person.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;

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

/// The first error of type `T` among `error` and its sources.
#[must_use]
pub fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = source(error);
    }
    None
}

/// The last of `error` and its sources.
#[must_use]
pub fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(next) = source(innermost) {
        innermost = next;
    }
    innermost
}

/// An I/O error gives the source of what it wraps, and skips that itself.
fn source<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapper) => wrapper.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
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
