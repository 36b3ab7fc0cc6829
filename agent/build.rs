//! Links the compiler's unwinder into the executables. Shared, as the standard library wants it, it would be the one library
//! besides libc that each start has to load: a tenth of the time that `coder exec` takes.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Others have an unwinder of their own.
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        // It comes before libgcc_s, of which nothing is needed then, and the linker leaves out what is not needed.
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
