//! Caps and conflicts, as pure functions: what a user has already, and what may be added to it.

use protocol::problem::{FieldProblem, Problem};
use protocol::rules::{MAX_ENV_VALUE_BYTES, MAX_SECRETS, MAX_TOTAL_VALUE_BYTES};
use uuid::Uuid;

/// One stored secret, as far as other ones are concerned. Disabled ones count like all others.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) env_name: String,
    pub(super) file_path: String,
    pub(super) value_bytes: usize,
}

/// All secrets of one user, at most fifty.
#[derive(Debug, Default)]
pub(super) struct Holdings(Vec<Held>);

impl Holdings {
    pub(super) fn new(held: Vec<Held>) -> Self {
        Self(held)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Takes out the secret of that name: what is left is what an update of it is judged against.
    pub(super) fn take(&mut self, name: &str) -> Option<Held> {
        let at = self.0.iter().position(|held| held.name == name)?;
        Some(self.0.swap_remove(at))
    }

    /// Each field of `new` that another secret has already. Names of variables differ by letter case, paths by any character.
    pub(super) fn conflicts(&self, new: &Held) -> Vec<FieldProblem> {
        let taken = |same: &dyn Fn(&Held) -> bool| self.0.iter().any(same);
        [
            (taken(&|held| held.name == new.name), "name", "name already in use"),
            (
                !new.env_name.is_empty() && taken(&|held| held.env_name == new.env_name),
                "env_name",
                "environment variable already in use",
            ),
            (
                !new.file_path.is_empty() && taken(&|held| held.file_path == new.file_path),
                "file_path",
                "file path already in use",
            ),
        ]
        .into_iter()
        .filter(|(taken, ..)| *taken)
        .map(|(_, field, detail)| FieldProblem::new(field, detail))
        .collect()
    }

    /// The stored secrets that stand in the way of an imported one: one report for each, by name where the name is taken.
    pub(super) fn import_conflicts(&self, new: &Held) -> Vec<FieldProblem> {
        let same_name = self.0.iter().filter(|held| held.name == new.name);
        let same_env = self
            .0
            .iter()
            .filter(|held| held.name != new.name && !new.env_name.is_empty() && held.env_name == new.env_name);
        same_name
            .map(|_| FieldProblem::new("name", "name already in use"))
            .chain(same_env.map(|held| {
                let detail = format!("environment variable already in use by secret \"{}\"", shown(&held.name));
                FieldProblem::new("env_name", detail)
            }))
            .collect()
    }

    /// Adds `new` if the caps allow it; the caps count bytes of plaintext.
    pub(super) fn add(&mut self, new: Held) -> Result<(), Problem> {
        let env_bytes = |held: &Held| if held.env_name.is_empty() { 0 } else { held.value_bytes };
        let total: usize = self.0.iter().map(|held| held.value_bytes).sum();
        let env: usize = self.0.iter().map(env_bytes).sum();
        if self.count() + 1 > MAX_SECRETS {
            return Err(Problem::new("User secrets limit reached.")
                .detail(format!("Each user can have at most {MAX_SECRETS} secrets.")));
        }
        if total + new.value_bytes > MAX_TOTAL_VALUE_BYTES {
            return Err(Problem::new("User secrets value-bytes limit reached.").detail(format!(
                "The per-user budget is {MAX_TOTAL_VALUE_BYTES} bytes for the values of all secrets together."
            )));
        }
        // A secret without the target adds nothing here, and must not be refused for what others use.
        if env_bytes(&new) > 0 && env + env_bytes(&new) > MAX_ENV_VALUE_BYTES {
            return Err(Problem::new("Environment-injected user secrets bytes limit reached.").detail(format!(
                "The env_name budget is {MAX_ENV_VALUE_BYTES} bytes for the values of all secrets with an env_name together."
            )));
        }
        self.0.push(new);
        Ok(())
    }
}

/// A name in a message, cut so that fifty long ones do not make a huge answer.
pub(super) fn shown(name: &str) -> String {
    const MAX_CHARS: usize = 64;
    match name.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(name: &str, env_name: &str, file_path: &str, value_bytes: usize) -> Held {
        let (name, env_name, file_path) = (name.into(), env_name.into(), file_path.into());
        Held { id: Uuid::new_v4(), name, env_name, file_path, value_bytes }
    }

    #[test]
    fn every_conflict_of_a_request_is_told() {
        let holdings = Holdings(vec![held("a", "A", "", 1), held("b", "", "~/b", 1)]);
        let fields = |new| holdings.conflicts(&new).into_iter().map(|problem| problem.field).collect::<Vec<_>>();
        assert_eq!(fields(held("a", "A", "~/b", 1)), ["name", "env_name", "file_path"]);
        assert_eq!(fields(held("c", "A", "", 1)), ["env_name"]);
        assert!(fields(held("A", "a", "~/B", 1)).is_empty());
        assert!(fields(held("c", "", "", 1)).is_empty());
    }

    #[test]
    fn an_import_reports_each_stored_secret_once() {
        let holdings = Holdings(vec![held("KEY", "KEY", "", 1), held("x", "OTHER", "", 1), held("OTHER", "", "", 1)]);
        let fields = |key: &str| {
            let problems = holdings.import_conflicts(&held(key, key, "", 1));
            problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        assert_eq!(fields("KEY"), ["name"]);
        assert_eq!(fields("OTHER"), ["name", "env_name"]);
        assert!(fields("NEW").is_empty());
    }

    #[test]
    fn caps_are_reached_exactly_and_never_passed() {
        let mut full = Holdings((0..49).map(|n| held(&n.to_string(), "", "", 1)).collect());
        assert!(full.add(held("50th", "", "", 1)).is_ok());
        assert_eq!(full.add(held("51st", "", "", 1)).unwrap_err().message, "User secrets limit reached.");

        let mut total = Holdings(vec![held("a", "", "", MAX_TOTAL_VALUE_BYTES - 10)]);
        assert_eq!(total.add(held("b", "", "", 11)).unwrap_err().message, "User secrets value-bytes limit reached.");
        assert!(total.add(held("b", "", "", 10)).is_ok());

        let mut env = Holdings(vec![held("a", "A", "", MAX_ENV_VALUE_BYTES - 10)]);
        let refused = env.add(held("b", "B", "", 11)).unwrap_err();
        assert_eq!(refused.message, "Environment-injected user secrets bytes limit reached.");
        assert!(env.add(held("b", "B", "", 10)).is_ok());
        assert!(env.add(held("c", "", "~/c", 11)).is_ok());
    }
}
