use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::Entry;

/// Who may do what with a file, and what else is attached to it: mode, owner, group, ACL, extended attributes.
#[derive(Debug)]
pub struct Identity {
    entry: Entry,
    attributes: BTreeMap<CString, Vec<u8>>,
}

impl Identity {
    /// Of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let mut attributes = BTreeMap::new();
        for name in attribute_names(file)? {
            if is_kept(&name) {
                let value = attribute(file, &name)?;
                attributes.insert(name, value);
            }
        }
        Ok(Self { entry: Entry::of(file)?, attributes })
    }

    /// Gives it to another open file. Owner first, since changing it clears set-id bits; the mode last, since an ACL
    /// changes it.
    pub fn give(&self, file: &File) -> io::Result<()> {
        let new = Entry::of(file)?;
        let owner = (new.uid != self.entry.uid).then(|| Uid::from_raw(self.entry.uid));
        let group = (new.gid != self.entry.gid).then(|| Gid::from_raw(self.entry.gid));
        if owner.is_some() || group.is_some() {
            rustix::fs::fchown(file, owner, group)?;
        }
        // The new file may have got an ACL from its directory that the old one never had.
        for name in attribute_names(file)? {
            if name.as_bytes() == ACL && !self.attributes.contains_key(&name) {
                rustix::fs::fremovexattr(file, &name)?;
            }
        }
        for (name, value) in &self.attributes {
            if attribute(file, name).ok().as_ref() != Some(value) {
                rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())?;
            }
        }
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(self.entry.mode))?)
    }
}

const ACL: &[u8] = b"system.posix_acl_access";

/// Capabilities and the integrity subsystem's hashes belong to the old content: a write drops them too.
fn is_kept(name: &CStr) -> bool {
    const BOUND_TO_CONTENT: [&[u8]; 3] = [b"security.capability", b"security.ima", b"security.evm"];
    let name = name.to_bytes();
    !BOUND_TO_CONTENT.contains(&name) && !name.starts_with(b"trusted.overlay.")
}

fn attribute_names(file: &File) -> io::Result<Vec<CString>> {
    let list = match grow(|buffer| rustix::fs::flistxattr(file, buffer)) {
        Err(Errno::NOTSUP) => Vec::new(),
        list => list?,
    };
    Ok(list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .filter_map(|name| CString::new(name).ok())
        .collect())
}

fn attribute(file: &File, name: &CStr) -> io::Result<Vec<u8>> {
    Ok(grow(|buffer| rustix::fs::fgetxattr(file, name, buffer))?)
}

/// Reads into a buffer that is large enough for nearly all, then into one of the kernel's limit for names and values.
fn grow(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    const USUAL: usize = 1024;
    const KERNEL_LIMIT: usize = 65_536;
    let mut buffer = vec![0; USUAL];
    let len = match read(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(KERNEL_LIMIT, 0);
            read(&mut buffer)?
        }
        len => len?,
    };
    buffer.truncate(len);
    Ok(buffer)
}
