//! The wire: dRPC and sessions against captured bytes, independent peers and a strict model of hashicorp's yamux.
#![expect(unreachable_pub, reason = "nothing depends on a test")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod codec;
mod ends;
mod golden;
mod limits;
mod peers;
mod support;
mod traps;
