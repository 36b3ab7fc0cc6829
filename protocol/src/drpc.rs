//! Calls over the streams of a session.
