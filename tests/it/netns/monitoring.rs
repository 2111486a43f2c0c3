//! A38 and what is shipped for monitoring: the numbers equal the log, a real Prometheus reads them, promtool accepts the alerts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lab::agent::{Agent, METRICS_PORT, Settings};
use lab::attachment::{CSV, DATA, DOCX, PAGE, PDF, ZIP};
use lab::client::{Curl, page};
use lab::prometheus::Prometheus;
use lab::{Lab, NOBODY, wait};
use serde_json::Value;

use super::{MONITORED, check_blocked, url};

/// Some of everything that is recorded.
fn mixed_load(lab: &Lab) {
    for resource in [DOCX, ZIP, CSV] {
        check_blocked(&Curl::get(url(MONITORED, resource)).send(lab).unwrap(), resource);
        Curl::get(url(MONITORED, resource)).user(NOBODY).send(lab).unwrap();
    }
    for resource in [PAGE, DATA] {
        Curl::get(url(MONITORED, resource)).send(lab).unwrap();
    }
    for _ in 0..3 {
        Curl::get(url("notes.memo.test", PDF)).send(lab).unwrap();
    }
    // Refused and recorded: another host than the connection is for.
    let other = ["-H", "Host: elsewhere.corp.test"];
    Curl::get(url(MONITORED, PAGE)).arguments(&other).send(lab).unwrap();
}

/// Every series of a metric that has counted something, by its labels.
fn series(page: &str, name: &str) -> BTreeMap<String, u64> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "));
    let series = lines.map(|(labels, value)| (labels.to_owned(), value.parse::<f64>().unwrap() as u64));
    series.filter(|(_, value)| *value > 0).collect()
}

#[test]
fn the_metrics_equal_the_log_after_a_mixed_load() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    mixed_load(&lab);
    let text = |record: &Value, pointer: &str| {
        record.pointer(pointer).and_then(Value::as_str).unwrap_or("none").to_owned()
    };
    let from_log = || {
        let (mut activities, mut decisions) = (BTreeMap::new(), BTreeMap::new());
        for record in agent.activities(&[]).unwrap() {
            let action = text(&record, "/decision/action");
            let (app, kind) = (text(&record, "/app/id"), text(&record, "/type"));
            *activities.entry(format!("app=\"{app}\",type=\"{kind}\",action=\"{action}\"")).or_insert(0) += 1;
            let policy = text(&record, "/decision/policy");
            *decisions.entry(format!("policy=\"{policy}\",action=\"{action}\"")).or_insert(0) += 1;
        }
        (activities, decisions)
    };
    let from_metrics = || {
        let page = agent.metrics().unwrap();
        (series(&page, "portcullis_activities_total"), series(&page, "portcullis_decisions_total"))
    };
    wait::until("log and metrics to be equal", wait::PATIENCE, || {
        Ok((from_log() == from_metrics()).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\nlog {:#?}\nmetrics {:#?}", from_log(), from_metrics()));
    let total: u64 = from_log().0.values().sum();
    assert!(total >= 10, "{total}");
}

#[test]
fn a_real_prometheus_reads_the_metrics_and_the_alerts_are_valid() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    mixed_load(&lab);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    let rules = shipped.join("prometheus/portcullis.rules.yml");
    let checked = Prometheus::check_rules(&lab, &rules).unwrap();
    assert!(checked.contains("SUCCESS"), "{checked}");

    let prometheus = Prometheus::start(&lab, METRICS_PORT, &rules).unwrap();
    let blocks = "sum(portcullis_activities_total{app=\"corp-files\",type=\"download\",action=\"block\"})";
    wait::until("Prometheus to have read the blocks", wait::PATIENCE, || {
        Ok(prometheus.query(&lab, blocks)?.filter(|value| *value == 3.0))
    })
    .unwrap();
    assert_eq!(prometheus.query(&lab, "up{job=\"portcullis\"}").unwrap(), Some(1.0));
    // Every expression of the dashboard is one that Prometheus can evaluate.
    let dashboard = fs::read_to_string(shipped.join("grafana/portcullis.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut expressions = 0;
    for target in
        dashboard["panels"].as_array().unwrap().iter().flat_map(|p| p["targets"].as_array().unwrap())
    {
        let expression =
            target["expr"].as_str().unwrap().replace("$instance", ".*").replace("$__range", "1h");
        prometheus.query(&lab, &expression).unwrap_or_else(|error| panic!("{expression}: {error:#}"));
        expressions += 1;
    }
    assert!(expressions > 10);

    // OpenMetrics for whom asks for it, which Prometheus does; text for the rest.
    assert!(agent.metrics().unwrap().starts_with("# HELP portcullis_"));
    let ready = page(&lab, METRICS_PORT, "/readyz").unwrap();
    let ready: Value = serde_json::from_str(&ready.text()).unwrap();
    assert_eq!(ready["ready"], true);
}
