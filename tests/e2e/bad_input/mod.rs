//! What people get wrong: each with words of its own, and 2 for an exit code where no request was made yet. What concerns only `coder secret`
//! is in `cli`, and what one command of `coder-server` finds out by itself is in that package.

mod agent;
mod caps;
mod server;
