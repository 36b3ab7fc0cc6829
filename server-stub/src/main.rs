//! The executable `coder-server`.
#![forbid(unsafe_code)]

use mimalloc::MiMalloc;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// What libraries buffered of a value is wiped when they free it.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    server_stub::run(std::env::args_os())
}
