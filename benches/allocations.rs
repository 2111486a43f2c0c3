//! How often the data path asks for memory: the numbers that no timing shows until it is too late.

use allocation_counter::measure;
use portcullis::catalog::Catalog;
use portcullis::classify::{Exchange, classify};
use portcullis::http::h1::{
    Body, Emit, Framing, Limits, Piece, parse_request_head, parse_response_head, write_response,
};
use portcullis::http::h2::Side;
use portcullis::http::h2::hpack::Encoder;
use portcullis_benches::http::{self, HOST};
use portcullis_benches::http2;
use portcullis_benches::policies::{self, Others};

#[track_caller]
fn check(most: u64, what: impl FnOnce()) {
    let found = measure(what).count_total;
    assert!(found <= most, "{found} allocations, expected at most {most}");
}

#[test]
fn a_chunk_costs_no_allocation() {
    let limits = Limits::default();
    let encoded = http::chunked_body(64 * 1024, 100);
    let mut body = Body::new(Framing::Chunked, &limits);
    let mut rest = &encoded[..];
    check(0, || {
        while let Piece::Data { consumed, .. } = body.next(rest).expect("well-formed") {
            rest = &rest[consumed..];
        }
    });
    assert!(body.is_done());
}

#[test]
fn a_head_costs_its_text_its_lines_and_its_target() {
    let limits = Limits::default();
    let (request, response) = (http::request_bytes(), http::response_bytes());
    check(3, || drop(parse_request_head(&request, &limits)));
    check(2, || drop(parse_response_head(&response, &limits)));
    let head = http::response();
    let mut out = Vec::with_capacity(4096);
    // The digits of Content-Length.
    check(1, || write_response(&head, "GET", Emit::new(Framing::Length(12)), &mut out).expect("written"));
}

#[test]
fn frames_of_http2_cost_none_and_a_head_its_text_its_lines_and_its_names() {
    let (mut relay, frame, grant) = (http2::download(), http2::data(1), http2::grant());
    let mut round = || {
        http2::feed(&mut relay, Side::Origin, &frame);
        http2::feed(&mut relay, Side::Client, &grant);
    };
    round();
    check(0, || (0..100).for_each(|_| round()));

    let mut encoder = Encoder::new(true);
    let lines = http2::request_lines();
    let mut relay = http2::relay();
    let mut request = |stream: u32| http2::headers(stream, true, &http2::block(&lines, &mut encoder));
    // Tables and buffers have grown to their size.
    (0..40).for_each(|n| http2::feed(&mut relay, Side::Client, &request(2 * n + 1)));
    let headers = request(81);
    // Text and lines; method and target; authority.
    check(4, || http2::feed(&mut relay, Side::Client, &headers));
}

/// Of a catalog as it is kept, without what reading it took.
#[test]
fn a_domain_of_the_catalog_costs_a_bounded_memory() {
    const MOST: i64 = 256;
    let kept = |domains: usize| {
        let mut catalog = None;
        let found = measure(|| catalog = Some(policies::catalog_with(domains)));
        assert!(catalog.is_some());
        found.bytes_current
    };
    // The tables double when they grow, so the worst is just behind a doubling.
    for domains in [10_000, 60_000] {
        let each = (kept(domains) - kept(10)) / domains as i64;
        assert!(each <= MOST, "{each} bytes for each of {domains} domains, expected at most {MOST}");
    }
}

#[test]
fn a_decision_and_a_look_up_cost_none() {
    let (session, device) = (policies::session(), policies::device());
    let (request, response) = (http::request(), http::response());
    let class = classify(&Exchange::new(&request, &response, HOST));
    for (count, others) in [(1, Others::SameApp), (10_000, Others::SameApp), (10_000, Others::AllApply)] {
        let set = policies::policy_set(count, others);
        check(0, || drop(set.evaluate(&session, &device, &class, None)));
    }
    // Of sessions for which no report-only policy applies: those that do are listed.
    let set = policies::organisation(10_000);
    let quiet = policies::population(1024)
        .into_iter()
        .filter(|(session, device)| set.evaluate(session, device, &class, None).report_only().is_empty());
    let quiet: Vec<_> = quiet.collect();
    assert!(quiet.len() > 100, "{} sessions", quiet.len());
    check(0, || quiet.iter().for_each(|(session, device)| drop(set.evaluate(session, device, &class, None))));
    let catalog = Catalog::builtin();
    check(0, || assert!(catalog.lookup(HOST).is_some()));
}
