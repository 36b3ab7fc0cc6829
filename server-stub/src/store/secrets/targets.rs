//! What secrets may target on this deployment.

use protocol::problem::FieldProblem;
use protocol::rules::code;
use wildmatch::WildMatch;

/// In place of a pattern: every target that is known to be run as code, as the command line warns of it.
const CODE: &str = "@code";

/// What secrets may target: the administrator's policy. It is asked when a target is set, and again at each delivery.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    no_files: bool,
    no_code_in_env: bool,
    no_code_in_files: bool,
    env: Vec<WildMatch>,
    files: Vec<FilePattern>,
    /// The policy as a text that differs where policies do.
    text: String,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It can match no name of a variable.
    #[error("a pattern of names has letters, digits, underscores, * and ?, or is {CODE}")]
    Env,
    /// It can match no path.
    #[error("a pattern of paths starts with ~/, / or * and has no .., or is {CODE}")]
    File,
}

#[derive(Clone, Debug)]
struct FilePattern {
    matches: WildMatch,
    /// For a pattern below the home: the same below any directory, because the server does not know the homes.
    anywhere: Option<WildMatch>,
}

impl Targets {
    /// No file targets at all.
    #[must_use]
    pub fn without_files(mut self) -> Self {
        self.no_files = true;
        self.describe("no files")
    }

