//! A line in the log of the system: the agent, whose log it would be in, is what may be missing.

use std::os::unix::net::UnixDatagram;

use crate::cli::ui;

const SOCKET: &str = "/dev/log";
/// Facility `authpriv` (10), severity `warning` (4).
const PRIORITY: u8 = 10 * 8 + 4;

/// Writes it, where there is such a log and it takes the line at once.
pub(super) fn write(text: &str) {
    let line = format!("<{PRIORITY}>coder-session[{}]: {}", std::process::id(), ui::one_line(text));
    let Ok(socket) = UnixDatagram::unbound() else { return };
    // A log that is stuck must not hold up the login.
    if socket.set_nonblocking(true).is_ok() {
        let _ = socket.send_to(line.as_bytes(), SOCKET);
    }
}
