//! The body of every refused or failed request: `{"message", "detail"?, "validations"?}`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One field of a request and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldProblem {
    /// The field as the JSON body spells it, such as `env_name` or `secrets[3].value`.
    pub field: String,
    /// What is wrong. Never the value itself.
    pub detail: String,
}

impl FieldProblem {
    /// A problem of one field.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

/// An error body, as Coder's API sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One sentence for the user.
    pub message: String,
    /// More about it, where there is more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Faults of single fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validations: Vec<FieldProblem>,
}

impl Problem {
    /// A problem with a message alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// Adds the detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The body of a request whose fields break the rules.
    #[must_use]
    pub fn validation(validations: Vec<FieldProblem>) -> Self {
        Self { message: "Validation failed.".into(), detail: String::new(), validations }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.detail.is_empty() {
            write!(f, " {}", self.detail)?;
        }
        match self.validations.len() {
            0 => {}
            1 => f.write_str("\n1 validation error found")?,
            several => write!(f, "\n{several} validation errors found")?,
        }
        for problem in &self.validations {
            write!(f, "\n\t{}: {}", problem.field, problem.detail)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_sent() {
        let json = |problem: &Problem| serde_json::to_string(problem).unwrap();
        assert_eq!(json(&Problem::new("No.")), r#"{"message":"No."}"#);
        assert_eq!(json(&Problem::new("No.").detail("Why.")), r#"{"message":"No.","detail":"Why."}"#);
        assert_eq!(
            json(&Problem::validation(vec![FieldProblem::new("name", "Name is required.")])),
            r#"{"message":"Validation failed.","validations":[{"field":"name","detail":"Name is required."}]}"#
        );
    }

    #[test]
    fn a_body_with_the_message_alone_is_read() {
        assert_eq!(serde_json::from_str::<Problem>(r#"{"message":"No.","new":1}"#).unwrap(), Problem::new("No."));
    }

    #[test]
    fn display_has_every_part() {
        let problem = Problem::validation(vec![FieldProblem::new("name", "bad"), FieldProblem::new("value", "worse")]);
        assert_eq!(problem.to_string(), "Validation failed.\n2 validation errors found\n\tname: bad\n\tvalue: worse");
        assert_eq!(Problem::new("No.").detail("Why.").to_string(), "No. Why.");
    }
}
