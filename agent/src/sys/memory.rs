//! Where values rest: memory that is not swapped, not dumped and not inherited by a forked child.
#![expect(unsafe_code, reason = "mapping, locking and unmapping memory has no safe interface")]

use std::alloc::System;
use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use protocol::secret::Secret;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};
use zeroizing_alloc::ZeroAlloc;

/// Wipes what libraries free: decoded messages, the strings of an exec block, the copies a growing buffer leaves behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Said once for the life of the process, however many manifests arrive.
static LIMIT_TOLD: AtomicBool = AtomicBool::new(false);

/// A secret value at rest in guarded memory, shared with the other values of its manifest.
///
/// As with [`Secret`] there is no `Display`, no `Clone` and no `Serialize`; `Debug` shows nothing. [`Guarded::share`]
/// hands out another handle without a second copy of the bytes; the last handle wipes them.
pub struct Guarded {
    region: Arc<Region>,
    range: Range<usize>,
}

impl Guarded {
    /// The value itself. What the caller copies it into is the caller's to wipe.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.region.bytes().get(self.range.clone()).unwrap_or_default()
    }

    /// Another handle to the same bytes.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { region: Arc::clone(&self.region), range: self.range.clone() }
    }

    /// A copy outside guarded memory, for the short life of one launch.
    #[must_use]
    pub fn copy(&self) -> Secret {
        Secret::new(self.expose().to_vec())
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded(***)")
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Guarded {}

/// Moves `values` into one region of guarded memory, in their order, and wipes where they were.
///
/// Where the lock limit is too small the region may be swapped, which is warned about once.
#[expect(clippy::needless_pass_by_value, reason = "taking the values is the point: they are wiped here")]
pub fn guard(values: Vec<Secret>) -> io::Result<Vec<Guarded>> {
    let total = values.iter().map(Secret::len).sum();
    let mut region = Region::new(total)?;
    // Before the log is open nobody would hear it; what is guarded after that says it.
    let heard = tracing::enabled!(tracing::Level::WARN);
    if region.protection == Protection::Unlocked && heard && !LIMIT_TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            needed_bytes = total,
            "memory cannot be locked, so secret values may be swapped to disk: raise LimitMEMLOCK (ulimit -l), or let the \
             container's filter allow mlock"
        );
    }
    let mut ranges = Vec::with_capacity(values.len());
    let mut end = 0;
    for value in &values {
        let start = end;
        end += value.len();
        if let Some(place) = region.bytes_mut().get_mut(start..end) {
            place.copy_from_slice(value.expose());
        }
        ranges.push(start..end);
    }
    let region = Arc::new(region);
    Ok(ranges.into_iter().map(|range| Guarded { region: Arc::clone(&region), range }).collect())
}

/// [`guard`] for a single value.
pub fn guard_one(value: Secret) -> io::Result<Guarded> {
    guard(vec![value])?.pop().ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// What keeps a region from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protection {
    /// `memfd_secret`: not in the kernel's own map either, so no other process reads it, root included.
    Secret,
    /// Locked, not dumped, not inherited.
    Locked,
    /// Not dumped, not inherited; the lock limit is too small.
    Unlocked,
}

/// One private mapping. Written only through `&mut` before it is shared, so its bytes never change under a reader.
struct Region {
    start: NonNull<u8>,
    len: usize,
    protection: Protection,
}

// SAFETY: the mapping belongs to this value alone, is valid until `drop`, and behind a shared reference it is only read.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

impl Region {
    fn new(len: usize) -> io::Result<Self> {
        Self::secret(len).or_else(|_| Self::anonymous(len))
    }

    /// Fails where the kernel lacks `memfd_secret`, a container's filter refuses it, or the lock limit is too small.
    fn secret(len: usize) -> io::Result<Self> {
        // SAFETY: the call takes one integer and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel just gave us this descriptor; nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let size = mapped_size(len);
        rustix::fs::ftruncate(&fd, size as u64)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours.
        let start = unsafe {
            rustix::mm::mmap(ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &fd, 0)?
        };
        let region = Self::owning(start, size, Protection::Secret)?;
        region.advise(Advice::LinuxDontFork)?;
        Ok(region)
    }

