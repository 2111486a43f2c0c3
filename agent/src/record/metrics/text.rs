//! The two text forms a scraper may ask for. They differ where it matters: in the older one a counter is declared
//! under the name its samples have, and there is no end mark.

use prometheus_client::encoding::text::encode as encode_open;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, which Prometheus prefers.
    OpenMetrics,
    /// Prometheus text 0.0.4, which everything reads.
    Prometheus,
}

impl Format {
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What the `Accept` field asks for. The older form unless the newer one is named and not refused.
    pub fn accepted(accept: &str) -> Self {
        let wants = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let open =
                parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            open && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "version=0.0.1"))
        });
        if wants { Self::OpenMetrics } else { Self::Prometheus }
    }
}

pub(super) fn encode(registry: &Registry, format: Format) -> String {
    let mut open = String::new();
    // Writing into a String cannot fail; a partial text is still worth a scrape.
    let _ = encode_open(&mut open, registry);
    match format {
        Format::OpenMetrics => open,
        Format::Prometheus => as_prometheus(&open),
    }
}

fn as_prometheus(open: &str) -> String {
    let mut text = String::with_capacity(open.len() + 1024);
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            // The type stands in the line after the help.
            let counter =
                lines.peek().is_some_and(|next| next.starts_with("# TYPE ") && next.ends_with(" counter"));
            push(&mut text, &["# HELP ", name, suffix(counter), " ", help]);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            push(&mut text, &["# TYPE ", name, suffix(kind == "counter"), " ", kind]);
        } else if !line.starts_with("# ") {
            push(&mut text, &[line]);
        }
    }
    text
}

fn suffix(counter: bool) -> &'static str {
    if counter { "_total" } else { "" }
}

fn push(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
    text.push('\n');
}
