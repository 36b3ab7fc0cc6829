//! Every call into the kernel. The only modules with `unsafe` in them.
//!
//! - [`memory`]: where values rest, and the allocator that wipes what it frees
//! - [`core_dumps`]: keeps the heap out of core dumps
//! - [`threads`]: work that may block, off the one thread that the agent runs on
//! - [`write_behind`]: writing without waiting for a disk or a pipe
//! - [`private_dir`]: directories that only this user can write to
//! - [`signal_state`]: the signal mask and the actions that a process inherits
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
pub mod private_dir;
pub mod process;
pub mod reaper;
pub mod signal_state;
pub mod spawn;
mod syscall;
pub mod terminal_child;
pub mod threads;
pub mod users;
pub mod write_behind;
