//! Every call into the kernel. The only modules with `unsafe` in them.
//!
//! - [`memory`]: where values rest, and the allocator that wipes what it frees
//! - [`core_dumps`]: keeps the heap out of core dumps
//! - [`process`]: what this process does to itself before it holds a value
//! - [`reaper`]: process 1 of a container
//! - [`orphans`]: descendants that lost their parents, where we are not process 1
//! - [`users`]: accounts, homes, and dropping root
//! - [`spawn`]: starting a child with an exact environment
//! - [`exec`]: becoming another program
//! - [`terminal_child`]: a child that takes our place on the terminal
//! - [`peer`]: who is at the other end of a socket
//! - [`fs`]: files and directories by descriptor

pub mod core_dumps;
pub mod exec;
pub mod fs;
mod groups;
pub mod memory;
pub mod orphans;
pub mod peer;
pub mod process;
pub mod reaper;
pub mod spawn;
mod syscall;
pub mod terminal_child;
pub mod users;
