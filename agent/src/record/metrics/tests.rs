//! Names, labels and values as a scraper sees them.

use std::collections::BTreeSet;

use super::*;
use crate::activity::tests::sample;
use crate::http::head::Version;

fn loaded() -> Metrics {
    let metrics = Metrics::new("1.2.3");
    metrics.load([&Arc::from("corp-files"), &Arc::from("slack")], [&Arc::from("no downloads")]);
    metrics
}

fn exercise(metrics: &Metrics) {
    let app = metrics.app("corp-files");
    app.connection(Path::Inspected);
    app.request(Version::Http11);
    app.request(Version::Http2);
    app.bytes(Direction::ToClient, 1234);
    metrics.activity(&app, &sample().into());
    metrics.tls_handshake(Side::Client, "ok");
    metrics.certificate_minted();
    metrics.upstream_failure("connect");
    metrics.existing_connection(&Arc::from("slack"), "closed");
    metrics.refused("no_sni");
    metrics.policies_reloaded(true);
    metrics.set_device_compliant(true);
    metrics.set_memory(5 << 30, u64::MAX, 1);
    assert!(metrics.set_kernel_event("steered", 17));
    metrics.watch_lost(Arc::new(AtomicU64::new(3)));
    metrics.kernel_tls(Side::Origin, true);
    metrics.watch_kernel_tls_ended(Arc::new(AtomicU64::new(2)));
}

#[track_caller]
fn check(metrics: &Metrics, line: &str) {
    let text = metrics.encode(Format::Prometheus);
    assert!(text.lines().any(|l| l == line), "{line:?} is not in\n{text}");
}

#[test]
fn every_metric_of_the_contract_is_exposed_under_its_name() {
    let metrics = loaded();
    exercise(&metrics);
    for line in [
        "portcullis_connections_total{app=\"corp-files\",path=\"inspected\"} 1",
        "portcullis_active_connections 0",
        "portcullis_requests_total{app=\"corp-files\",protocol=\"http/1.1\"} 1",
        "portcullis_requests_total{app=\"corp-files\",protocol=\"h2\"} 1",
        "portcullis_activities_total{app=\"corp-files\",type=\"download\",action=\"block\"} 1",
        "portcullis_decisions_total{policy=\"no downloads\",action=\"block\"} 1",
        "portcullis_decision_seconds_count 1",
        "portcullis_decision_seconds_sum 0.000042",
        "portcullis_decision_seconds_bucket{le=\"0.000025\"} 0",
        "portcullis_decision_seconds_bucket{le=\"0.00005\"} 1",
        "portcullis_decision_seconds_bucket{le=\"+Inf\"} 1",
        "portcullis_bytes_total{app=\"corp-files\",direction=\"to_client\"} 1234",
        "portcullis_tls_handshakes_total{side=\"client\",result=\"ok\"} 1",
        "portcullis_certificates_minted_total 1",
        "portcullis_kernel_tls_connections_total{side=\"origin\",sealed_by=\"kernel\"} 1",
        "portcullis_kernel_tls_connections_total{side=\"client\",sealed_by=\"agent\"} 0",
        "portcullis_kernel_tls_ended_total 2",
        "portcullis_upstream_failures_total{reason=\"connect\"} 1",
        "portcullis_refusals_total{failure=\"no_sni\"} 1",
        "portcullis_kernel_events_total{event=\"steered\"} 17",
        "portcullis_activity_log_lost_total 3",
        "portcullis_existing_connections_total{app=\"slack\",result=\"closed\"} 1",
        "portcullis_policy_reloads_total{result=\"ok\"} 1",
        "portcullis_policy_reloads_total{result=\"failed\"} 0",
        "portcullis_device_compliant 1",
        "portcullis_memory_bytes 5368709120",
        "portcullis_memory_limit_bytes 9223372036854775807",
        "portcullis_memory_level 1",
        "portcullis_build_info{version=\"1.2.3\"} 1",
        "# TYPE portcullis_connections_total counter",
        "# TYPE portcullis_decision_seconds histogram",
        "# TYPE portcullis_active_connections gauge",
    ] {
        check(&metrics, line);
    }
}

#[test]
fn every_family_is_there_before_anything_is_counted() {
    let metrics = loaded();
    metrics.appear([&Arc::from("corp-files")]);
    metrics.appear_failing((&["closed"], &["expired"]), ["connect"], ["steered"]);
    for line in [
        "portcullis_connections_total{app=\"corp-files\",path=\"refused\"} 0",
        "portcullis_requests_total{app=\"corp-files\",protocol=\"h2\"} 0",
        "portcullis_activities_total{app=\"corp-files\",type=\"download\",action=\"block\"} 0",
        "portcullis_decisions_total{policy=\"no downloads\",action=\"monitor\"} 0",
        "portcullis_bytes_total{app=\"corp-files\",direction=\"to_client\"} 0",
        "portcullis_tls_handshakes_total{side=\"client\",result=\"ok\"} 0",
        "portcullis_tls_handshakes_total{side=\"origin\",result=\"expired\"} 0",
        "portcullis_upstream_failures_total{reason=\"connect\"} 0",
        "portcullis_refusals_total{failure=\"record_not_stored\"} 0",
        "portcullis_kernel_events_total{event=\"steered\"} 0",
        "portcullis_existing_connections_total{app=\"corp-files\",result=\"closed\"} 0",
    ] {
        check(&metrics, line);
    }
    let text = metrics.encode(Format::Prometheus);
    assert!(!text.contains("slack"), "nothing selects it: {text}");
    let bare = Metrics::new("1").encode(Format::Prometheus);
    for family in ["connections", "requests", "activities", "decisions", "bytes", "refusals"] {
        assert!(bare.contains(&format!("# TYPE portcullis_{family}_total counter")), "{family}: {bare}");
    }
}

