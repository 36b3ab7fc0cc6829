//! What this process does to itself before it holds a value.
#![expect(unsafe_code, reason = "the process environment of libc has no safe interface to wipe it")]

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use nix::libc;
use protocol::secret::Secret;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// The core limit this process was started with: what its children get back.
static CORE_LIMIT: OnceLock<Rlimit> = OnceLock::new();

/// Makes this process unreadable to others of the same user and keeps it from leaving a core.
///
/// Children are not affected: exec makes them dumpable again, and [`crate::sys::spawn`] restores the core limit.
pub fn harden() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Core);
    CORE_LIMIT.get_or_init(|| limit);
    // The hard limit stays, or children could not have theirs back.
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: limit.maximum })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Makes going over the limit of file sizes (setrlimit(2), `RLIMIT_FSIZE`) an error of that file instead of the end of
/// this process. First of all, since guarded memory is a file to the kernel as well. Children get the default back.
pub fn survive_file_size_limit() {
    // SAFETY: ignoring a signal installs no code of ours that could run at a bad moment.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// The core limit of children, where [`harden`] changed ours.
pub(super) fn core_limit() -> Option<Rlimit> {
    CORE_LIMIT.get().copied()
}

/// Whether only this one thread exists; what changes the whole process must happen while it does.
pub fn is_single_threaded() -> io::Result<bool> {
    Ok(std::fs::read_dir("/proc/self/task")?.take(2).count() == 1)
}

/// Takes a variable out of this process's own environment and wipes its value there, so that `/proc/PID/environ` does
/// not show it. `None` where it is not set. An error where another thread exists already.
pub fn take_variable(name: &str) -> io::Result<Option<Secret>> {
    if !is_single_threaded()? {
        return Err(io::Error::other("the environment can only be changed before other threads start"));
    }
    // SAFETY: no other thread exists, so nobody reads or writes the environment meanwhile.
    Ok(unsafe { take_from(environ(), name) })
}

fn environ() -> *mut *mut libc::c_char {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: libc defines this pointer for the whole life of the process.
    unsafe { environ }
}

/// Removes every entry of `name` from the null-terminated array `entries`, wipes their values and returns the first,
/// which is the one `getenv` answers.
///
/// # Safety
/// `entries` is null or a null-terminated array of writable C strings that nobody else accesses during the call.
unsafe fn take_from(entries: *mut *mut libc::c_char, name: &str) -> Option<Secret> {
    let mut found = None;
    if entries.is_null() {
        return found;
    }
    let (mut from, mut to) = (entries, entries);
    // SAFETY: `from` and `to` stay within the array up to its terminating null (`to` never passes `from`), and each
    // entry is a C string that may be overwritten up to its terminator.
    unsafe {
        while !(*from).is_null() {
            let text = CStr::from_ptr(*from).to_bytes();
            let is_ours = text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='));
            if is_ours {
                let value = name.len() + 1;
                let len = text.len() - value;
                let value = (*from).add(value).cast::<u8>();
                found.get_or_insert_with(|| Secret::new(std::slice::from_raw_parts(value, len).to_vec()));
                for at in 0..len {
                    // Volatile: nothing reads these bytes again, so a plain write could be dropped.
                    value.add(at).write_volatile(0);
                }
            } else {
                *to = *from;
                to = to.add(1);
            }
            from = from.add(1);
        }
        *to = std::ptr::null_mut();
    }
    found
}

/// Whether `name` and `value` can be a variable of an exec block at all.
#[must_use]
pub fn is_passable(name: &OsStr, value: &[u8]) -> bool {
    let name = name.as_bytes();
    !name.is_empty() && !name.contains(&b'=') && !name.contains(&0) && !value.contains(&0)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ffi::CString;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::ForkResult;

    use super::*;

    /// Whether this is root. Otherwise `make test` names `test` among what was left out, and with `CI=true` it fails.
    pub(crate) fn needs_root(test: &str) -> bool {
        needs(test, "root", nix::unistd::geteuid().is_root())
    }

    /// The same of something else that a machine may not have.
    pub(crate) fn needs(test: &str, what: &str, is_there: bool) -> bool {
        if is_there {
            return true;
        }
        let line = format!("{test}: needs {what}\n");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true leaves nothing out: {line}");
        eprint!("left out: {line}");
        if let Some(path) = std::env::var_os("TEST_LEFT_OUT") {
            let file = std::fs::OpenOptions::new().append(true).open(path);
            // One write, because tests of other processes append too.
            let _ = file.and_then(|mut file| std::io::Write::write_all(&mut file, line.as_bytes()));
        }
        false
    }

    /// Runs `test` in a process of its own with a single thread.
    pub(crate) fn alone(test: impl FnOnce()) {
        // Where several tests share a process, a fork takes over locks that nobody unlocks any more, and what other tests
        // did to signals: the whole test runs again by itself.
        const ALONE: &str = "CODER_TEST_ALONE";
        let thread = std::thread::current();
        if let Some(name) = thread.name().filter(|name| *name != "main" && std::env::var_os(ALONE).is_none()) {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            again.args([name, "--exact", "--test-threads=1", "--nocapture"]).env(ALONE, "1");
            assert!(again.status().unwrap().success(), "failed in a process of its own, above");
            return;
        }
        // SAFETY: libc keeps its allocator usable across a fork, and the child never returns into the harness.
        match unsafe { nix::unistd::fork() }.unwrap() {
            ForkResult::Child => {
                let result = catch_unwind(AssertUnwindSafe(test));
                // SAFETY: ends the process at once, without what the harness would do at its end.
                unsafe { libc::_exit(i32::from(result.is_err())) }
            }
            ForkResult::Parent { child } => assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0))),
        }
    }

    /// Ignores a signal for the rest of a process that is [`alone`].
    pub(crate) fn ignore(signal: nix::sys::signal::Signal) {
        // SAFETY: no handler is installed that could run at a bad time.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) }.unwrap();
    }

    #[test]
    fn a_taken_variable_is_gone_from_what_others_can_read() {
        alone(|| {
            let path = std::env::var("PATH").unwrap();
            let environ = || String::from_utf8_lossy(&std::fs::read("/proc/self/environ").unwrap()).into_owned();
            assert!(
                environ().contains(&format!("\0PATH={path}\0")) || environ().starts_with(&format!("PATH={path}\0"))
            );
            assert_eq!(take_variable("PATH").unwrap().unwrap().expose(), path.as_bytes());
            assert!(!environ().contains(&path) && environ().contains("PATH=\0\0"));
            assert!(std::env::var_os("PATH").is_none() && take_variable("PATH").unwrap().is_none());
        });
    }

    #[test]
    fn a_hardened_process_leaves_no_core_and_its_children_have_their_limit_back() {
        alone(|| {
            let core = || rustix::process::getrlimit(Resource::Core);
            let before = core();
            rustix::process::setrlimit(Resource::Core, Rlimit { current: before.maximum, ..before }).unwrap();
            let before = core();
            harden().unwrap();
            harden().unwrap();
            assert_eq!((core().current, core().maximum), (Some(0), before.maximum));
            assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
            assert_eq!(core_limit().map(|limit| limit.current), Some(before.current));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // A process that others may read owns its own files in /proc.
            let script = format!("test -O /proc/$$/environ && test \"$(ulimit -Sc)\" = {}", shown(before.current));
            let mut launch = crate::sys::spawn::Launch::new("/bin/sh");
            launch.arguments = vec!["-c".into(), script.into()];
            let status = runtime.block_on(async { launch.spawn().await.unwrap().process.wait().await.unwrap() });
            assert!(status.success());
        });
    }

    fn shown(limit: Option<u64>) -> String {
        limit.map_or_else(|| "unlimited".into(), |bytes| (bytes / 512).to_string())
    }

    #[test]
    fn a_taken_variable_is_wiped_in_place_and_the_others_stay() {
        let entries = ["A=1", "TOKEN=hunter2", "TOKENS=kept", "TOKEN=second", "B=", "TOKEN"];
        let strings: Vec<CString> = entries.iter().map(|entry| CString::new(*entry).unwrap()).collect();
        let raw: Vec<*mut libc::c_char> = strings.into_iter().map(CString::into_raw).collect();
        let mut array: Vec<_> = raw.iter().copied().chain([std::ptr::null_mut()]).collect();

        // SAFETY: the array and its strings belong to this test.
        let taken = unsafe { take_from(array.as_mut_ptr(), "TOKEN") };
        assert_eq!(taken.unwrap().expose(), b"hunter2");
        let left: Vec<_> = array
            .iter()
            .take_while(|entry| !entry.is_null())
            // SAFETY: as above.
            .map(|entry| unsafe { CStr::from_ptr(*entry) }.to_str().unwrap())
            .collect();
        assert_eq!(left, ["A=1", "TOKENS=kept", "B=", "TOKEN"]);
        for (entry, len) in [(raw[1], 13), (raw[3], 12)] {
            // SAFETY: as above; the allocation is as long as the original string.
            let bytes = unsafe { std::slice::from_raw_parts(entry.cast::<u8>(), len) };
            assert!(bytes.starts_with(b"TOKEN=") && bytes[6..].iter().all(|byte| *byte == 0));
        }
        // The strings are leaked on purpose: their length is no longer what `CString::from_raw` would compute.
    }

    #[test]
    fn a_missing_variable_or_environment_is_none() {
        let mut empty = [std::ptr::null_mut()];
        // SAFETY: a null-terminated array of the test's own, and the null the function allows.
        assert!(unsafe {
            take_from(empty.as_mut_ptr(), "X").is_none() && take_from(std::ptr::null_mut(), "X").is_none()
        });
    }

    #[test]
    fn with_threads_the_environment_is_left_alone() {
        let (hold, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv().ok());
        assert!(take_variable("PATH").is_err());
        assert!(std::env::var_os("PATH").is_some());
        drop(hold);
        thread.join().unwrap();
    }

    #[test]
    fn what_exec_cannot_carry_is_not_passable() {
        for (name, value, passable) in [
            ("A", "1", true),
            ("A", "", true),
            ("", "1", false),
            ("A=B", "1", false),
            ("A", "1\0", false),
            ("A\0", "", false),
        ] {
            assert_eq!(is_passable(OsStr::new(name), value.as_bytes()), passable, "{name:?}={value:?}");
        }
    }
}
