//! The login shells of people: each is another reader, with names and startup files of its own.

mod ends;
mod keys;
mod machine;
mod names;
mod path;
mod same;
mod startup_files;
mod terminal;