    /// Denies variables whose names match `pattern`, whatever their letter case: `*` for any text, `?` for any character.
    pub fn deny_env(mut self, pattern: &str) -> Result<Self, PatternError> {
        if pattern == CODE {
            self.no_code_in_env = true;
            return Ok(self.describe("no code in variables"));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "_*?".contains(c);
        if pattern.is_empty() || !pattern.chars().all(legal) {
            return Err(PatternError::Env);
        }
        self.env.push(WildMatch::new_case_insensitive(pattern));
        Ok(self.describe(&format!("no variable {pattern}")))
    }

    /// Denies files whose paths match `pattern`; `*` matches slashes, too.
    pub fn deny_file(mut self, pattern: &str) -> Result<Self, PatternError> {
        if pattern == CODE {
            self.no_code_in_files = true;
            return Ok(self.describe("no code in files"));
        }
        if !pattern.starts_with(['/', '*']) && !pattern.starts_with("~/") || has_parent(pattern) {
            return Err(PatternError::File);
        }
        let anywhere = pattern.strip_prefix('~').map(|below| WildMatch::new(&format!("*{below}")));
        self.files.push(FilePattern { matches: WildMatch::new(pattern), anywhere });
        Ok(self.describe(&format!("no file {pattern}")))
    }

    fn describe(mut self, rule: &str) -> Self {
        self.text.push_str(rule);
        self.text.push('\n');
        self
    }

    /// Whether secrets may be files.
    #[must_use]
    pub fn has_files(&self) -> bool {
        !self.no_files
    }

    /// Whether a variable of this name is denied.
    #[must_use]
    pub fn denies_env(&self, name: &str) -> bool {
        self.env.iter().any(|pattern| pattern.matches(name))
            || (self.no_code_in_env && code::of_variable(name).is_some())
    }

    /// Whether a file at this path is denied. The server cannot know where `..` leads.
    #[must_use]
    pub fn denies_file(&self, path: &str) -> bool {
        let path = &plain(path);
        let denied = |pattern: &FilePattern| {
            let anywhere = pattern.anywhere.as_ref().filter(|_| path.starts_with('/'));
            pattern.matches.matches(path) || anywhere.is_some_and(|pattern| pattern.matches(path))
        };
        let judged = self.no_code_in_files || !self.files.is_empty();
        self.files.iter().any(denied)
            || (self.no_code_in_files && code::of_file(path).is_some())
            || (judged && has_parent(path))
    }

    /// `stored` is the name before the change; leaving it as it is, or clearing it, is always allowed.
    pub(super) fn check_env(&self, stored: &str, wanted: &str) -> Option<FieldProblem> {
        let refused = !wanted.is_empty() && wanted != stored && self.denies_env(wanted);
        refused.then(|| FieldProblem::new("env_name", format!("{wanted} is denied by the deployment administrator")))
    }

    /// The same for a path.
    pub(super) fn check_file(&self, stored: &str, wanted: &str) -> Option<FieldProblem> {
        if wanted.is_empty() || wanted == stored {
            return None;
        }
        if self.no_files {
            let detail = "file paths are disabled by the deployment administrator; clear file_path or use env_name";
            return Some(FieldProblem::new("file_path", detail));
        }
        let denied = self.denies_file(wanted);
        denied.then(|| FieldProblem::new("file_path", "this path is denied by the deployment administrator"))
    }

    /// The policy as the database keeps it.
    pub(super) fn as_text(&self) -> &str {
        match self.text.as_str() {
            "" => "allowed",
            // As an earlier version wrote it.
            "no files\n" => "disabled",
            text => text,
        }
    }
}

impl PartialEq for Targets {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Targets {}

fn has_parent(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// The path without repeated slashes and dots, which name the same file.
fn plain(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pattern: &str) -> Targets {
        Targets::default().deny_file(pattern).unwrap()
    }

    #[test]
    fn names_match_whatever_their_letter_case() {
        let targets = Targets::default().deny_env("PROMPT_COMMAND").unwrap().deny_env("NPM_*").unwrap();
        for denied in ["PROMPT_COMMAND", "prompt_command", "NPM_", "npm_token"] {
            assert!(targets.denies_env(denied), "{denied}");
        }
        for allowed in ["PROMPT_COMMANDS", "MY_NPM_TOKEN", "NPM", ""] {
            assert!(!targets.denies_env(allowed), "{allowed}");
        }
    }

    #[test]
    fn a_path_is_denied_however_it_is_written() {
        let targets = files("~/.bashrc");
        for denied in [
            "~/.bashrc",
            "~//.bashrc",
            "~/./.bashrc",
            "~/.bashrc/",
            "/home/alice/.bashrc",
            "//home//alice/./.bashrc",
            "~/x/../.bashrc",
            "~/../alice/.bashrc",
            "~/link/../harmless",
        ] {
            assert!(targets.denies_file(denied), "{denied}");
        }
        for allowed in ["~/.bashrc2", "~/x/.bashrc", "~/.config/tool", "/etc/tool", "~/..bashrc"] {
            assert!(!targets.denies_file(allowed), "{allowed}");
        }
        let below = files("~/.ssh/*");
        assert!(below.denies_file("~/.ssh/a/b") && below.denies_file("/root/.ssh/authorized_keys"));
        assert!(!below.denies_file("~/.sshx/a"));
        assert!(files("/etc/*").denies_file("/etc/x") && !files("/etc/*").denies_file("~/etc/x"));
        assert!(!Targets::default().denies_file("~/x/../y"));
    }

    #[test]
    fn one_word_denies_what_is_known_to_run_as_code() {
        let targets = Targets::default().deny_env("@code").unwrap().deny_file("@code").unwrap();
        assert!(targets.denies_env("PROMPT_COMMAND") && !targets.denies_env("API_KEY"));
        assert!(targets.denies_file("~/.bashrc") && targets.denies_file("~/.ssh/authorized_keys"));
        assert!(!targets.denies_file("~/.config/tool"));
    }

    #[test]
    fn what_is_stored_may_stay() {
        let targets = files("~/.bashrc").deny_env("A").unwrap();
        assert_eq!(targets.check_file("~/.bashrc", "~/.bashrc"), None);
        assert_eq!(targets.check_env("A", "A"), None);
        assert_eq!(targets.check_file("~/.bashrc", ""), None);
        assert_eq!(targets.check_env("", "A").unwrap().detail, "A is denied by the deployment administrator");
        assert_eq!(targets.check_file("", "~/.bashrc").unwrap().field, "file_path");
    }

    #[test]
    fn patterns_that_can_match_nothing_are_refused() {
        for bad in ["", "A B", "A-B", "A=B", "[AB]"] {
            assert_eq!(Targets::default().deny_env(bad), Err(PatternError::Env), "{bad}");
        }
        for bad in ["", ".bashrc", "~", "~alice/x", "~/../x", "[~]/x"] {
            assert_eq!(Targets::default().deny_file(bad), Err(PatternError::File), "{bad}");
        }
    }

    #[test]
    fn policies_are_told_apart() {
        let texts = [
            Targets::default(),
            Targets::default().without_files(),
            files("~/.bashrc"),
            Targets::default().deny_env("A").unwrap(),
        ];
        for (n, one) in texts.iter().enumerate() {
            assert!(texts[n + 1..].iter().all(|other| other != one && other.as_text() != one.as_text()));
        }
    }
}
