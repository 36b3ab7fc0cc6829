use super::Entry;
use crate::sys::groups;

const STICKY: u32 = 0o1000;

/// What other users can do about the way to a directory, and so about what lies in it. Root can do anything anyway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Nothing: every directory on the way belongs to us or to root, and only they may write to it.
    Private,
    /// They may create and replace files in it, or in a directory above it.
    Shared,
    /// It, or a directory on the way, belongs to the user with this id, who is neither us nor root.
    Foreign(u32),
}

impl Trust {
    /// Of a directory, and of those in it that others cannot replace. `above`: the latter, of its parent.
    ///
    /// Whoever owns the parent counts as owner, too: in a container, `/` may belong to a user that is not mapped.
    pub(super) fn judge(entry: &Entry, parent: &Entry, above: Self) -> (Self, Self) {
        let is_ours = entry.uid == rustix::process::geteuid().as_raw() || entry.uid == 0 || entry.uid == parent.uid;
        match above {
            Self::Foreign(_) => (above, above),
            _ if !is_ours => (Self::Foreign(entry.uid), Self::Foreign(entry.uid)),
            // With the sticky bit, others may add entries, but neither rename nor remove those of somebody else.
            _ if others_may_write(entry) && entry.mode & STICKY != 0 => (Self::Shared, above),
            _ if others_may_write(entry) => (Self::Shared, Self::Shared),
            _ => (above, above),
        }
    }
}

fn others_may_write(entry: &Entry) -> bool {
    entry.mode & 0o002 != 0 || (entry.mode & 0o020 != 0 && groups::has_others(entry.gid))
}
