//! Servers of several versions on one database, told by the marks of its schema.

use tests::{LONG, Rest};

use super::{Pair, UNLIMITED};

/// A newer server has migrated while this one ran. It still works, and starts again, for as long as the database allows its schema.
#[test]
fn a_server_works_on_a_newer_schema_that_allows_it() {
    let Some(mut pair) = Pair::start("a_server_works_on_a_newer_schema_that_allows_it") else { return };
    let known = pair.env.sql("SELECT version FROM schema_version").trim().to_owned();
    pair.env.sql("UPDATE schema_version SET version = 999");
    let serves = |url: &str| Rest::new(url, &pair.alice.token).get("/users/me").status;
    assert_eq!(pair.urls().map(serves), [200, 200]);
    assert_eq!(pair.servers[1].terminate().code, Some(0));
    let again = pair.env.server_beside("second", UNLIMITED);
    assert_eq!(serves(again.url()), 200);
    let _ = pair.env.admin(["user", "create", "bob"]).reveals().run().success();
    assert_eq!(pair.env.sql("SELECT version FROM schema_version").trim(), "999", "an older server migrates nothing");

    pair.env.sql("UPDATE schema_version SET oldest = 999");
    for args in [&["serve", "--listen", "127.0.0.1:0"][..], &["token", "list"]] {
        let run = pair.env.program(&tests::binaries().server).args(args).arg("--data-dir").arg(pair.env.path("third"));
        let run = run.arg("--encryption-key-file").arg(pair.env.data_dir().join("encryption.key"));
        std::fs::create_dir_all(pair.env.path("third")).unwrap();
        let refused = pair.env.with_database(run).limit(LONG).run().exits(2);
        let _ = refused.complains("schema 999").complains(&format!("this version knows up to {known}"));
    }
}
