//! Writing without waiting: what is to be written is queued, and a thread that lives as long as there is something in the
//! queue writes it. A hung network file system or a full pipe costs what does not fit into the queue, and nothing else.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::threads;

/// Where the bytes go. It deals with its errors itself.
pub type Sink = Box<dyn Write + Send>;

/// A queue in front of a file or a pipe. Clones share it.
#[derive(Clone)]
pub struct WriteBehind(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Bytes that may wait.
    room: usize,
    /// The text that stands for so many bytes which found no room.
    gap: fn(u64) -> String,
    /// Some of the queue was written; for tasks and for threads.
    progress: Notify,
    written: Condvar,
}

#[derive(Default)]
struct Queue {
    /// `None` while a thread writes.
    sink: Option<Sink>,
    waiting: VecDeque<Vec<u8>>,
    /// Of those that wait and those that are being written.
    bytes: usize,
    lost: u64,
    /// Somebody waited for room in vain. Nobody else does until all is written.
    stalled: bool,
}

impl std::fmt::Debug for WriteBehind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBehind").finish_non_exhaustive()
    }
}

impl WriteBehind {
    /// Keeps at most `room` bytes for `sink`, which is told by `gap` of those that did not fit.
    #[must_use]
    pub fn new(sink: Sink, room: usize, gap: fn(u64) -> String) -> Self {
        let queue = Queue { sink: Some(sink), ..Queue::default() };
        Self(Arc::new(Shared { queue: Mutex::new(queue), room, gap, progress: Notify::new(), written: Condvar::new() }))
    }

    /// Has `bytes` written, in the order of the calls. Where there is no room they are lost, which the next thing that
    /// is written tells.
    pub fn push(&self, bytes: Vec<u8>) {
        let mut queue = self.0.lock();
        if queue.bytes > 0 && queue.bytes + bytes.len() > self.0.room {
            queue.lost += bytes.len() as u64;
            return;
        }
        queue.bytes += bytes.len();
        queue.waiting.push_back(bytes);
        if let Some(sink) = queue.sink.take() {
            drop(queue);
            let shared = Arc::clone(&self.0);
            threads::start(move || shared.write(sink));
        }
    }

    /// As [`push`](Self::push), but waits for room for up to `patience`, unless somebody has just waited in vain.
    pub async fn push_patiently(&self, bytes: Vec<u8>, patience: Duration) {
        let room = async {
            self.until(|queue| queue.stalled || queue.bytes == 0 || queue.bytes + bytes.len() <= self.0.room).await;
        };
        if timeout(patience, room).await.is_err() {
            self.0.lock().stalled = true;
        }
        self.push(bytes);
    }

    /// Waits until all is written. The caller bounds the wait.
    pub async fn settled(&self) {
        self.until(|queue| queue.sink.is_some()).await;
    }

    /// As [`settled`](Self::settled), on a thread that may block, and for at most `limit`.
    pub fn settle_within(&self, limit: Duration) {
        let busy = |queue: &mut Queue| queue.sink.is_none();
        // Whether it was in time makes no difference to whoever is about to end.
        drop(self.0.written.wait_timeout_while(self.0.lock(), limit, busy));
    }

    async fn until(&self, reached: impl Fn(&Queue) -> bool) {
        loop {
            let progress = self.0.progress.notified();
            tokio::pin!(progress);
            // Registered before the look, or what happens in between would be missed.
            progress.as_mut().enable();
            if reached(&self.0.lock()) {
                return;
            }
            progress.await;
        }
    }
}

impl Shared {
    /// Until nothing waits any more.
    fn write(&self, mut sink: Sink) {
        loop {
            let mut queue = self.lock();
            let (waiting, lost) = (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.lost));
            if waiting.is_empty() && lost == 0 {
                queue.sink = Some(sink);
                queue.stalled = false;
                drop(queue);
                self.tell();
                return;
            }
            drop(queue);
            for bytes in waiting {
                // The sink has dealt with it.
                let _ = sink.write_all(&bytes);
                self.lock().bytes -= bytes.len();
                self.tell();
            }
            if lost > 0 {
                let _ = sink.write_all((self.gap)(lost).as_bytes());
            }
        }
    }

    fn tell(&self) {
        self.progress.notify_waiters();
        self.written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    fn gap(lost: u64) -> String {
        format!("({lost} lost)")
    }

    #[tokio::test]
    async fn all_is_written_in_order() {
        let (mut reader, writer) = pipe().unwrap();
        let behind = WriteBehind::new(Box::new(writer), 1024, gap);
        for number in 0..100 {
            behind.push_patiently(format!("{number}\n").into_bytes(), Duration::from_secs(20)).await;
        }
        behind.settled().await;
        drop(behind);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let lines: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(lines, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_full_pipe_holds_up_nobody_and_the_gap_is_told() {
        let (mut reader, writer) = pipe().unwrap();
        let behind = WriteBehind::new(Box::new(writer), 64 * 1024, gap);
        // What the kernel keeps for a pipe, what waits, and more.
        for _ in 0..10 {
            behind.push_patiently(vec![b'x'; 32 * 1024], PATIENCE).await;
        }
        behind.settle_within(PATIENCE);
        let read = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        });
        behind.settled().await;
        drop(behind);
        let text = read.join().unwrap();
        let (before, told) = text.split_once('(').expect("a gap is told");
        let lost: usize = told.strip_suffix(" lost)").unwrap().parse().unwrap();
        assert_eq!((before.len() + lost, lost > 0), (10 * 32 * 1024, true));
    }
}
