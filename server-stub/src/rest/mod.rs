//! The REST API: one file a resource.

mod error;

pub use error::ApiError;
