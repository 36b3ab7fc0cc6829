//! Restricted keys and certificates, as sshd reads them.

use std::fs;

use tests::{Output, Run};

use crate::ssh::logins::Logins;

struct Keys(Logins);

impl Keys {
    fn new(test: &str) -> Option<Self> {
        Logins::new(test).map(Self)
    }

    /// Makes a key of this kind, and gives its public line.
    fn key(&self, name: &str, kind: &str) -> String {
        let path = self.0.env.home().join(name).display().to_string();
        let generate = ["-q", "-t", kind, "-N", "", "-C", "laptop", "-f", &path];
        let _ = self.0.env.program("/usr/bin/ssh-keygen").args(generate).run().success();
        fs::read_to_string(format!("{path}.pub")).unwrap().trim().to_owned()
    }

    /// Has `authority` sign the key of this name.
    fn certify(&self, authority: &str, name: &str, options: &[&str]) {
        let (home, user) = (self.0.env.home(), self.0.account.name.clone());
        let sign = self.0.env.program("/usr/bin/ssh-keygen").args(["-q", "-s"]).arg(home.join(authority));
        let sign = sign.args(["-I", "laptop", "-n", &user]).args(options).arg(home.join(format!("{name}.pub")));
        let _ = sign.run().success();
    }

    fn login(&self, key: &str, command: &str) -> Output {
        let id = self.0.env.home().join(key).display().to_string();
        let run: Run = self.0.ssh(["-o", &format!("IdentityFile={id}"), "h", command]);
        run.run()
    }

    fn remove_the_package(&self) {
        fs::remove_file(self.0.env.path("bin/coder")).unwrap();
    }
}

/// With the package, and after it was removed and the drop-in stayed.
#[test]
fn no_way_of_writing_a_restricted_key_makes_it_a_free_login() {
    let Some(keys) = Keys::new("no_way_of_writing_a_restricted_key_makes_it_a_free_login") else { return };
    let agent = keys.0.agent();
    let (free, rsa) = (keys.0.account_key(), keys.key("rsa", "rsa"));
    let encoded = rsa.split(' ').nth(1).unwrap().to_owned();
    let command = "command=\"echo restricted\"";
    let lines = [
        format!("{command} {rsa}"),
        format!("{command} rsa-sha2-512 {encoded}"),
        format!("{command} rsa-sha2-256 {encoded} laptop"),
        format!("\t {command},restrict \t ssh-rsa\t {encoded} laptop"),
        format!("Command=\"echo restricted\" ssh-rsa {encoded}\r"),
        format!("{command} ssh-rsa {}\u{c}{}", &encoded[..40], &encoded[40..]),
        format!("environment=\"A=b c\",{command} ssh-rsa {encoded}"),
    ];
    let check = |is_installed: bool| {
        for line in &lines {
            keys.0.authorize(&format!("{free}\n{line}"));
            let login = keys.login("rsa", "echo free");
            assert!(!login.stdout.contains("free"), "{line}");
            // sshd has to take the line, or it shows nothing.
            assert_ne!(login.exit.code, Some(255), "{line}: {}", login.stderr);
            if is_installed {
                assert_eq!(login.stdout, "restricted\n", "{line}: {}", login.stderr);
            }
            assert_eq!(keys.login("id", "echo free").success().stdout, "free\n", "{line}");
        }
    };
    check(true);
    // What sshd may be able to read some day keeps the key restricted, and nobody else out.
    keys.0.authorize(&format!("{command} next-algorithm {encoded}\n{rsa}\n{free}"));
    let _ = keys.login("rsa", "echo free").exits(1).complains("line 1 of ");
    assert_eq!(keys.login("id", "echo free").success().stdout, "free\n");
    drop(agent);
    keys.remove_the_package();
    check(false);
}

#[test]
fn a_key_that_no_line_explains_is_refused_unless_that_was_said() {
    let test = "a_key_that_no_line_explains_is_refused_unless_that_was_said";
    for (options, is_in) in [("", false), (" --allow-unlisted-keys", true)] {
        let elsewhere = |drop_in: String| {
            let drop_in = drop_in.replace("\"$c\" session;", &format!("\"$c\" session{options};"));
            format!("AuthorizedKeysFile .ssh/elsewhere\n{drop_in}")
        };
        let Some(world) = Logins::with(test, crate::ssh::logins::EXTERNAL, elsewhere) else { return };
        let keys = Keys(world);
        let _agent = keys.0.agent();
        keys.0.account.write(".ssh/elsewhere", &format!("command=\"echo restricted\" {}\n", keys.0.account_key()));
        keys.0.authorize("# no key");
        let login = keys.login("id", "echo free");
        if is_in {
            assert_eq!(login.success().stdout, "free\n");
        } else {
            let _ = login.exits(1).complains("its key is in none of .ssh/authorized_keys, .ssh/authorized_keys2");
        }
    }
}

#[test]
fn a_certificate_with_a_command_gets_no_shell_with_and_without_the_package() {
    let test = "a_certificate_with_a_command_gets_no_shell_with_and_without_the_package";
    let Some(keys) = Keys::new(test) else { return };
    let agent = keys.0.agent();
    let authority = keys.key("authority", "ed25519");
    for (name, options) in [("plain", &[][..]), ("forced", &["-O", "force-command=echo restricted"])] {
        keys.key(name, "ed25519");
        keys.certify("authority", name, options);
    }
    let check = || {
        keys.0.authorize(&format!("cert-authority {authority}"));
        assert_eq!(keys.login("plain", "echo free").success().stdout, "free\n");
        assert_eq!(keys.login("forced", "echo free").exits(1).stdout, "");
        keys.0.authorize(&format!("cert-authority,command=\"echo restricted\" {authority}"));
        assert_eq!(keys.login("plain", "echo free").exits(1).stdout, "");
    };
    check();
    drop(agent);
    keys.remove_the_package();
    check();
}
