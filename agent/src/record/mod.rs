//! What is kept of the traffic: activities in the activity log, numbers in the metrics. Decides nothing.

pub mod activity_log;
mod admission;
pub mod guard;
pub mod metrics;
mod policy_sets;
pub mod query;
mod schema;
mod store;
mod writer;

use std::sync::Arc;

use crate::activity::Activity;
use activity_log::{ActivityLog, Lost};
use metrics::{AppMetrics, Metrics};

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
    pub fn activity(&self, app: &AppMetrics, activity: Activity) -> Result<(), Lost> {
        self.metrics.activity(app, &activity);
        self.log.record(activity)
    }
}
