//! Who is in a group besides us.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

/// Whether the group has members other than this process's user and root. A group that nobody can tell the members of is
/// taken to have some.
#[must_use]
pub fn has_others(gid: u32) -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let us = rustix::process::geteuid().as_raw();
    others(gid, us, &read("/etc/group"), &read("/etc/passwd"))
}

fn others(gid: u32, us: u32, groups: &str, users: &str) -> bool {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let users: Vec<(String, u32, u32)> = users
        .lines()
        .map(fields)
        .filter_map(|user| Some((user.first()?.clone(), user.get(2)?.parse().ok()?, user.get(3)?.parse().ok()?)))
        .collect();
    let is_other = |uid: u32| uid != us && uid != 0;
    let Some(group) = groups.lines().map(fields).find(|group| group.get(2) == Some(&gid.to_string())) else {
        // From a directory service, or of no name at all. Root's own group needs no entry.
        return gid != 0;
    };
    let named = group.get(3).map(String::as_str).unwrap_or_default().split(',').filter(|name| !name.is_empty());
    let known: BTreeSet<&str> =
        users.iter().filter(|(_, uid, _)| !is_other(*uid)).map(|(name, ..)| name.as_str()).collect();
    let has_named = named.into_iter().any(|name| !known.contains(name.trim()));
    has_named || users.iter().any(|(_, uid, primary)| *primary == gid && is_other(*uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/h:/bin/sh\nbob:x:1001:1001::/h:/bin/sh\n\
                         carol:x:1002:50::/h:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\nalice:x:1000:\nbob:x:1001:alice\nteam:x:60:alice,bob\nown:x:61:alice,root\n\
                          staff:x:50:\nempty:x:62:\nunknown:x:63:dave\n";

    #[test]
    fn members_are_those_of_the_entry_and_those_whose_primary_group_it_is() {
        for (gid, expected) in [
            (0, false),
            (1000, false),
            (1001, true),
            (60, true),
            (61, false),
            (50, true),
            (62, false),
            (63, true),
            (9, true),
        ] {
            assert_eq!(others(gid, 1000, GROUPS, USERS), expected, "{gid}");
        }
        // A uid without an entry in the group of root, as on OpenShift.
        assert!(!others(0, 123_456, GROUPS, USERS));
    }
}