/// What is shipped beside the agent to look at its metrics.
#[test]
fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let metrics = loaded();
    exercise(&metrics);
    let page = metrics.encode(Format::Prometheus);
    let shown: BTreeSet<&str> = page.lines().filter_map(|l| l.split(['{', ' ']).next()).collect();
    for text in [
        include_str!("../../../../packaging/prometheus/portcullis.rules.yml"),
        include_str!("../../../../packaging/grafana/portcullis.json"),
    ] {
        let names: BTreeSet<&str> = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("portcullis_"))
            .collect();
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            assert!(shown.contains(name), "{name} is not exposed");
        }
    }
    serde_json::from_str::<serde_json::Value>(include_str!("../../../../packaging/grafana/portcullis.json"))
        .unwrap();
}

#[test]
fn each_sample_belongs_to_a_declared_family_in_either_form() {
    let metrics = loaded();
    exercise(&metrics);
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = metrics.encode(format);
        let declared: BTreeSet<&str> =
            text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(declared.len(), 24, "{declared:?}");
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            let family = match format {
                Format::OpenMetrics => family.strip_suffix("_total").unwrap_or(family),
                Format::Prometheus => family,
            };
            assert!(declared.contains(family), "{format:?}: {line}");
        }
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
    }
}

#[test]
fn names_that_no_snapshot_holds_share_one_series() {
    let metrics = loaded();
    metrics.app("made-up").request(Version::Http10);
    metrics.no_app().connection(Path::Spliced);
    let mut activity = sample();
    activity.decision.policy = Some("gone".into());
    metrics.activity(&metrics.app("slack"), &Record::from(&activity));
    activity.decision.policy = None;
    metrics.activity(&metrics.app("slack"), &Record::from(&activity));
    check(&metrics, "portcullis_requests_total{app=\"other\",protocol=\"http/1.0\"} 1");
    check(&metrics, "portcullis_connections_total{app=\"none\",path=\"spliced\"} 1");
    check(&metrics, "portcullis_decisions_total{policy=\"other\",action=\"block\"} 1");
    check(&metrics, "portcullis_decisions_total{policy=\"none\",action=\"block\"} 1");
    check(&metrics, "portcullis_activities_total{app=\"slack\",type=\"download\",action=\"block\"} 2");
}

#[test]
fn counters_go_on_over_reloads_and_the_number_of_series_is_bounded() {
    let metrics = loaded();
    let held = metrics.app("slack");
    held.request(Version::Http2);
    metrics.load([&Arc::from("teams")], []);
    held.request(Version::Http2);
    metrics.load([&Arc::from("slack")], []);
    metrics.app("slack").request(Version::Http2);
    check(&metrics, "portcullis_requests_total{app=\"slack\",protocol=\"h2\"} 3");
    let names: Vec<Arc<str>> = (0..2 * MAX_NAMES).map(|n| format!("app-{n}").into()).collect();
    metrics.load(&names, []);
    for name in &names {
        metrics.app(name).request(Version::Http2);
    }
    let text = metrics.encode(Format::Prometheus);
    let series = text.lines().filter(|l| l.starts_with("portcullis_requests_total{")).count();
    assert!(series <= MAX_NAMES + 2, "{series}");
    assert!(
        (0..2 * MAX_KERNEL_EVENTS).filter(|n| metrics.set_kernel_event(&n.to_string(), 1)).count()
            == MAX_KERNEL_EVENTS
    );
}

#[test]
fn names_from_the_configuration_cannot_forge_series() {
    let metrics = Metrics::new("1");
    let name: Arc<str> = Arc::from("a\"} 1\nportcullis_device_compliant 1 \\");
    metrics.load([&name], []);
    metrics.app(&name).request(Version::Http2);
    check(
        &metrics,
        "portcullis_requests_total{app=\"a\\\"} 1\\nportcullis_device_compliant 1 \\\\\",protocol=\"h2\"} 1",
    );
    check(&metrics, "portcullis_device_compliant 0");
}

#[test]
fn a_decision_on_a_bound_falls_below_it_and_a_slow_one_into_the_last() {
    let metrics = loaded();
    for micros in [0, 1, 2, 1_000_000, 5_000_000] {
        metrics.decision_seconds.observe_micros(micros);
    }
    check(&metrics, "portcullis_decision_seconds_bucket{le=\"0.000001\"} 2");
    check(&metrics, "portcullis_decision_seconds_bucket{le=\"0.0000025\"} 3");
    check(&metrics, "portcullis_decision_seconds_bucket{le=\"1.0\"} 4");
    check(&metrics, "portcullis_decision_seconds_bucket{le=\"+Inf\"} 5");
    check(&metrics, "portcullis_decision_seconds_count 5");
}

#[test]
fn the_form_is_the_one_asked_for() {
    let prometheus_2_42 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Format::accepted(prometheus_2_42), Format::OpenMetrics);
    assert_eq!(Format::accepted("text/plain;version=0.0.4"), Format::Prometheus);
    assert_eq!(Format::accepted("application/openmetrics-text; q=0"), Format::Prometheus);
    assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    assert_eq!(Format::accepted(""), Format::Prometheus);
}
