//! What is kept of the traffic: activities in the activity log, numbers in the metrics. Decides nothing.

pub mod activity_log;
mod admission;
pub mod guard;
pub mod metrics;
pub mod query;
mod schema;
mod store;
mod writer;
