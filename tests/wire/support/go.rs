//! A strict model of hashicorp's yamux as it behaves below Go's dRPC: what would end a Go session, lose a Go call or write
//! an error line into Go's log is recorded as a violation.

mod stream;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use protocol::session::Message;
use tokio::sync::mpsc;

pub use stream::GoStream;

use super::Pipe;
use super::frames::{ACK, DATA, FIN, Frame, GO_AWAY, PING, RST, SYN, WINDOW, take_frame};

const WINDOW_SIZE: u32 = 256 * 1024;
const BACKLOG: usize = 256;
/// Go's `StreamOpenTimeout` is 75 s.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Go {
    shared: Arc<Shared>,
    inbound: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<GoStream>>>,
}

struct Shared {
    state: Mutex<State>,
    out: mpsc::UnboundedSender<Frame>,
}

#[derive(Default)]
struct State {
    streams: HashMap<u32, Entry>,
    next_id: u32,
    violations: Vec<String>,
    /// Frames that came in, in order.
    seen: Vec<Frame>,
    pongs: Vec<u32>,
    /// Streams of the peer are not acknowledged.
    hold_acks: bool,
    early_fin_allowed: bool,
    closed: Option<u16>,
    over: bool,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "hashicorp's states are these")]
struct Entry {
    ours: bool,
    acked: bool,
    local_fin: bool,
    remote_fin: bool,
    reset: bool,
    handle_dropped: bool,
    buffer: VecDeque<u8>,
    receive_window: u32,
    consumed: u32,
    send_window: u32,
    waker: Vec<Waker>,
}

impl Entry {
    fn new(ours: bool) -> Self {
        Self { ours, receive_window: WINDOW_SIZE, send_window: WINDOW_SIZE, ..Self::default() }
    }

    fn wake(&mut self) {
        self.waker.drain(..).for_each(Waker::wake);
    }
}

impl State {
    fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    fn entry(&mut self, id: u32) -> &mut Entry {
        self.streams.get_mut(&id).expect("a handle keeps its entry")
    }

    fn unacknowledged(&self) -> usize {
        self.streams.values().filter(|stream| stream.ours && !stream.acked).count()
    }

    /// Go forgets a stream that both have closed.
    fn forget_if_over(&mut self, id: u32) {
        if self.streams.get(&id).is_some_and(|s| s.handle_dropped && (s.reset || s.local_fin && s.remote_fin)) {
            self.streams.remove(&id);
        }
    }
}

impl Go {
    /// The client is the agent's end.
    pub fn start(end: Pipe, client: bool) -> Self {
        let (out, outgoing) = mpsc::unbounded_channel();
        let (accepted, inbound) = mpsc::unbounded_channel();
        let state = State { next_id: if client { 1 } else { 2 }, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), out });
        tokio::spawn(run(end, shared.clone(), outgoing, accepted));
        Self { shared, inbound: Arc::new(tokio::sync::Mutex::new(inbound)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    pub fn open(&self) -> GoStream {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 2;
        assert!(state.unacknowledged() < BACKLOG, "Go would wait here");
        state.streams.insert(id, Entry::new(true));
        drop(state);
        self.shared.send(Frame::new(WINDOW, SYN, id, 0));
        let shared = self.shared.clone();
        tokio::spawn(async move {
            tokio::time::sleep(OPEN_TIMEOUT).await;
            let mut state = shared.state.lock().unwrap();
            if !state.over && state.streams.get(&id).is_some_and(|s| !s.acked) {
                state.violation(format!("stream {id} was not acknowledged in time"));
            }
        });
        GoStream { id, shared: self.shared.clone() }
    }

    /// Streams of the model that the peer has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.state().unacknowledged()
    }

    pub async fn accept(&self) -> Option<GoStream> {
        self.inbound.lock().await.recv().await
    }

    pub fn ping(&self, id: u32) {
        self.shared.send(Frame::new(PING, SYN, 0, id));
    }

    pub fn pongs(&self) -> Vec<u32> {
        self.state().pongs.clone()
    }

    pub fn hold_acks(&self) {
        self.state().hold_acks = true;
    }

    /// For tests that break the protocol, which a server answers with its FIN.
    pub fn allow_early_fin(&self) {
        self.state().early_fin_allowed = true;
    }

    pub fn seen(&self) -> Vec<Frame> {
        self.state().seen.clone()
    }

    /// Streams that are not over for both sides.
    pub fn open_streams(&self) -> usize {
        self.state().streams.len()
    }

    /// The code of the close frame that came.
    pub fn close_code(&self) -> Option<u16> {
        self.state().closed
    }

    pub fn is_over(&self) -> bool {
        self.state().over
    }

    #[track_caller]
    pub fn assert_content(&self) {
        let state = self.state();
        assert!(state.violations.is_empty(), "Go would complain: {:#?}", state.violations);
        assert!(!state.over, "the session has ended");
    }
}

