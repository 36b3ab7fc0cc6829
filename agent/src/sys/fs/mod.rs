//! Files and directories by descriptor.
