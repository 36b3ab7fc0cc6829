use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Nobody wonders before that.
const AFTER: Duration = Duration::from_secs(1);

/// Tells the person who waits, once and after a second, what for.
pub(super) struct Notice {
    tell: fn(&str),
    begun: Instant,
    told: bool,
}

impl Notice {
    pub(super) fn new(tell: fn(&str)) -> Self {
        Self { tell, begun: Instant::now(), told: false }
    }

    /// How long not to tell yet; `None` where it was told already.
    pub(super) fn left(&self) -> Option<Duration> {
        (!self.told).then(|| AFTER.saturating_sub(self.begun.elapsed()))
    }

    /// Tells `what`, such as `for an agent`, if it is time and it was not told yet.
    pub(super) fn tell_when_due(&mut self, what: impl FnOnce() -> String) {
        if self.left() == Some(Duration::ZERO) {
            self.told = true;
            (self.tell)(&format!("coder: waiting {}; press Ctrl-C to stop", what()));
        }
    }

    /// Returns as soon as there is something to read, or when the reader has to be told: then it is.
    pub(super) fn until_readable(&mut self, stream: &impl AsFd, what: impl FnOnce() -> String) -> io::Result<()> {
        while let Some(left) = self.left() {
            let limit =
                Timespec { tv_sec: 0, tv_nsec: left.as_nanos().min(999_999_999).try_into().unwrap_or_default() };
            match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&limit)) {
                Ok(1..) => return Ok(()),
                Ok(0) if self.left() == Some(Duration::ZERO) => break,
                // A debugger came, or the clock is finer than the one that was asked.
                Ok(0) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.tell_when_due(what);
        Ok(())
    }
}
