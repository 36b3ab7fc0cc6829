//! Where the server of a test keeps its data: in a SQLite file, or in a PostgreSQL database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use uuid::Uuid;

use crate::canary::Canaries;
use crate::needs::postgres_program;

/// Names a PostgreSQL database in which each test makes a schema of its own; `tests/with-postgres` sets it.
const VARIABLE: &str = "CODER_TEST_DATABASE_URL";

/// The PostgreSQL database of one test.
pub(crate) struct Database {
    /// What its server is told.
    url: String,
    /// The same for `psql`, without a password: arguments can be seen.
    shown: String,
    /// Whether it is a schema that goes with the test.
    is_own: bool,
}

/// Whether servers of tests run on PostgreSQL.
pub fn on_postgres() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|url| !url.is_empty())
}

impl Database {
    /// A new schema, if tests run on PostgreSQL.
    ///
    /// Its URL has a password, which nothing may show. A server that trusts this machine accepts any.
    pub(crate) fn of_test(canaries: &Canaries) -> Option<Self> {
        let base = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty())?;
        let schema = format!("test_{}", Uuid::new_v4().simple());
        let separator = if base.contains('?') { '&' } else { '?' };
        let shown = format!("{base}{separator}options=-csearch_path%3D{schema}");
        let url = shown.replacen('@', &format!(":{}@", canaries.mint("database-password")), 1);
        let database = Self { url, shown, is_own: true };
        let made = database.psql(&[&format!("CREATE SCHEMA {schema}")]);
        assert!(made.status.success(), "{VARIABLE}: {}", String::from_utf8_lossy(&made.stderr));
        Some(database)
    }

    /// A database that the test has made.
    pub(crate) fn given(url: String) -> Self {
        Self { shown: url.clone(), url, is_own: false }
    }

    /// A file with the URL in this home, because it has a password: a variable can be read by whoever looks at the process.
    pub(crate) fn url_file(&self, home: &Path) -> PathBuf {
        let file = home.join("database-url");
        if !file.exists() {
            fs::write(&file, &self.url).expect("write the URL of the database");
        }
        file
    }

    /// Runs each of `statements`, and stops at the first that fails.
    pub(crate) fn psql(&self, statements: &[&str]) -> Output {
        let psql = postgres_program("psql").expect("psql, which comes with PostgreSQL");
        let mut command = Command::new(psql);
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        for statement in statements {
            command.args(["--command", statement]);
        }
        command.arg(&self.shown).stdin(Stdio::null()).output().expect("run psql")
    }

    /// All rows of all tables, as text that the hunt can read; nothing if the database does not answer.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.psql(&["SELECT schema_to_xml(current_schema(), true, false, '')"]).stdout
    }

    /// Where to look after a test that failed.
    pub(crate) fn place(&self) -> &str {
        &self.shown
    }

    /// Deletes the schema, if it is one of this test.
    pub(crate) fn remove(&self) {
        if self.is_own {
            // Whoever still holds a lock is a server that is being killed.
            self.psql(&[
                "SET lock_timeout = '5s'",
                "DO $$ BEGIN EXECUTE 'DROP SCHEMA ' || current_schema() || ' CASCADE'; END $$",
            ]);
        }
    }
}
