//! A name server that knows one name.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const HEADER: usize = 12;
const ADDRESS: [u8; 2] = [0, 1];

pub(super) struct NameServer {
    /// On port 53: `resolv.conf` has no word for another.
    pub(super) address: Ipv4Addr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// One that answers 127.0.0.1 for `name`.
    pub(super) fn knowing(name: &'static str) -> Self {
        let (address, socket) = free_address();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut query = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                if let Some(answer) = answer(&query[..length], name) {
                    socket.send_to(&answer, client).unwrap();
                }
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

/// An address of loopback on which nobody answers: tests side by side, of this process and of others, do not meet.
fn free_address() -> (Ipv4Addr, UdpSocket) {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let first = u32::from_be_bytes([127, 64 | (high & 63), middle, low]);
    let addresses = (0..100).map(|number| Ipv4Addr::from(first + number));
    let mut free = addresses.filter_map(|address| Some((address, UdpSocket::bind((address, 53)).ok()?)));
    free.next().expect("root may bind port 53 of an address of loopback")
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(query: &[u8], known: &str) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).into_owned());
        at += length;
    }
    let is_known = labels.join(".").eq_ignore_ascii_case(known);
    let has_address = is_known && query.get(at..at + 2)? == ADDRESS;
    let failure = if is_known { 0 } else { 3 };
    let mut answer = vec![query[0], query[1], 0x85, 0x80 | failure, 0, 1, 0, has_address.into(), 0, 0, 0, 0];
    answer.extend(query.get(HEADER..at + 4)?);
    if has_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
