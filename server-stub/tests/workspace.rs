//! `coder-server workspace` as a person and as a script meets it.

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::path::PathBuf;
    use std::process::{Command, Output, Stdio};

    use serde_json::Value;
    use tempfile::TempDir;

    const DEFINITION: &str = r#"owner: alice
name: dev
agent:
  name: main
  dir: ~/project
  env: { API_URL: "https://$HOSTNAME/canary-env" }
  scripts:
    - { display_name: Install tools, script: "make tools", run_on_start: true, timeout: 300 }
  metadata:
    - { key: disk, display_name: Disk, script: "df -h /", interval: 60, timeout: 5 }
env:
  - { name: PATH, value: /opt/tools/bin, merge_strategy: prepend }
"#;

    struct World {
        dir: TempDir,
    }

    impl World {
        fn new() -> Self {
            let world = Self { dir: tempfile::tempdir().unwrap() };
            // Only a server makes the database. It says that it listens, and is not needed any more.
            let mut server =
                world.command(&["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(server.stderr.take().unwrap()).lines();
            assert!(lines.map(Result::unwrap).any(|line| line.contains("listening on ")));
            server.kill().unwrap();
            server.wait().unwrap();
            world.text(&["user", "create", "alice"]);
            world
        }

        fn command(&self, args: &[&str]) -> Command {
            let mut command = Command::new(env!("CARGO_BIN_EXE_coder-server"));
            command.args(args).arg("--data-dir").arg(self.dir.path().join("data")).env_clear().stdin(Stdio::null());
            command
        }

        fn file(&self, name: &str, text: &str) -> String {
            let path: PathBuf = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        }

        fn run(&self, args: &[&str]) -> Output {
            self.command(args).output().unwrap()
        }

        #[track_caller]
        fn text(&self, args: &[&str]) -> String {
            let output = self.run(args);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        }

        #[track_caller]
        fn json(&self, args: &[&str]) -> Value {
            serde_json::from_str(&self.text(&[args, &["--json"]].concat())).unwrap()
        }

        #[track_caller]
        fn refused(&self, args: &[&str], code: i32, words: &[&str]) {
            let output = self.run(args);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{text}");
            for word in words {
                assert!(text.contains(word), "no {word:?} in: {text}");
            }
        }
    }

    #[test]
    fn a_token_is_given_once_and_again_only_on_request() {
        let world = World::new();
        let file = world.file("dev.yaml", DEFINITION);
        let token = |applied: &Value| applied["workspaces"][0]["agents"][0]["token"].as_str().map(str::to_owned);
        let first = world.json(&["workspace", "apply", &file]);
        let workspace = &first["workspaces"][0];
        assert_eq!((workspace["owner"].as_str(), workspace["name"].as_str()), (Some("alice"), Some("dev")));
        assert_eq!(workspace["agents"][0]["name"], "main");
        let first = token(&first).unwrap();
        assert_eq!(token(&world.json(&["workspace", "apply", &file])), None);
        let rotated = token(&world.json(&["workspace", "apply", &file, "--rotate-tokens"])).unwrap();
        assert_ne!(first, rotated);
        assert!(world.text(&["workspace", "apply", &file]).contains("(as before)"));
        let database = std::fs::read(world.dir.path().join("data/coder.db")).unwrap();
        for needle in [rotated.as_str(), "canary-env"] {
            assert!(
                !database.windows(needle.len()).any(|bytes| bytes == needle.as_bytes()),
                "{needle} is stored in clear"
            );
        }
    }

    #[test]
    fn show_and_list_tell_what_is_known_and_no_value() {
        let world = World::new();
        world.text(&["workspace", "apply", &world.file("dev.yaml", DEFINITION)]);
        let shown = world.json(&["workspace", "show", "alice/dev"]);
        let agent = &shown["agents"][0];
        assert_eq!(
            (agent["status"].as_str(), agent["lifecycle_state"].as_str()),
            (Some("connecting"), Some("created"))
        );
        for (field, length) in
            [("scripts", 1), ("metadata", 1), ("script_results", 0), ("startup_log", 0), ("target_outcomes", 0)]
        {
            assert_eq!(agent[field].as_array().map(Vec::len), Some(length), "{field}");
        }
        let text = world.text(&["workspace", "show", "ALICE/dev"]);
        for word in ["alice/dev", "main", "never seen", "Install tools", "has not run", "Disk", "never collected"] {
            assert!(text.contains(word), "no {word:?} in:\n{text}");
        }
        assert!(!text.contains("canary-env") && !shown.to_string().contains("canary-env"));
        let list = world.text(&["workspace", "list"]);
        assert!(list.contains("alice/dev") && list.contains("connecting"), "{list}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let world = World::new();
        let apply = |name: &str, text: &str| world.file(name, text);
        let good = apply("good.yaml", DEFINITION);
        let typo = apply("typo.yaml", &DEFINITION.replace("dir:", "dri:"));
        let nobody = apply("nobody.yaml", &DEFINITION.replace("alice", "nobody"));
        world.refused(&["workspace", "apply", &good, &typo], 2, &["typo.yaml:5: unknown field `dri`"]);
        world.refused(&["workspace", "show", "alice/dev"], 1, &["there is no workspace alice/dev"]);
        world.refused(&["workspace", "apply", &nobody], 2, &["nobody.yaml:1:", "user create nobody"]);
        world.refused(&["workspace", "apply", "/nonexistent.yaml"], 2, &["/nonexistent.yaml", "No such file"]);
        world.refused(&["workspace", "apply"], 2, &["<FILE>"]);
        world.refused(&["workspace", "show", "dev"], 1, &["OWNER/NAME"]);
    }

    #[test]
    fn a_deleted_workspace_is_gone() {
        let world = World::new();
        world.text(&["workspace", "apply", &world.file("dev.yaml", DEFINITION)]);
        assert!(world.text(&["workspace", "delete", "alice/dev"]).contains("alice/dev"));
        world.refused(&["workspace", "delete", "alice/dev"], 1, &["alice/dev"]);
        assert!(world.text(&["audit"]).contains("delete workspace"));
    }
}
