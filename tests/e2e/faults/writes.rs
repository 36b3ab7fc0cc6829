//! Clients that write without pause while something happens to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use reqwest::Method;
use serde_json::json;
use tests::{SHORT, User, wait_until};

/// Sets one secret's value and description to one number after another.
pub struct Writer {
    pub name: String,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

/// What a writer has sent last, and what was acknowledged of it.
#[derive(Debug)]
pub struct Written {
    pub acknowledged: u64,
    pub sent: u64,
}

impl Writer {
    /// Begins after `last`, and writes until the server is gone or [`Writer::finish`] is called.
    pub fn start(alice: &User, name: &str, last: u64) -> Self {
        let counts = Arc::new(Counts { sent: last.into(), acknowledged: last.into() });
        let stop = Arc::new(AtomicBool::new(false));
        let (rest, path) = (alice.rest(), format!("/users/me/secrets/{name}"));
        let (counting, stopping) = (counts.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::SeqCst) {
                let next = counting.sent.fetch_add(1, Ordering::SeqCst) + 1;
                let body = json!({ "value": value(next), "description": next.to_string() }).to_string();
                match rest.try_send(Method::PATCH, &path, Some(body)) {
                    Ok(reply) if reply.status == 200 => counting.acknowledged.store(next, Ordering::SeqCst),
                    // Shut down in the middle of a request, or gone.
                    _ => return,
                }
            }
        });
        Self { name: name.to_owned(), counts, stop, thread }
    }

    /// Waits until `count` more writes are acknowledged.
    #[track_caller]
    pub fn wait(&self, count: u64) {
        let acknowledged = || self.counts.acknowledged.load(Ordering::SeqCst);
        let goal = acknowledged() + count;
        wait_until(&format!("{count} writes to {}", self.name), SHORT, || acknowledged() >= goal);
    }

    /// Waits until each has so many more.
    #[track_caller]
    pub fn wait_for_all(writers: &[Self], count: u64) {
        for writer in writers {
            writer.wait(count);
        }
    }

    /// Ends it.
    pub fn finish(self) -> Written {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        Written {
            acknowledged: self.counts.acknowledged.load(Ordering::SeqCst),
            sent: self.counts.sent.load(Ordering::SeqCst),
        }
    }
}

/// The value that goes with a number.
pub fn value(number: u64) -> String {
    format!("value-{number}")
}
