//! The executable `coder`.
fn main() {}
