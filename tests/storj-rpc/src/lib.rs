//! `frame.rs` and `conn.rs` of the crate storj-rpc 1.1.1, unchanged: dRPC by somebody else, for tests to compare ours with.
//!
//! The crate on crates.io also brings QUIC, Noise and TLS, which add 80 crates and the C library aws-lc to each build of
//! the tests. Neither of the two files uses them. `diff` with the published crate shows whether they are still the same.

// Formatting them would make a diff with the published crate useless.
#[rustfmt::skip]
pub mod conn;
#[rustfmt::skip]
pub mod frame;

pub use conn::{Conn, Error};
pub use frame::{
    Frame, FrameError, Kind, Packet, PacketAssembler, append_frame, append_packet, marshal_error, parse_frame,
};
