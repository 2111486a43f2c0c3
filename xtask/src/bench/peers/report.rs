//! What was measured, as a table, as JSON and as a plot.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::command::say;

/// The system that others are compared to.
const REFERENCE: &str = "relay";

#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) system: String,
    pub(super) work: &'static str,
    pub(super) protocol: &'static str,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) p50_us: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, work, protocol, value, unit, .. } = self;
        write!(f, "{system:<16} {work} {protocol}: {value:.3} {unit}")
    }
}

/// One line of the table.
#[derive(Debug, PartialEq)]
struct Row {
    system: String,
    rounds: usize,
    least: f64,
    median: f64,
    most: f64,
    p50_us: f64,
    /// Median over the rounds of the value to that of [`REFERENCE`] in the same round.
    ratio: Option<f64>,
}

type Tables = BTreeMap<(&'static str, &'static str, &'static str), Vec<Row>>;

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().saturating_sub(1) / 2), sorted.get(sorted.len() / 2));
    (low.copied().unwrap_or(f64::NAN) + high.copied().unwrap_or(f64::NAN)) / 2.0
}

fn tables(samples: &[Sample]) -> Tables {
    let mut by_work: BTreeMap<_, BTreeMap<&str, Vec<&Sample>>> = BTreeMap::new();
    for sample in samples {
        let key = (sample.work, sample.protocol, sample.unit);
        by_work.entry(key).or_default().entry(&sample.system).or_default().push(sample);
    }
    let mut tables = Tables::new();
    for (key, systems) in by_work {
        let values = |samples: &[&Sample]| samples.iter().map(|sample| sample.value).collect::<Vec<f64>>();
        let reference = systems.get(REFERENCE).map(|samples| values(samples));
        // What grew by nothing is no measure.
        let reference = reference.filter(|values| values.iter().all(|value| *value > 0.0));
        let mut rows: Vec<Row> = systems
            .iter()
            .map(|(system, samples)| {
                let all = values(samples);
                let ratios = reference.as_ref().map(|reference| {
                    all.iter()
                        .zip(reference)
                        .map(|(value, reference)| value / reference)
                        .collect::<Vec<f64>>()
                });
                Row {
                    system: (*system).to_owned(),
                    rounds: all.len(),
                    least: all.iter().copied().fold(f64::INFINITY, f64::min),
                    median: median(&all),
                    most: all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    p50_us: median(&samples.iter().map(|sample| sample.p50_us).collect::<Vec<f64>>()),
                    ratio: ratios.map(|ratios| median(&ratios)),
                }
            })
            .collect();
        rows.sort_by(|a, b| a.median.total_cmp(&b.median));
        tables.insert(key, rows);
    }
    tables
}

pub(super) fn write(samples: &[Sample], directory: &Path) -> Result<()> {
    let tables = tables(samples);
    let text = markdown(&tables);
    say(format_args!("\n{text}"));
    fs::create_dir_all(directory)?;
    let rows: Vec<_> = samples
        .iter()
        .map(|s| {
            json!({"system": s.system, "work": s.work, "protocol": s.protocol, "value": s.value, "unit": s.unit, "p50_us": s.p50_us})
        })
        .collect();
    for (name, content) in [
        ("peers.md", text),
        ("peers.json", serde_json::to_string_pretty(&rows)?),
        ("peers.svg", plot(&tables)),
    ] {
        fs::write(directory.join(name), content)?;
        say(format_args!("wrote {}", directory.join(name).display()));
    }
    Ok(())
}

fn markdown(tables: &Tables) -> String {
    let mut out = String::new();
    for ((work, protocol, unit), rows) in tables {
        let _ = writeln!(
            out,
            "\n{work}, {protocol}\n\n| system | rounds | {unit} | to {REFERENCE} | p50 us |\n| --- | --- | --- | --- | --- |"
        );
        for row in rows {
            let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let _ = writeln!(
                out,
                "| {} | {} | {:.3} [{:.3}-{:.3}] | {ratio} | {:.0} |",
                row.system, row.rounds, row.median, row.least, row.most, row.p50_us
            );
        }
    }
    out
}

/// Bars of the medians, a block for each work, with the spread as a line.
fn plot(tables: &Tables) -> String {
    const LINE: f64 = 22.0;
    const LEFT: f64 = 150.0;
    const WIDTH: f64 = 460.0;
    let mut body = String::new();
    let mut y = 10.0;
    for ((work, protocol, unit), rows) in tables {
        y += LINE;
        let _ =
            writeln!(body, "<text x=\"10\" y=\"{y}\" font-weight=\"bold\">{work}, {protocol}: {unit}</text>");
        let most = rows.iter().map(|row| row.most).fold(f64::MIN_POSITIVE, f64::max);
        for row in rows {
            y += LINE;
            let at = |value: f64| LEFT + value.max(0.0) / most * WIDTH;
            let colour = if row.system.starts_with("agent") { "#1f6feb" } else { "#9aa4af" };
            let (top, middle) = (y - 13.0, y - 5.0);
            let _ = writeln!(
                body,
                "<text x=\"10\" y=\"{y}\">{}</text><rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\
                 <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"black\"/>\
                 <text x=\"{:.1}\" y=\"{y}\">{:.3}</text>",
                row.system,
                at(row.median) - LEFT,
                at(row.least),
                at(row.most),
                at(row.most) + 6.0,
                row.median
            );
        }
        y += LINE / 2.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"{}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
        y + LINE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round() {
        let sample = |system: &str, value| Sample {
            system: system.to_owned(),
            work: "bulk",
            protocol: "h1",
            value,
            unit: "CPU-s/GiB",
            p50_us: 1.0,
        };
        // The machine is twice as slow in the second round: each round says a half all the same.
        let samples =
            [sample("relay", 1.0), sample("agent", 0.5), sample("relay", 2.0), sample("agent", 1.0)];
        let tables = tables(&samples);
        let rows = tables.values().next().unwrap();
        assert_eq!((rows[0].system.as_str(), rows[0].ratio, rows[0].median), ("agent", Some(0.5), 0.75));
        assert_eq!((rows[1].least, rows[1].most, rows[1].rounds), (1.0, 2.0, 2));
        assert!(markdown(&tables).contains("| agent | 2 | 0.750 [0.500-1.000] | 0.50 | 1 |"));
        assert!(plot(&tables).ends_with("</svg>\n"));
    }
}
