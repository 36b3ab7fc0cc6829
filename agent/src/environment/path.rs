//! The `PATH` of a login session.
//!
//! The session's own `PATH` comes from sshd, PAM and the shell, as the machine's administrator set it up. The agent's comes
//! from an image, a unit or a terminal. In a container the image's `PATH` is what the workspace is made for; on a machine
//! the agent has the one of systemd, which says nothing. So a session keeps its own and gets from the agent's what is not
//! there on every system.

use protocol::secret::Secret;

/// Where distributions put programs.
const SYSTEM: [&[u8]; 9] = [
    b"/usr/local/sbin",
    b"/usr/local/bin",
    b"/usr/sbin",
    b"/usr/bin",
    b"/sbin",
    b"/bin",
    b"/usr/local/games",
    b"/usr/games",
    b"/snap/bin",
];

/// `own`, with the directories of `agent` that are on no list of a system, in front or behind as they are in `agent`.
/// The directories in `prefix` are left out: they come first anyway.
pub(super) fn of_session(agent: &[u8], own: &[u8], prefix: &[&[u8]]) -> Vec<u8> {
    let own: Vec<&[u8]> = elements(own).filter(|element| !prefix.contains(element)).collect();
    let is_system = |element: &[u8]| SYSTEM.contains(&element);
    let start = elements(agent).position(is_system).unwrap_or(usize::MAX);
    let added = |(_, element): &(usize, &[u8])| {
        !(element.is_empty() || is_system(element) || own.contains(element) || prefix.contains(element))
    };
    let (before, after): (Vec<_>, Vec<_>) =
        elements(agent).enumerate().filter(added).partition(|(index, _)| *index < start);
    let front = before.into_iter().map(|(_, element)| element);
    let back = after.into_iter().map(|(_, element)| element);
    front.chain(own.iter().copied()).chain(back).collect::<Vec<_>>().join(b":".as_slice())
}

/// Without the elements that were there before. A later one is never looked into.
pub(super) fn without_repeats(path: &Secret) -> Secret {
    let mut seen: Vec<&[u8]> = Vec::new();
    for element in elements(path.expose()) {
        if !seen.contains(&element) {
            seen.push(element);
        }
    }
    Secret::new(seen.join(b":".as_slice()))
}

fn elements(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_own_and_gets_what_is_not_on_every_system() {
        for (agent, own, expected) in [
            // A machine: systemd's PATH says nothing, whatever PAM has set.
            ("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "/usr/local/bin:/usr/bin:/bin:/usr/games", ""),
            ("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "/opt/corp/bin:/usr/bin", ""),
            ("/usr/bin:/snap/bin", "/usr/bin", ""),
            // An image.
            ("/opt/venv/bin:/usr/local/bin:/usr/bin", "/usr/bin:/bin", "/opt/venv/bin:/usr/bin:/bin"),
            ("/a:/b:/usr/bin:/c", "/usr/bin:/bin", "/a:/b:/usr/bin:/bin:/c"),
            ("/a:/usr/bin:/b", "/b:/usr/bin", "/a:/b:/usr/bin"),
            ("/image", "/caller", "/image:/caller"),
            // An empty element means the current directory: kept if it was there, and never added.
            (":/a::/usr/bin:", "/usr/bin", "/a:/usr/bin"),
            ("/a", ":/usr/bin", "/a::/usr/bin"),
            ("", "/usr/bin", ""),
        ] {
            let expected = if expected.is_empty() { own } else { expected };
            let found = of_session(agent.as_bytes(), own.as_bytes(), &[]);
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{agent} {own}");
        }
        assert_eq!(of_session(b"/p:/a:/bin", b"/p:/bin:/p", &[b"/p"]), b"/a:/bin");
    }

    #[test]
    fn the_first_of_equal_elements_stays() {
        assert_eq!(without_repeats(&"/a:/b:/a:/c:/b".to_owned().into()).expose(), b"/a:/b:/c");
    }
}
