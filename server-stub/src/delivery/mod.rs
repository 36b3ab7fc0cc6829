//! What an agent is delivered: its manifest, and the audit record of the delivery.

mod audit;
pub mod manifest;

pub use audit::DeliveryAudit;
