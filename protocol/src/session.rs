//! WebSocket messages as a byte stream, and yamux over it.
