//! A TCP proxy that puts faults between a client and the server.
//!
//! It sits in front of the server, so that the server under test is the one that is shipped.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Connections are refused, as by a server that is not running.
    Refuse,
    /// Connections are accepted and reset.
    Reset,
    /// Nothing is answered or passed on any more, and nothing is closed.
    Stall,
    /// Every request is answered with this status and the body of a Coder error.
    Answer(u16),
    /// Every request is answered with bytes that are not HTTP.
    Garbage,
    /// This many bytes of the answer are passed on, then the connection ends.
    CloseAfter(usize),
    /// This many bytes of the answer are passed on, then come others.
    GarbageAfter(usize),
    /// Every piece of the answer is held back for this long.
    Delay(Duration),
}

/// A proxy; dropping it ends its connections.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    // Bound and never listening: it keeps the port ours while connections are refused.
    _reservation: OwnedFd,
}

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    upstream: String,
    fault: Fault,
    rules: Vec<(String, Fault)>,
    requests: Vec<(String, Instant)>,
    connections: Vec<TcpStream>,
    accepted: usize,
    listening: bool,
    closing: bool,
}

impl Proxy {
    /// A proxy before the server at `url`, with no fault yet.
    pub fn new(url: impl AsRef<str>) -> Self {
        let (reservation, address) = reserve();
        let shared = Arc::new(Shared {
            address,
            state: Mutex::new(State {
                upstream: upstream_of(url.as_ref()),
                fault: Fault::None,
                rules: Vec::new(),
                requests: Vec::new(),
                connections: Vec::new(),
                accepted: 0,
                listening: false,
                closing: false,
            }),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept());
        shared.wait(|state| state.listening);
        let scheme = url.as_ref().split("://").next().unwrap_or("http");
        Self { url: format!("{scheme}://{address}"), shared, _reservation: reservation }
    }

    /// Its address, for the client.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends further connections to another server, such as the successor of one that was killed.
    pub fn point_to(&self, url: impl AsRef<str>) {
        self.shared.lock().upstream = upstream_of(url.as_ref());
    }

    /// Sets the fault for what comes from now on; open connections feel it as well.
    pub fn set(&self, fault: Fault) {
        let refuse = fault == Fault::Refuse;
        self.shared.lock().fault = fault;
        self.shared.changed.notify_all();
        if refuse {
            // The thread that accepts must come back from the call to close its listener.
            let _ = TcpStream::connect(self.shared.address);
        }
        self.shared.wait(|state| state.listening != refuse);
    }

    /// Sets the fault for requests whose first line holds `pattern`, such as `GET /api/v2/users`. [`Fault::None`]
    /// takes it back.
    pub fn set_for(&self, pattern: &str, fault: Fault) {
        let mut state = self.shared.lock();
        state.rules.retain(|(known, _)| known != pattern);
        if fault != Fault::None {
            state.rules.push((pattern.to_owned(), fault));
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Ends all open connections.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// The first lines of all requests so far. Not those over TLS.
    pub fn requests(&self) -> Vec<String> {
        self.shared.lock().requests.iter().map(|(line, _)| line.clone()).collect()
    }

    /// When requests came whose first line holds `pattern`.
    pub fn times(&self, pattern: &str) -> Vec<Instant> {
        let state = self.shared.lock();
        state.requests.iter().filter(|(line, _)| line.contains(pattern)).map(|(_, time)| *time).collect()
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.shared.lock().accepted
    }
}

impl AsRef<str> for Proxy {
    fn as_ref(&self) -> &str {
        &self.url
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(self.shared.address);
        self.shared.cut();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wait(&self, condition: impl Fn(&State) -> bool) {
        drop(self.changed.wait_while(self.lock(), |state| !condition(state)).unwrap());
    }

    fn cut(&self) {
        for connection in self.lock().connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: Arc<Self>) {
        loop {
            self.wait(|state| state.closing || state.fault != Fault::Refuse);
            if self.lock().closing {
                return;
            }
            let listener = listen(self.address);
            self.set_listening(true);
            while let Ok((client, _)) = listener.accept() {
                let mut state = self.lock();
                if state.closing || state.fault == Fault::Refuse {
                    break;
                }
                state.accepted += 1;
                state.connections.extend(client.try_clone());
                drop(state);
                let shared = Arc::clone(&self);
                thread::spawn(move || shared.serve(client));
            }
            drop(listener);
            self.set_listening(false);
        }
    }

    fn set_listening(&self, listening: bool) {
        self.lock().listening = listening;
        self.changed.notify_all();
    }

    /// Passes one connection on. Both directions look at the fault of the moment for every piece.
    fn serve(self: Arc<Self>, client: TcpStream) {
        if self.lock().fault == Fault::Reset {
            return self.reset(client);
        }
        let upstream = self.lock().upstream.clone();
        let Ok(server) = TcpStream::connect(upstream) else { return self.reset(client) };
        self.lock().connections.extend(server.try_clone());
        let chosen = Arc::new(Mutex::new(None));
        let (Ok(to_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { return };
        let (answers, for_answers) = (Arc::clone(&self), Arc::clone(&chosen));
        thread::spawn(move || answers.pass_answers(from_server, to_client, &for_answers));
        self.pass_requests(client, server, &chosen);
    }

    fn pass_requests(&self, mut client: TcpStream, mut server: TcpStream, chosen: &Mutex<Option<Fault>>) {
        let mut piece = [0; 16 * 1024];
        while let Ok(length @ 1..) = client.read(&mut piece) {
            let line = request_line(&piece[..length]);
            let fault = {
                let mut state = self.lock();
                let rule =
                    line.as_ref().and_then(|line| state.rules.iter().find(|(pattern, _)| line.contains(pattern)));
                let fault = rule.map(|(_, fault)| fault.clone());
                state.requests.extend(line.clone().map(|line| (line, Instant::now())));
                if line.is_some() {
                    chosen.lock().unwrap().clone_from(&fault);
                }
                fault.unwrap_or_else(|| state.fault.clone())
            };
            match fault {
                Fault::Reset => {
                    let _ = server.shutdown(Shutdown::Both);
                    return self.reset(client);
                }
                Fault::Answer(status) => return answer(client, &error(status)),
                Fault::Garbage => return answer(client, b"\x16\x03\x01 this is no HTTP \xff\xfe\r\n\r\n"),
                Fault::Stall => self.stall(chosen),
                _ => {}
            }
            if server.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Write);
    }

    fn pass_answers(&self, mut server: TcpStream, mut client: TcpStream, chosen: &Mutex<Option<Fault>>) {
        let mut piece = [0; 16 * 1024];
        let mut passed = 0;
        while let Ok(length @ 1..) = server.read(&mut piece) {
            let (mut length, mut last) = (length, false);
            let fault = chosen.lock().unwrap().clone();
            match fault.unwrap_or_else(|| self.lock().fault.clone()) {
                Fault::Stall => self.stall(chosen),
                Fault::Delay(delay) => thread::sleep(delay),
                Fault::CloseAfter(limit) if passed + length >= limit => {
                    length = limit.saturating_sub(passed);
                    last = true;
                }
                Fault::GarbageAfter(limit) if passed + length > limit => {
                    piece[limit.saturating_sub(passed)..length].fill(0xA5);
                }
                _ => {}
            }
            passed += length;
            if client.write_all(&piece[..length]).is_err() || last {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }

    fn reset(&self, client: TcpStream) {
        let _ = sockopt::set_socket_linger(&client, Some(Duration::ZERO));
        // The handle kept for `cut` would hold the connection open.
        let peer = client.peer_addr().ok();
        self.lock().connections.retain(|kept| kept.peer_addr().ok() != peer);
        drop(client);
    }

    fn stall(&self, chosen: &Mutex<Option<Fault>>) {
        let by_rule = chosen.lock().unwrap().is_some();
        self.wait(|state| {
            let fault = if by_rule && !state.rules.is_empty() { &Fault::Stall } else { &state.fault };
            state.closing || *fault != Fault::Stall
        });
    }
}

fn upstream_of(url: &str) -> String {
    url.split("://").last().unwrap_or_default().trim_end_matches('/').to_owned()
}

/// The first line of a request, where a piece begins with one. A client sends the head of a request in one piece.
fn request_line(piece: &[u8]) -> Option<String> {
    let line = piece.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.strip_suffix(" HTTP/1.1").map(str::to_owned)
}

fn error(status: u16) -> Vec<u8> {
    let body = format!("{{\"message\":\"injected {status}\"}}");
    format!(
        "HTTP/1.1 {status} Injected\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn answer(mut client: TcpStream, bytes: &[u8]) {
    let _ = client.write_all(bytes);
    let _ = client.shutdown(Shutdown::Both);
}

fn reserve() -> (OwnedFd, SocketAddr) {
    let socket = reusable_socket();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind a port");
    let address = rustix::net::getsockname(&socket).expect("ask for the port");
    (socket, address.try_into().expect("an address of the internet"))
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = reusable_socket();
    rustix::net::bind(&socket, &address).expect("bind the reserved port");
    rustix::net::listen(&socket, 128).expect("listen");
    TcpListener::from(socket)
}

fn reusable_socket() -> OwnedFd {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.expect("make a socket");
    sockopt::set_socket_reuseport(&socket, true).expect("share the port with the reservation");
    socket
}
