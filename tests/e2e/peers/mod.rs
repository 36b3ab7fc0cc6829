//! Both executables against peers that share no code with them: tokio-tungstenite, tokio-yamux, and frames and fields
//! written by hand from the facts of the wire.

mod agent_side;
pub mod client;
mod replay;
mod scripts;
mod server_side;

pub use tests::control_plane::socket::End;
pub use tests::control_plane::{self, socket, wire};
use wire::Proto;

pub const TOKEN: &str = "9f0e6f2a-5f0c-4a57-9b1f-0d4c9b9f1a11";
pub const SOURCE: [u8; 16] = [0x51; 16];

/// A manifest that an agent can use, without secrets and scripts.
pub fn manifest() -> Proto {
    Proto::default()
        .bytes(1, [1; 16])
        .bytes(4, "~")
        .message(9, &Proto::default().message(1, &Proto::default()))
        .bytes(13, "alice")
        .bytes(14, [2; 16])
        .bytes(15, "main")
        .bytes(16, "dev")
}

pub fn secret(env_name: &str, file_path: &str, value: impl AsRef<[u8]>) -> Proto {
    Proto::default().bytes(1, env_name).bytes(2, file_path).bytes(3, value)
}

pub fn variable(name: &str, value: &str) -> Proto {
    Proto::default().bytes(1, name).bytes(2, value)
}

pub fn on_start(script: &str) -> Proto {
    Proto::default().bytes(1, SOURCE).bytes(3, script).number(5, 1).bytes(9, "Prepare").bytes(10, [0x50; 16])
}
