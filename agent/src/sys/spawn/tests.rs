use std::os::fd::{AsRawFd, IntoRawFd};

use tokio::io::AsyncReadExt;

use super::*;

fn launch(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Launch {
    let mut launch = Launch::new(program);
    launch.arguments = arguments.iter().map(OsString::from).collect();
    launch.environment =
        environment.iter().map(|(name, value)| (name.into(), Secret::from((*value).to_owned()))).collect();
    launch
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What a shell that reads `script` prints, with nothing but `PATH` in its environment.
fn output(script: &str, change: impl FnOnce(&mut Launch)) -> String {
    let mut launch = launch("sh", &["-c", script], &[("PATH", "/usr/bin:/bin")]);
    launch.stdout = Stdio::piped();
    change(&mut launch);
    runtime().block_on(async {
        let mut child = launch.spawn().await.unwrap();
        let mut text = String::new();
        child.process.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
        child.process.wait().await.unwrap();
        text
    })
}

#[test]
fn the_child_has_exactly_the_given_variables() {
    let text = output("", |it| {
        it.program = "env".into();
        it.arguments = vec!["-0".into()];
        it.environment.push(("B".into(), Secret::from("two\nlines".to_owned())));
    });
    let mut lines: Vec<_> = text.split_terminator('\0').collect();
    lines.sort_unstable();
    assert_eq!(lines, ["B=two\nlines", "PATH=/usr/bin:/bin"]);
}

#[test]
fn the_program_is_found_by_the_path_of_the_child() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("only-here");
    std::fs::write(&program, "#!/bin/sh\necho found\n").unwrap();
    rustix::fs::chmod(&program, rustix::fs::Mode::RWXU).unwrap();
    let text = output("", |it| {
        it.program = "only-here".into();
        it.environment = vec![("PATH".into(), Secret::new(directory.path().as_os_str().as_bytes().to_vec()))];
    });
    assert_eq!(text, "found\n");
}

#[test]
fn not_found_is_127_and_not_runnable_is_126() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let code = |program: &str, directory: Option<PathBuf>| {
        let mut launch = launch(program, &[], &[("PATH", "/usr/bin:/bin")]);
        launch.directory = directory;
        runtime().block_on(async { launch.spawn().await.unwrap_err() })
    };
    assert_eq!(code("no-such-program", None).exit_code(), 127);
    assert_eq!(code(plain.to_str().unwrap(), None).exit_code(), 126);
    assert_eq!(code(directory.path().to_str().unwrap(), None).exit_code(), 126);
    let missing = code("true", Some(directory.path().join("gone")));
    assert_eq!((missing.exit_code(), matches!(missing, SpawnError::Directory { .. })), (126, true));
    assert!(matches!(code("true", Some(plain)), SpawnError::Directory { .. }));
}

#[test]
fn the_child_starts_in_its_directory_and_leads_its_group() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    let text = output("pwd -P; ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat; echo $$", |it| {
        it.directory = Some(directory.path().into());
    });
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    assert_eq!(lines[0], real.to_str().unwrap());
    assert_eq!(lines[1], lines[2]);
}

#[test]
fn the_child_has_no_descriptor_but_the_given_ones() {
    // One that is not close-on-exec, as a careless parent or library leaves it.
    let leaked = rustix::fs::memfd_create("leaked", rustix::fs::MemfdFlags::empty()).unwrap().into_raw_fd();
    let given = super::super::memory::sealed_file("given", b"echo from memory").unwrap();
    let number = given.as_raw_fd();
    let text = output(&format!("ls /proc/$$/fd; . /proc/self/fd/{number}"), |it| it.inherit.push(given));
    let lines: Vec<_> = text.lines().collect();
    assert!(!lines.contains(&leaked.to_string().as_str()), "{lines:?}");
    assert!(lines.contains(&number.to_string().as_str()) && lines.contains(&"from memory"), "{lines:?}");
}