impl Shared {
    fn send(&self, frame: Frame) {
        // A session that is over takes nothing.
        let _ = self.out.send(frame);
    }
}

async fn run(
    mut end: Pipe,
    shared: Arc<Shared>,
    mut outgoing: mpsc::UnboundedReceiver<Frame>,
    accepted: mpsc::UnboundedSender<GoStream>,
) {
    let mut bytes = Vec::new();
    loop {
        tokio::select! {
            message = end.next() => match message {
                Some(Ok(Message::Binary(part))) => {
                    assert!(part.len() <= 64 * 1024 + 12, "a message of {} bytes", part.len());
                    bytes.extend(part);
                    while let Some(frame) = take_frame(&mut bytes) {
                        on_frame(&shared, &frame, &accepted);
                    }
                }
                Some(Ok(Message::Ping(payload))) => end.send(Message::Pong(payload)).await.unwrap_or(()),
                Some(Ok(Message::Close(code))) => {
                    shared.state.lock().unwrap().closed = Some(code);
                    let _ = end.send(Message::Close(code)).await;
                    break;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
            // Go writes a header and a body as messages of their own.
            Some(frame) = outgoing.recv() => {
                let _ = end.send(Message::Binary(Bytes::from(frame.header()))).await;
                if !frame.body.is_empty() {
                    let _ = end.send(Message::Binary(Bytes::from(frame.body))).await;
                }
            }
        }
    }
    let mut state = shared.state.lock().unwrap();
    state.over = true;
    state.streams.values_mut().for_each(|stream| {
        stream.reset = true;
        stream.wake();
    });
}

fn on_frame(shared: &Arc<Shared>, frame: &Frame, accepted: &mpsc::UnboundedSender<GoStream>) {
    let state = &mut *shared.state.lock().unwrap();
    state.seen.push(frame.clone());
    match frame.kind {
        DATA | WINDOW => on_stream_frame(shared, state, frame, accepted),
        PING if frame.has(SYN) => shared.send(Frame::new(PING, ACK, 0, frame.value)),
        PING => state.pongs.push(frame.value),
        GO_AWAY if frame.value == 0 => {}
        _ => state.violation(format!("{frame:?}")),
    }
}

fn on_stream_frame(shared: &Arc<Shared>, state: &mut State, frame: &Frame, accepted: &mpsc::UnboundedSender<GoStream>) {
    let id = frame.id;
    if frame.has(SYN) {
        if let Err(fault) = state.admit(id) {
            return state.violation(fault);
        }
        if !state.hold_acks {
            shared.send(Frame::new(WINDOW, ACK, id, 0));
        }
        let _ = accepted.send(GoStream { id, shared: shared.clone() });
    }
    let early_fin_allowed = state.early_fin_allowed;
    let Some(stream) = state.streams.get_mut(&id) else {
        return state.violation(format!("a frame for no stream: {frame:?}"));
    };
    let faults = stream.take(frame, early_fin_allowed);
    stream.wake();
    for fault in faults {
        state.violation(format!("stream {id}: {fault}"));
    }
    state.forget_if_over(id);
}

impl State {
    /// A stream that the peer opens.
    fn admit(&mut self, id: u32) -> Result<(), String> {
        if self.streams.contains_key(&id) || id % 2 == self.next_id % 2 {
            return Err(format!("SYN of stream {id}"));
        }
        if self.streams.values().filter(|s| !s.ours && !s.acked).count() >= BACKLOG {
            return Err(format!("stream {id} exceeds the backlog"));
        }
        let mut entry = Entry::new(false);
        entry.acked = !self.hold_acks;
        self.streams.insert(id, entry);
        Ok(())
    }
}

impl Entry {
    /// What is wrong with a frame of this stream, after it was taken.
    fn take(&mut self, frame: &Frame, early_fin_allowed: bool) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if frame.has(ACK) {
            if !self.ours || self.acked {
                faults.push("a second ACK");
            }
            self.acked = true;
        }
        if frame.has(RST) {
            if !self.local_fin {
                faults.push("RST while data may be unread");
            }
            self.reset = true;
        }
        if frame.kind == WINDOW {
            self.send_window += frame.value;
        } else if !frame.body.is_empty() {
            if self.remote_fin {
                faults.push("data after FIN");
            }
            match self.receive_window.checked_sub(frame.value) {
                Some(rest) => self.receive_window = rest,
                None => faults.push("window overrun"),
            }
            self.buffer.extend(&frame.body);
        }
        if frame.has(FIN) {
            if self.remote_fin {
                faults.push("a second FIN");
            }
            if self.ours && !self.local_fin && !early_fin_allowed {
                faults.push("FIN before the client's");
            }
            self.remote_fin = true;
        }
        faults
    }
}
