//! The executable `coder-server`.
fn main() {}
