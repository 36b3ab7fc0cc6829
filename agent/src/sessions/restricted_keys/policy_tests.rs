use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn key(kind: &str, content: &str) -> Vec<u8> {
    [&u32::try_from(kind.len()).unwrap().to_be_bytes()[..], kind.as_bytes(), content.as_bytes()].concat()
}

fn text(kind: &str, content: &str) -> String {
    format!("{kind} {}", STANDARD.encode(key(kind, content)))
}

fn decided(info: &str, lines: &[String], allows_unlisted: bool) -> Result<Option<Vec<u8>>, Refusal> {
    let lines: Vec<Line> = authorized_keys::parse(Path::new("keys"), lines.join("\n").as_bytes()).collect();
    decide(Shown::parse(info.as_bytes()), &lines, &KeyFiles { patterns: &["keys".to_owned()], allows_unlisted })
}

/// What a login with `info` may run, with `lines` in the file. `!` if it is refused, empty if it is free.
fn verdict(info: &str, lines: &[String]) -> String {
    match decided(info, lines, false) {
        Ok(command) => String::from_utf8(command.unwrap_or_default()).unwrap(),
        Err(_) => "!".to_owned(),
    }
}

fn with(command: &str, key: &str) -> String {
    format!("command=\"{command}\" {key}")
}

#[test]
fn a_restricted_key_runs_its_command_and_nothing_else() {
    let (mine, other) = (text("ssh-ed25519", "mine"), text("ssh-ed25519", "other"));
    let info = format!("publickey {mine}\n");
    for (info, lines, expected) in [
        (info.as_str(), vec![mine.clone()], ""),
        (&info, vec![with("a", &mine)], "a"),
        (&info, vec![with("a", &other), mine.clone()], ""),
        (&info, vec![with("a", &mine), with("a", &mine)], "a"),
        // Which of two lines counts depends on what only sshd knows.
        (&info, vec![with("a", &mine), mine.clone()], "!"),
        (&info, vec![mine.clone(), with("a", &mine)], "!"),
        (&info, vec![with("a", &mine), with("b", &mine)], "!"),
        (&info, vec![format!("command=a {mine}")], "!"),
        // A key from elsewhere, or sshd that says nothing.
        (&info, vec![other.clone()], "!"),
        (&info, vec![with("a", &other)], "!"),
        ("", vec![mine.clone()], ""),
        ("", vec![with("a", &mine)], "!"),
        ("", vec!["what is this".to_owned()], "!"),
        ("publickey nonsense\n", vec![mine.clone()], "!"),
        // Other methods have no key.
        ("password\n", vec![with("a", &mine)], ""),
        ("keyboard-interactive/pam\n", vec![with("a", &mine)], ""),
        (&format!("{info}password\n"), vec![with("a", &mine)], "a"),
        (&format!("{info}publickey {other}\n"), vec![with("a", &mine), other.clone()], "!"),
    ] {
        assert_eq!(verdict(info, &lines), expected, "{info} {lines:?}");
    }
}

/// sshd takes the names of signature algorithms for the type of a key.
#[test]
fn the_key_counts_and_not_the_word_before_it() {
    let rsa = text("ssh-rsa", "mine");
    let info = format!("publickey {rsa}\n");
    for word in ["rsa-sha2-512", "rsa-sha2-256"] {
        let line = rsa.replace("ssh-rsa", word);
        assert_eq!(verdict(&info, &[with("a", &line)]), "a", "{word}");
        assert_eq!(verdict(&info, std::slice::from_ref(&line)), "", "{word}");
        // The first of both is what sshd uses.
        assert_eq!(verdict(&info, &[with("a", &line), rsa.clone()]), "!", "{word}");
    }
}

#[test]
fn a_line_that_cannot_be_read_may_be_a_restriction() {
    let (mine, other) = (text("ssh-ed25519", "mine"), text("ssh-ed25519", "other"));
    let info = format!("publickey {mine}\n");
    let unknown = |command: &str| with(command, &mine.replace("ssh-ed25519", "next-algorithm"));
    for lines in
        [vec![unknown("a")], vec![unknown("a"), mine.clone()], vec![format!("command=\"a {mine}"), mine.clone()]]
    {
        assert_eq!(verdict(&info, &lines), "!", "{lines:?}");
    }
    // Of another key, or of nothing at all, it keeps nobody out who has a line of their own.
    for line in [with("a", &other.replace("ssh-ed25519", "next-algorithm")), "ssh-ed25519".to_owned()] {
        assert_eq!(verdict(&info, &[line, mine.clone()]), "");
    }
}

#[test]
fn a_key_from_elsewhere_gets_in_only_where_that_was_said() {
    let (mine, other) = (text("ssh-ed25519", "mine"), text("ssh-ed25519", "other"));
    let info = format!("publickey {mine}\n");
    let refusal = decided(&info, std::slice::from_ref(&other), false).unwrap_err().to_string();
    assert!(refusal.contains("in none of keys; name the file with"), "{refusal}");
    assert_eq!(decided(&info, &[with("a", &other)], true).unwrap(), None);
    assert_eq!(decided(&info, &[with("a", &mine)], true).unwrap(), Some(b"a".to_vec()));
    let refusal = decided(&info, &["cannot read this".to_owned()], true).unwrap_err().to_string();
    assert!(refusal.contains("line 1 of keys"), "{refusal}");
}

#[test]
fn a_certificate_that_may_be_restricted_is_refused() {
    let authority = text("ssh-ed25519", "authority");
    let free = format!("publickey {}\n", text("ssh-ed25519-cert-v01@openssh.com", "permit-pty"));
    let forced = format!("publickey {}\n", text("ssh-ed25519-cert-v01@openssh.com", "\0\0\0\rforce-command"));
    let lines = [format!("cert-authority {authority}")];
    assert_eq!((verdict(&free, &lines), verdict(&forced, &lines)), (String::new(), "!".to_owned()));
    assert_eq!(verdict(&free, &[format!("cert-authority,command=\"a\" {authority}")]), "!");
    let unknown = authority.replace("ssh-ed25519", "next-algorithm");
    assert_eq!(verdict(&free, &[format!("cert-authority,command=\"a\" {unknown}")]), "!");
    // The authority's own key is not let in by such a line.
    let own = format!("publickey {authority}\n");
    assert_eq!(verdict(&own, &[format!("cert-authority,command=\"a\" {authority}")]), "!");
}
