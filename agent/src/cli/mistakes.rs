//! What people mistake for something else: other programs' commands, pages of the server, tokens of another kind.

use protocol::secret::Secret;
use reqwest::Url;

/// What to use in place of `word`, which is no command below `path` (`coder` or `coder secret`).
pub(super) fn instead(path: &str, word: &str) -> Option<&'static str> {
    let table = match path {
        "coder" => TOP,
        "coder secret" => SECRET,
        _ => return None,
    };
    table.iter().find(|(words, _)| words.split(' ').any(|known| known == word)).map(|(_, instead)| *instead)
}

const SECRET: &[(&str, &str)] = &[
    (
        "get show view read cat print reveal value describe inspect export",
        "No command shows the value of a stored secret. In a workspace: coder env NAME. \
         Everything but the value: coder secret list NAME",
    ),
    ("set put write store", "To store a new secret: coder secret create NAME. To change one: coder secret update NAME"),
    ("edit change modify patch rotate", "To change a secret: coder secret update NAME"),
    ("add new", "To store a new secret: coder secret create NAME"),
    ("del destroy unset", "To delete a secret: coder secret delete NAME"),
    ("rename mv move", "A name cannot be changed. Create the secret under its new name, then delete the old one"),
    ("on resume", "To deliver a secret again: coder secret enable NAME"),
    ("off pause", "To stop delivering a secret: coder secret disable NAME"),
    ("upload load", "To store every secret of a file: coder secret import FILE"),
];

const TOP: &[(&str, &str)] = &[
    ("get set add update import delete enable disable", "Secrets have commands of their own: coder secret --help"),
    ("list ls show", "To list your secrets: coder secret list. Commands about workspaces are Coder's own"),
    ("run", "To run a command in the environment of the workspace: coder exec COMMAND"),
    ("shell", "To start a login shell in the environment of the workspace: coder session"),
    ("printenv export", "To print the variables of the workspace: coder env"),
    ("reload refresh sync", "To fetch and deliver secrets now: coder agent reload"),
    ("server serve", "The server is a program of its own: coder-server serve"),
    ("user users", "Administrators manage this with: coder-server --help"),
    (
        "create start stop restart rename ssh config-ssh port-forward templates template ping open rdp schedule vscode \
         dotfiles speedtest update-check autoupdate favorite unfavorite external-auth netcheck provisioner \
         organizations groups features licenses support stat state task tasks",
        "That command is one of Coder's own command line, which this program does not replace",
    ),
];

/// Why `token` cannot be a session token, if it looks like something else.
pub(super) fn no_session_token(token: &Secret) -> Option<&'static str> {
    let text = token.expose_str().unwrap_or_default();
    if is_quoted(text) {
        Some("the session token is in quotes; give it without them")
    } else if uuid::Uuid::parse_str(text).is_ok() {
        Some("this is the token of an agent, which cannot sign in; a session token looks like abcde12345-…")
    } else if text.contains(char::is_whitespace) {
        Some("the session token has spaces in it; copy the token alone")
    } else if text.contains("://") {
        Some("this is an address, not a session token")
    } else if text.contains('=') {
        Some("the session token has a = in it; give what stands after the =")
    } else {
        None
    }
}

fn is_quoted(text: &str) -> bool {
    ['"', '\'', '`'].iter().any(|quote| text.len() > 1 && text.starts_with(*quote) && text.ends_with(*quote))
}

/// The address of the server, if `url` is that of one of its pages.
pub(super) fn server_of_page(url: &Url) -> Option<Url> {
    const PAGES: [&str; 10] =
        ["login", "cli-auth", "workspaces", "templates", "settings", "users", "deployment", "setup", "tasks", "api"];
    let mut segments: Vec<&str> = url.path_segments()?.collect();
    let page = segments.iter().position(|segment| PAGES.contains(segment))?;
    segments.truncate(page);
    let mut server = url.clone();
    server.set_path(&segments.join("/"));
    Some(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_programs_have_an_answer() {
        assert!(instead("coder secret", "get").is_some_and(|text| text.contains("coder env NAME")));
        assert!(instead("coder secret", "edit").is_some_and(|text| text.contains("coder secret update NAME")));
        assert!(instead("coder", "ssh").is_some_and(|text| text.contains("Coder's own")));
        assert_eq!(instead("coder secret", "nonsense"), None);
        assert_eq!(instead("coder agent", "get"), None);
    }

    #[test]
    fn no_command_is_called_a_mistake() {
        let command = super::super::command();
        for (path, table, commands) in
            [("coder", TOP, &command), ("coder secret", SECRET, command.find_subcommand("secret").unwrap())]
        {
            for word in table.iter().flat_map(|(words, _)| words.split(' ')) {
                assert!(commands.find_subcommand(word).is_none(), "{path} {word} is a command");
            }
        }
    }

    #[test]
    fn tokens_of_another_kind_are_told() {
        let said = |text: &str| no_session_token(&Secret::from(text.to_owned()));
        for wrong in [
            "\"abcdefghij-0123456789abcdefghijkl\"",
            "'x'",
            "0b2f5f1e-7a8f-4c1b-9a53-2f0e6c1d9b11",
            "Bearer abc",
            "https://coder.example.com",
            "CODER_SESSION_TOKEN=abc",
        ] {
            assert!(said(wrong).is_some(), "{wrong}");
        }
        for right in ["abcdefghij-0123456789abcdefghijkl", "wrong", "", "\""] {
            assert_eq!(said(right), None, "{right}");
        }
    }

    #[test]
    fn a_page_is_told_from_a_server_below_a_path() {
        let server = |text: &str| server_of_page(&Url::parse(text).unwrap()).map(|url| url.to_string());
        assert_eq!(server("https://h/login").as_deref(), Some("https://h/"));
        assert_eq!(server("https://h:8443/coder/settings/tokens").as_deref(), Some("https://h:8443/coder"));
        assert_eq!(server("https://h/api/v2").as_deref(), Some("https://h/"));
        assert_eq!((server("https://h/coder"), server("https://h")), (None, None));
    }
}