#[test]
fn ignored_signals_and_the_mask_are_reset() {
    // SAFETY: SIGUSR2 means nothing to the test harness.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    let blocked = nix::sys::signal::SigSet::from_iter([Signal::SIGTERM, Signal::SIGUSR1]);
    blocked.thread_block().unwrap();
    let text = output("grep -E '^Sig(Ign|Blk)' /proc/self/status", |_| ());
    for line in text.lines() {
        let signals = u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap();
        // 32 and 33 belong to libc, which lets nobody change them.
        assert_eq!(signals & !(0b11 << 31), 0, "{line}");
    }
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn exec_replaces_this_process() {
    process::tests::alone(|| {
        let id = std::process::id();
        let script = format!("test $$ = {id} -a \"$A\" = 1 -a \"$(pwd -P)\" = /");
        let mut launch = launch("sh", &["-c", &script], &[("PATH", "/usr/bin:/bin"), ("A", "1")]);
        launch.directory = Some("/".into());
        panic!("{}", launch.exec());
    });
    process::tests::alone(|| assert_eq!(launch("no-such-program", &[], &[]).exec().exit_code(), 127));
}

#[test]
fn a_foreground_child_owns_the_terminal() {
    process::tests::alone(|| {
        let terminal = nix::pty::openpty(None, None).unwrap();
        nix::unistd::setsid().unwrap();
        rustix::process::ioctl_tiocsctty(&terminal.slave).unwrap();
        let mut launch = launch(
            "sh",
            &["-c", "read _ _ _ _ group _ _ owner _ < /proc/$$/stat; test $group = $$ -a $owner = $$"],
            &[],
        );
        let owner = rustix::termios::tcgetpgrp(&terminal.slave).unwrap();
        assert_eq!(owner, rustix::process::getpid());
        launch.program = "/bin/sh".into();
        launch.stdin = Stdio::from(terminal.slave.try_clone().unwrap());
        launch.foreground = true;
        let status = runtime().block_on(async { launch.spawn().await.unwrap().process.wait().await.unwrap() });
        assert!(status.success(), "{status}");
        // Closing its master would hang up on us.
        std::mem::forget(terminal);
    });
}

#[test]
fn a_signal_reaches_the_whole_group() {
    runtime().block_on(async {
        let mut launch = launch("sh", &["-c", "sleep 1000 & echo $!; wait"], &[("PATH", "/usr/bin:/bin")]);
        launch.stdout = Stdio::piped();
        let mut child = launch.spawn().await.unwrap();
        let mut first = [0; 1];
        child.process.stdout.as_mut().unwrap().read_exact(&mut first).await.unwrap();
        child.signal(Signal::SIGTERM).unwrap();
        // The pipe ends only when the grandchild, which holds it too, is gone.
        child.process.stdout.take().unwrap().read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.process.wait().await.unwrap()), Some(15));
        child.signal(Signal::SIGTERM).unwrap();
    });
}

#[test]
fn a_child_that_nobody_waits_for_any_more_is_killed() {
    let runtime = runtime();
    let given_up = (0..1000).find_map(|_| {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut launch = launch("sleep", &["1000"], &[("PATH", "/usr/bin:/bin")]);
        launch.stdout = writer.into();
        match runtime.block_on(async { tokio::time::timeout(std::time::Duration::ZERO, launch.spawn()).await }) {
            Err(_) => Some(reader),
            // The thread was faster than this one.
            Ok(there) => {
                there.unwrap().signal(Signal::SIGKILL).unwrap();
                None
            }
        }
    });
    let mut reader = given_up.expect("a launch that is not there at once");
    // The pipe ends with the child.
    std::io::Read::read_to_end(&mut reader, &mut Vec::new()).unwrap();
}

#[test]
fn no_copy_of_a_value_stays_behind() {
    // Never whole in this process but where it is being used: each byte is one more than the one looked for.
    let disguised: Vec<u8> = (0..32u8).map(|at| b'A' + (at * 7) % 25).collect();
    {
        let value = Secret::new(disguised.iter().map(|byte| byte + 1).collect());
        let mut launch = launch("true", &[], &[("PATH", "/usr/bin:/bin")]);
        launch.environment.push(("CANARY".into(), value));
        runtime().block_on(async { launch.spawn().await.unwrap().process.wait().await.unwrap() });
    }
    assert_eq!(occurrences(&disguised), 0);
    let planted: Vec<u8> = disguised.iter().map(|byte| byte + 1).collect();
    assert!(occurrences(&disguised) > 0, "the search would not find a copy");
    drop(planted);
}

/// How often the value that `disguised` hides is in the writable memory of this process.
fn occurrences(disguised: &[u8]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = Vec::new();
    maps.lines()
        .filter(|line| line.contains(" rw") && !line.contains("[v"))
        .filter_map(|line| {
            let (start, end) = line.split(' ').next()?.split_once('-')?;
            let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
            buffer.resize(usize::try_from(end - start).ok()?, 0);
            std::os::unix::fs::FileExt::read_exact_at(&memory, &mut buffer, start).ok()?;
            // The buffer may be among what is read: disguise it before it is searched.
            for byte in &mut buffer {
                *byte = byte.wrapping_sub(1);
            }
            Some(buffer.windows(disguised.len()).filter(|window| *window == disguised).count())
        })
        .sum()
}

#[test]
fn limits_are_those_of_the_kernel() {
    let fits = |len: usize| {
        let mut launch = launch("true", &[], &[("PATH", "/usr/bin:/bin")]);
        launch.environment.push(("A".into(), Secret::new(vec![b'x'; len])));
        runtime().block_on(async { launch.spawn().await.map(drop).is_ok() })
    };
    assert!(fits(variable_limit() - "A=".len() - 1));
    assert!(!fits(variable_limit() - "A=".len()));
    assert!(block_limit() >= 128 * 1024);
}
