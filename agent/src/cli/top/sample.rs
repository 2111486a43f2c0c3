//! One page of the agent's metrics as numbers, and what changed between two. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// Counts by action: allowed, monitored, blocked.
type ByAction = [u64; 3];

/// What one page of metrics says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) active_connections: u64,
    pub(super) lost: u64,
    apps: BTreeMap<String, ByAction>,
    /// Cumulative counts of the verdicts' histogram by upper bound in seconds.
    verdicts: Vec<(f64, u64)>,
}

/// What happened between two samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Change {
    pub(super) activities: ByAction,
    pub(super) per_minute: [f64; 3],
    /// Busiest first.
    pub(super) apps: Vec<AppChange>,
    verdicts: Vec<(f64, u64)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct AppChange {
    pub(super) id: String,
    pub(super) per_minute: [f64; 3],
    pub(super) total: ByAction,
}

impl Sample {
    /// Reads the text format of Prometheus, as the agent writes it.
    pub(super) fn read(text: &str) -> Self {
        let mut sample = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let count = value as u64;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            match name {
                "portcullis_active_connections" => sample.active_connections = count,
                "portcullis_activity_log_lost_total" => sample.lost = count,
                "portcullis_activities_total" => {
                    let Some(action) = label(labels, "action").and_then(position) else { continue };
                    let app = sample.apps.entry(label(labels, "app").unwrap_or_default().to_owned());
                    if let Some(sum) = app.or_default().get_mut(action) {
                        *sum += count;
                    }
                }
                "portcullis_decision_seconds_bucket" => {
                    let bound = label(labels, "le").and_then(|le| match le {
                        "+Inf" => Some(f64::INFINITY),
                        le => le.parse().ok(),
                    });
                    sample.verdicts.extend(bound.map(|bound| (bound, count)));
                }
                _ => {}
            }
        }
        sample
    }

    /// A counter that went back belongs to another process: it counts from zero.
    pub(super) fn since(&self, before: &Self, time: Duration) -> Change {
        let minutes = time.as_secs_f64().max(0.001) / 60.0;
        let mut change = Change::default();
        for (id, total) in &self.apps {
            let earlier = before.apps.get(id).copied().unwrap_or_default();
            let mut grown = ByAction::default();
            for ((grown, now), before) in grown.iter_mut().zip(total).zip(earlier) {
                *grown = now.checked_sub(before).unwrap_or(*now);
            }
            for (sum, grown) in change.activities.iter_mut().zip(grown) {
                *sum += grown;
            }
            let per_minute = grown.map(|count| count as f64 / minutes);
            change.apps.push(AppChange { id: id.clone(), per_minute, total: *total });
        }
        change.per_minute = change.activities.map(|count| count as f64 / minutes);
        let busy = |app: &AppChange| app.per_minute.iter().sum::<f64>();
        change.apps.sort_by(|a, b| busy(b).total_cmp(&busy(a)).then_with(|| a.id.cmp(&b.id)));
        change.verdicts = self
            .verdicts
            .iter()
            .enumerate()
            .map(|(at, (bound, count))| {
                let earlier = before.verdicts.get(at).map_or(0, |(_, count)| *count);
                (*bound, count.checked_sub(earlier).unwrap_or(*count))
            })
            .collect();
        change
    }
}

impl Change {
    /// The bound within which this share of the verdicts was reached, in seconds; `None` when there were none.
    pub(super) fn verdict(&self, share: f64) -> Option<f64> {
        let all = self.verdicts.last().map(|(_, count)| *count).filter(|count| *count > 0)?;
        let wanted = (all as f64 * share).ceil() as u64;
        self.verdicts.iter().find(|(_, count)| *count >= wanted).map(|(bound, _)| *bound)
    }
}

fn position(action: &str) -> Option<usize> {
    ["allow", "monitor", "block"].iter().position(|name| *name == action)
}

/// The value of a label. Values with escapes are rare enough to be shown as they are written.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = labels;
    loop {
        let (key, after) = rest.split_once("=\"")?;
        let mut escaped = false;
        let end = after.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        let (value, after) = after.split_at_checked(end)?;
        if key.trim_start_matches(',') == name {
            return Some(value);
        }
        rest = after.get(1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE portcullis_activities_total counter\n\
        portcullis_activities_total{app=\"a\\\"}b\",type=\"download\",action=\"block\"} 3\n\
        portcullis_activities_total{app=\"slack\",type=\"download\",action=\"block\"} 2\n\
        portcullis_activities_total{app=\"slack\",type=\"view\",action=\"allow\"} 10\n\
        portcullis_activities_total{app=\"slack\",type=\"upload\",action=\"allow\"} 5\n\
        portcullis_active_connections 7\nportcullis_activity_log_lost_total 1\n\
        portcullis_decision_seconds_bucket{le=\"0.00001\"} 50\n\
        portcullis_decision_seconds_bucket{le=\"0.0001\"} 99\n\
        portcullis_decision_seconds_bucket{le=\"+Inf\"} 100\nnonsense\n";

    #[test]
    fn rates_are_of_what_was_added() {
        let now = Sample::read(PAGE);
        assert_eq!((now.active_connections, now.lost), (7, 1));
        let before = Sample::read(&PAGE.replace(" 10\n", " 4\n").replace("} 2\n", "} 1\n"));
        let change = now.since(&before, Duration::from_secs(30));
        assert_eq!(change.activities, [6, 0, 1]);
        assert_eq!(change.per_minute, [12.0, 0.0, 2.0]);
        assert_eq!((&*change.apps[0].id, change.apps[0].total), ("slack", [15, 0, 2]));
        assert_eq!(&*change.apps[1].id, "a\\\"}b");
        assert_eq!(change.verdict(0.5), None, "no verdict in between");
        let all = now.since(&Sample::default(), Duration::from_secs(60));
        assert_eq!(
            (all.verdict(0.5), all.verdict(0.99), all.verdict(1.0)),
            (Some(1e-5), Some(1e-4), Some(f64::INFINITY))
        );
        let restarted = Sample::read(&PAGE.replace(" 10\n", " 2\n")).since(&now, Duration::from_secs(60));
        assert_eq!(restarted.activities[0], 7, "a process that counts anew");
    }
}
