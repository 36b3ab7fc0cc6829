use super::MAX_BYTES;

/// Why a state does not make a workspace. Messages name addresses and attributes, never a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than [`MAX_BYTES`].
    #[error("a state must not exceed {MAX_BYTES} bytes")]
    TooLarge,
    /// Not JSON at all, or nested too deep.
    #[error(
        "this is not JSON (line {line}, column {column}): pipe in the output of `terraform show -json`, or name a state file"
    )]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON of something else.
    #[error(
        "this is JSON, but no Terraform state: pipe in the output of `terraform show -json`, or name a state file of version 4"
    )]
    NotAState,
    /// A plan.
    #[error("this is a plan: apply it first, then pipe in the output of `terraform show -json`")]
    Plan,
    /// A state that OpenTofu has encrypted.
    #[error("this state is encrypted: pipe in the output of `tofu show -json`")]
    Encrypted,
    /// A format that nobody here knows.
    #[error(
        "{what} {found} is not supported; {known} is: pipe in the output of `terraform show -json` of Terraform 1.0 or later, or of OpenTofu"
    )]
    Version {
        /// What has the version.
        what: &'static str,
        /// As written; cut to a few characters.
        found: String,
        /// What would be understood.
        known: &'static str,
    },
    /// Nothing is left, as after `terraform destroy`.
    #[error(
        "there is nothing in this state, as after `terraform destroy`: to delete the workspace, run `coder workspace delete NAME`"
    )]
    Empty,
    /// An attribute is not what the provider writes.
    #[error("{address}: `{attribute}` {problem}")]
    Attribute {
        /// The resource.
        address: String,
        /// Where in the resource.
        attribute: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A part of the state that belongs to no resource is not what Terraform writes.
    #[error("{place} {problem}")]
    Shape {
        /// Where in the document.
        place: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two agents that cannot be told apart.
    #[error("{first} and {second} have the same name: agents are told apart by their names, whatever the letter case")]
    AgentNames {
        /// By address.
        first: String,
        /// By address.
        second: String,
    },
    /// Two `coder_metadata` for one resource instance.
    #[error("{first} and {second} are both for {resource}: a resource can have one coder_metadata")]
    DuplicateMetadata {
        /// By address.
        first: String,
        /// By address.
        second: String,
        /// The resource of both.
        resource: String,
    },
    /// The template does not read `data.coder_workspace`.
    #[error(
        "this state does not name the workspace, because its template does not read data.coder_workspace: give --name NAME"
    )]
    NoName,
    /// The server cannot store or deliver it.
    #[error("{address}: {detail}")]
    Unfit {
        /// The resource.
        address: String,
        /// What is wrong.
        detail: String,
    },
    /// `merge_strategy = "error"`, and the variable is set already.
    #[error("{address}: variable {variable} is set by {earlier} already, and merge_strategy is \"error\"")]
    Merge {
        /// The `coder_env` that refuses.
        address: String,
        /// The variable.
        variable: String,
        /// What set it.
        earlier: String,
    },
}
