//! One connection in the numbers: made at accept, and however the connection ends, counted exactly once on drop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::metrics::{AppMetrics, Direction, Metrics, Path};

/// Bytes that a connection collects before it adds them to the shared counter, which all cores write.
const BYTES_STEP: u64 = 256 << 10;

pub struct ConnectionGuard {
    metrics: Arc<Metrics>,
    app: Arc<AppMetrics>,
    path: Path,
    to_origin: AtomicU64,
    to_client: AtomicU64,
}

impl ConnectionGuard {
    /// Counts the connection as open. Until it is known better it belongs to no app and counts as refused: nothing
    /// of it has gone anywhere.
    pub fn begin(metrics: &Arc<Metrics>) -> Self {
        metrics.connection_opened();
        Self {
            app: metrics.no_app(),
            metrics: Arc::clone(metrics),
            path: Path::Refused,
            to_origin: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
        }
    }

    /// The app became known. Bytes counted so far are the app's.
    pub fn set_app(&mut self, id: &str) {
        self.app = self.metrics.app(id);
    }

    pub fn set_path(&mut self, path: Path) {
        self.path = path;
    }

    /// Handles for what else is counted per app.
    pub fn app(&self) -> &AppMetrics {
        &self.app
    }

    /// Counts relayed bytes; both directions may do so at once.
    pub fn relayed(&self, direction: Direction, bytes: u64) {
        let pending = self.pending(direction);
        if pending.fetch_add(bytes, Ordering::Relaxed) + bytes >= BYTES_STEP {
            self.app.bytes(direction, pending.swap(0, Ordering::Relaxed));
        }
    }

    fn pending(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToOrigin => &self.to_origin,
            Direction::ToClient => &self.to_client,
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        for direction in [Direction::ToOrigin, Direction::ToClient] {
            let left = self.pending(direction).swap(0, Ordering::Relaxed);
            if left > 0 {
                self.app.bytes(direction, left);
            }
        }
        self.app.connection(self.path);
        self.metrics.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::metrics::Format;

    fn metrics() -> Arc<Metrics> {
        let metrics = Metrics::new("1");
        metrics.load([&Arc::from("slack")], []);
        Arc::new(metrics)
    }

    #[track_caller]
    fn check(metrics: &Metrics, line: &str, expected: bool) {
        let text = metrics.encode(Format::Prometheus);
        assert_eq!(text.lines().any(|l| l == line), expected, "{line}\n{text}");
    }

    #[test]
    fn a_connection_counts_once_under_what_was_known_at_its_end() {
        let metrics = metrics();
        let mut guard = ConnectionGuard::begin(&metrics);
        check(&metrics, "portcullis_active_connections 1", true);
        guard.relayed(Direction::ToOrigin, 10);
        guard.set_app("slack");
        guard.set_path(Path::Spliced);
        guard.set_path(Path::Inspected);
        guard.relayed(Direction::ToClient, BYTES_STEP + 1);
        check(
            &metrics,
            &format!("portcullis_bytes_total{{app=\"slack\",direction=\"to_client\"}} {}", BYTES_STEP + 1),
            true,
        );
        guard.relayed(Direction::ToClient, 5);
        drop(guard);
        check(&metrics, "portcullis_active_connections 0", true);
        check(&metrics, "portcullis_connections_total{app=\"slack\",path=\"inspected\"} 1", true);
        check(&metrics, "portcullis_connections_total{app=\"slack\",path=\"spliced\"} 1", false);
        check(&metrics, "portcullis_bytes_total{app=\"slack\",direction=\"to_origin\"} 10", true);
        check(
            &metrics,
            &format!("portcullis_bytes_total{{app=\"slack\",direction=\"to_client\"}} {}", BYTES_STEP + 6),
            true,
        );
    }

    #[test]
    fn a_connection_that_panics_or_gets_nowhere_still_counts() {
        let metrics = metrics();
        drop(ConnectionGuard::begin(&metrics));
        let inner = Arc::clone(&metrics);
        let _ = std::thread::spawn(move || {
            let _guard = ConnectionGuard::begin(&inner);
            panic!("the connection's task fails");
        })
        .join();
        check(&metrics, "portcullis_connections_total{app=\"none\",path=\"refused\"} 2", true);
        check(&metrics, "portcullis_active_connections 0", true);
    }
}
