//! What is kept of the traffic: activities in the activity log, numbers in the metrics. Decides nothing.

pub mod activity_log;
mod admission;
mod common;
mod contexts;
pub mod guard;
pub mod metrics;
mod parts;
mod pending;
mod policy_sets;
pub mod query;
mod reserve;
mod schema;
mod segments;
mod shapes;
mod store;
pub mod transfer;
pub mod usage;
mod writer;

use std::sync::Arc;

use crate::session::Session;
use activity_log::{ActivityLog, Lost};
use metrics::{AppMetrics, Metrics};
use transfer::Transfer;
use usage::InUse;

pub use common::SharedContext;
pub use pending::Record;

/// The one way an activity is recorded, so that the numbers and the log speak of the same activities.
pub struct Recorder {
    pub log: ActivityLog,
    pub metrics: Arc<Metrics>,
}

impl Recorder {
    pub fn new(log: ActivityLog, metrics: Arc<Metrics>) -> Self {
        metrics.watch_lost(log.lost_count());
        Self { log, metrics }
    }

    /// Counts the activity and hands it to the log. Never waits; a lost record is counted twice over, as an activity
    /// and as lost.
    pub fn activity(&self, app: &AppMetrics, record: Record) -> Result<(), Lost> {
        self.metrics.activity(app, &record);
        self.log.record(record)
    }

    /// The same for a download that is let pass: what is returned waits for the record and tells how it ended.
    pub fn download(&self, app: &AppMetrics, record: Record) -> Transfer<'_> {
        self.metrics.activity(app, &record);
        // What the log cannot take it counts as lost.
        let (_, transfer) = self.log.begin(record);
        transfer
    }

    /// An inspected connection begins; it counts as a use of its app until the value is dropped.
    pub fn in_use(&self, session: &Session) -> InUse<'_> {
        InUse::begin(&self.log, session)
    }
}