    fn anonymous(len: usize) -> io::Result<Self> {
        let size = mapped_size(len);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours.
        let start = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
        };
        let mut region = Self::owning(start, size, Protection::Unlocked)?;
        region.advise(Advice::LinuxDontDump)?;
        region.advise(Advice::LinuxDontFork)?;
        // SAFETY: the range is exactly our mapping; locking changes where pages live, not what they hold.
        if unsafe { rustix::mm::mlock(start, size) }.is_ok() {
            region.protection = Protection::Locked;
        }
        Ok(region)
    }

    fn owning(start: *mut c_void, len: usize, protection: Protection) -> io::Result<Self> {
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len, protection })
    }

    fn advise(&self, advice: Advice) -> io::Result<()> {
        // SAFETY: the range is exactly our mapping, and the advice used (dump, fork) does not change its contents.
        unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.len, advice)? };
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is valid for `len` initialised (kernel-zeroed) bytes until drop, and nobody writes while a
        // shared borrow lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the exclusive borrow makes this the only access.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // SAFETY: the last handle is gone, so no reference into the mapping is left; it is unmapped exactly once.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

fn mapped_size(len: usize) -> usize {
    len.max(1).next_multiple_of(rustix::param::page_size())
}

/// A file that exists in memory only and that nobody can change any more: no other process of the user can edit a script
/// that runs from it.
pub fn sealed_file(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    rustix::fs::fcntl_add_seals(&fd, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0))?;
    Ok(fd)
}

/// A buffer for bytes that may be a value, wiped when dropped and never grown, so that no part of it is left behind.
#[must_use]
pub fn wiped_buffer(len: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; len])
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn secrets(values: &[&[u8]]) -> Vec<Secret> {
        values.iter().map(|value| Secret::new(value.to_vec())).collect()
    }

    #[test]
    fn values_keep_their_bytes_order_and_bounds() {
        let held = guard(secrets(&[b"first", b"", b"\0binary\xff"])).unwrap();
        let exposed: Vec<_> = held.iter().map(Guarded::expose).collect();
        assert_eq!(exposed, [b"first".as_slice(), b"", b"\0binary\xff"]);
        assert!(held[1].is_empty());
        assert_eq!(held[2].len(), 8);
    }

    #[test]
    fn a_shared_handle_outlives_the_rest_of_its_manifest() {
        let kept = guard(secrets(&[b"one", b"two"])).unwrap()[1].share();
        assert_eq!(kept.expose(), b"two");
        assert_eq!(kept, guard(secrets(&[b"two"])).unwrap()[0]);
        assert_ne!(kept, guard(secrets(&[b"twp"])).unwrap()[0]);
    }

    #[test]
    fn nothing_to_guard_is_no_error() {
        assert!(guard(Vec::new()).unwrap().is_empty());
        assert!(guard(secrets(&[b""])).unwrap()[0].is_empty());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", guard(secrets(&[b"hunter2"])).unwrap()), "[Guarded(***)]");
    }

    #[test]
    fn every_kind_of_region_can_be_filled_and_passed_to_the_kernel() {
        for region in [Region::secret(5000), Region::anonymous(5000)] {
            let Ok(mut region) = region else { continue };
            region.bytes_mut()[..6].copy_from_slice(b"canary");
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&region.bytes()[..6]).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            let mut back = String::new();
            file.read_to_string(&mut back).unwrap();
            assert_eq!(back, "canary", "{:?}", region.protection);
        }
    }

    #[test]
    fn an_anonymous_region_is_neither_dumped_nor_inherited() {
        let region = Region::anonymous(1).unwrap();
        let address = format!("{:x}-", region.start.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let entry = maps.split_once(&address).unwrap().1;
        let flags = entry.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.contains(" dd") && flags.contains(" dc"), "{flags}");
    }

    #[test]
    fn where_nothing_may_be_locked_values_are_kept_all_the_same() {
        crate::sys::process::tests::alone(|| {
            if nix::unistd::geteuid().is_root() {
                nix::unistd::setuid(nix::unistd::Uid::from_raw(65_534)).unwrap();
            }
            let limit = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
            rustix::process::setrlimit(rustix::process::Resource::Memlock, limit).unwrap();
            assert!(Region::secret(1).is_err());
            let _unheard = guard(secrets(&[b"value"])).unwrap();
            assert!(!LIMIT_TOLD.load(Ordering::Relaxed));
            let _log = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
            let held = guard(secrets(&[b"value"])).unwrap();
            assert_eq!((held[0].expose(), held[0].region.protection), (b"value".as_slice(), Protection::Unlocked));
            assert!(LIMIT_TOLD.load(Ordering::Relaxed));
        });
    }

    #[test]
    fn a_sealed_file_reads_back_and_refuses_every_change() {
        let fd = sealed_file("script", b"echo hello").unwrap();
        assert!(rustix::io::write(&fd, b"x").is_err());
        assert!(rustix::fs::ftruncate(&fd, 0).is_err());
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).unwrap();
        assert_eq!(text, "echo hello");
    }
}
