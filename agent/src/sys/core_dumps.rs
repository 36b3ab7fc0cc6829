//! Keeps the heap and the stacks out of core dumps. The read buffers of libraries keep the last bytes that came through a
//! connection, and nothing can wipe them.
#![expect(unsafe_code, reason = "advice on memory has no safe interface")]

use std::ffi::c_void;
use std::io;
use std::ptr;

use rustix::mm::Advice;

/// Excludes the heap and the stacks, as they are now, from core dumps. Memory that the heap gets later is dumped again, so
/// call this after reading something that holds values.
pub fn exclude_heap() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, len) in maps.lines().filter_map(heap) {
        // SAFETY: the advice decides about cores only, never about contents, whatever another thread has mapped there since;
        // where nothing is mapped any more it is refused.
        let _ = unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontDump) };
    }
    Ok(())
}

/// Start and length of a line's mapping, where it is writable and of no file.
fn heap(line: &str) -> Option<(*mut c_void, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions, _offset, _device, inode) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    let is_heap = permissions.starts_with("rw") && inode == "0";
    is_heap.then(|| (ptr::with_exposed_provenance_mut(start), end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_and_the_stack_are_excluded() {
        crate::sys::process::tests::alone(|| {
            let excluded = |wanted: &str| {
                let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
                let entry = maps.split_once(wanted).unwrap().1;
                let flags = entry.lines().find(|line| line.starts_with("VmFlags:")).unwrap().to_owned();
                flags.split(' ').any(|flag| flag == "dd")
            };
            assert!(!excluded("[heap]"));
            exclude_heap().unwrap();
            assert!(excluded("[heap]") && excluded("[stack]"));
        });
    }
}
