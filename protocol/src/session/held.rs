//! How much of what the peer has sent waits to be read.
//!
//! yamux lets a peer fill a window of 256 KiB on each stream, and the protocol has no smaller one: six hundred streams would be 160 MiB.
//! So we follow the frames on their way in, and stop taking bytes from the connection while too many wait. A peer that is only quick
//! waits; one that fills streams and never lets them be read is silent then, and its session ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// yamux: version, type, flags, stream id, length.
const HEADER: usize = 12;
const DATA: u8 = 0;
const SYN: u16 = 1;

/// What the streams that the peer has opened hold, all together.
#[derive(Debug)]
pub(super) struct Held {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: HashMap<u32, usize>,
    total: usize,
    /// The part of a header that has arrived.
    header: [u8; HEADER],
    arrived: usize,
    /// The stream whose data arrive, and how much of them is still to come.
    data: (u32, usize),
    blocked: Option<Waker>,
}

impl Held {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default() })
    }

    /// Whether to take no more for now; `waker` is woken when there is room.
    pub(super) fn is_full(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        let full = state.total >= self.most;
        state.blocked = full.then(|| waker.clone());
        full
    }

    /// These bytes of the connection are on their way to the streams.
    pub(super) fn received(&self, mut bytes: &[u8]) {
        let mut state = self.state();
        while !bytes.is_empty() {
            let (id, expected) = state.data;
            if expected > 0 {
                let n = expected.min(bytes.len());
                state.data.1 -= n;
                state.add(id, n);
                bytes = &bytes[n..];
            } else {
                let n = (HEADER - state.arrived).min(bytes.len());
                let at = state.arrived;
                state.header[at..at + n].copy_from_slice(&bytes[..n]);
                state.arrived += n;
                bytes = &bytes[n..];
                if state.arrived == HEADER {
                    state.begin_frame();
                }
            }
        }
    }

    fn read(&self, id: u32, n: usize) {
        let mut state = self.state();
        if let Some(held) = state.streams.get_mut(&id) {
            let n = n.min(*held);
            *held -= n;
            self.free(&mut state, n);
        }
    }

    fn gone(&self, id: u32) {
        let mut state = self.state();
        if let Some(held) = state.streams.remove(&id) {
            self.free(&mut state, held);
        }
    }

    fn free(&self, state: &mut State, n: usize) {
        state.total -= n;
        if state.total < self.most
            && let Some(waker) = state.blocked.take()
        {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin_frame(&mut self) {
        let [_, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3] = self.header;
        self.arrived = 0;
        let id = u32::from_be_bytes([i0, i1, i2, i3]);
        if u16::from_be_bytes([f0, f1]) & SYN != 0 {
            self.streams.entry(id).or_default();
        }
        if kind == DATA {
            self.data = (id, usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX));
        }
    }

    /// Streams that we have opened are few, and those that are gone hold nothing.
    fn add(&mut self, id: u32, n: usize) {
        if let Some(held) = self.streams.get_mut(&id) {
            *held += n;
            self.total += n;
        }
    }
}

/// The part of one stream; dropped together with what yamux keeps of it.
#[derive(Debug)]
pub(super) struct Part {
    held: Arc<Held>,
    id: u32,
}

impl Part {
    pub(super) fn new(held: Arc<Held>, id: u32) -> Self {
        Self { held, id }
    }

    pub(super) fn read(&self, n: usize) {
        self.held.read(self.id, n);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.held.gone(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, id: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, kind, 0, flags, 0, 0, 0, id, 0, 0, 0, length];
        if kind == DATA {
            bytes.resize(HEADER + usize::from(length), 7);
        }
        bytes
    }

    #[test]
    fn frames_are_followed_however_they_are_cut() {
        let bytes = [
            frame(1, 1, 1, 0),
            frame(DATA, 0, 1, 5),
            frame(2, 0, 0, 9),
            frame(DATA, 1, 3, 4),
            frame(DATA, 0, 5, 6),
            frame(DATA, 4, 1, 0),
        ]
        .concat();
        for cut in 1..bytes.len() {
            let held = Held::new(9);
            assert!(!held.is_full(Waker::noop()));
            bytes.chunks(cut).for_each(|part| held.received(part));
            // The fifth stream was never opened.
            assert!(held.is_full(Waker::noop()) && held.state().total == 9, "{cut}");
            let first = Part::new(Arc::clone(&held), 1);
            first.read(1);
            assert!(!held.is_full(Waker::noop()));
            drop(first);
            assert_eq!(held.state().total, 4);
        }
    }
}
