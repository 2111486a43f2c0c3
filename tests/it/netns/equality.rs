//! What passes is what would have come without the agent: random exchanges, relayed and direct, compared line by line.

use std::time::Duration;

use lab::agent::{Agent, Settings};

use lab::{Lab, OWN_SITE, run};

/// Makes up the exchanges, as origin and as client.
const EXCHANGES: &str = include_str!("../../support/exchanges.py");
/// How many are tried of each protocol; this variable asks for more.
const MANY: &str = "PORTCULLIS_TEST_EXCHANGES";
const FEW: usize = 400;
/// For all of them in one direction, several times what they take; each further thousand gets as much again.
const DEADLINE: Duration = Duration::from_secs(120);

fn exchanges(lab: &Lab, protocol: &str, count: usize) -> Vec<String> {
    let trust = lab.trust();
    let count_text = count.to_string();
    let mut command = lab.client().command("/usr/bin/python3", None).unwrap();
    command.args([
        "-I",
        "-c",
        EXCHANGES,
        "ask",
        OWN_SITE,
        trust.to_str().unwrap(),
        protocol,
        "0",
        &count_text,
    ]);
    let thousands = u32::try_from(count / 1000 + 1).unwrap();
    let finished = run(command, DEADLINE * thousands).unwrap().succeeded().unwrap();
    let mut lines: Vec<String> = finished.text().lines().map(str::to_owned).collect();
    // Streams of one connection may end in another order.
    lines.sort();
    assert_eq!(lines.len(), count, "{protocol}: {:?}", lines.last());
    lines
}

/// A7: methods, heads, codings, framings, trailers, interim responses, ranges, early ends, over both protocols.
#[test]
fn random_exchanges_arrive_as_they_would_have_directly() {
    let count = std::env::var(MANY).map_or(FEW, |text| text.parse().expect("a number of exchanges"));
    let lab = Lab::start().unwrap();
    let program = ["/usr/bin/python3", "-I", "-c", EXCHANGES, "serve", "ADDRESS", "CERTIFICATE", "KEY"];
    let _origin = lab.serve_own_site(&program).unwrap();
    let protocols = ["http/1.1", "h2"];
    let direct = protocols.map(|protocol| exchanges(&lab, protocol, count));
    let agent = Agent::start(&lab, &Settings { compliant: true, ..Settings::default() }).unwrap();
    for (protocol, direct) in protocols.into_iter().zip(direct) {
        let relayed = exchanges(&lab, protocol, count);
        let different: Vec<_> =
            direct.iter().zip(&relayed).filter(|(direct, relayed)| direct != relayed).collect();
        let shown: Vec<_> = different
            .iter()
            .take(5)
            .map(|(direct, relayed)| format!("direct  {direct}\nrelayed {relayed}"))
            .collect();
        assert!(
            different.is_empty(),
            "{protocol}: {} of {count} differ\n{}",
            different.len(),
            shown.join("\n")
        );
    }
    let requests = |protocol| {
        agent.metric("portcullis_requests_total", &[("app", "corp-files"), ("protocol", protocol)])
    };
    println!("{:?} {:?}", requests("http/1.1"), requests("h2"));
}
