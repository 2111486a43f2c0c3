//! Files behind content codings that say nothing for a while, from a real origin to a real client, over both versions of HTTP.

use lab::agent::{Agent, Settings};
use lab::client::Curl;
use lab::{Lab, OWN_SITE};
use serde_json::{Value, json};

/// Longer than any look.
const LONG: usize = 150_000;
const FILE: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0 a file that nobody may have";

fn row(coding: &str, body: &[u8]) -> Value {
    let headers = [["content-type", "application/json"], ["content-encoding", coding]];
    let hex: String = body.iter().map(|octet| format!("{octet:02x}")).collect();
    json!({ "status": 200, "headers": headers, "hex": hex })
}

/// Data that takes one long block of zstd, of which the first 8 KiB say nothing.
fn long_block() -> Vec<u8> {
    let mut state = 1u32;
    let noise = (0..50_000).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state % 1000).to_string()
    });
    let text = format!("[{}]", noise.collect::<Vec<_>>().join(","));
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

fn skipped(len: u32) -> Vec<u8> {
    [b"\x50\x2a\x4d\x18".as_slice(), &len.to_le_bytes(), &vec![b'x'; len as usize]].concat()
}

fn gzip_with_name(len: usize) -> Vec<u8> {
    let stored = u16::try_from(FILE.len()).unwrap();
    let block = [b"\x01".as_slice(), &stored.to_le_bytes(), &(!stored).to_le_bytes(), FILE].concat();
    [b"\x1f\x8b\x08\x08\0\0\0\0\0\xff".as_slice(), &vec![b'n'; len], b"\0", &block].concat()
}

#[test]
fn what_codings_hide_is_blocked_and_what_only_takes_long_to_show_passes() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &Settings::default()).unwrap();
    let file = zstd::encode_all(FILE, 3).unwrap();
    let (near, far) = (skipped(60_000), skipped(60_000).repeat(3));
    let brotli = [b"\x6b\0".as_slice(), &vec![6; LONG]].concat();
    let passing = long_block();
    assert!(passing.len() > 30_000, "{}", passing.len());
    let rows = json!({
        "/zstd/hidden": row("zstd", &[&far[..], &file].concat()),
        "/zstd/seen": row("zstd", &[&near[..], &file].concat()),
        "/br/hidden": row("br", &brotli),
        "/gzip/hidden": row("gzip", &gzip_with_name(LONG)),
        "/gzip/seen": row("gzip", &gzip_with_name(20_000)),
        "/zstd/data": row("zstd", &passing),
    });
    let _origin = lab.serve_table(&rows, "h2,http/1.1").unwrap();
    for http2 in [false, true] {
        for path in rows.as_object().unwrap().keys() {
            let request = Curl::get(format!("https://{OWN_SITE}{path}"));
            let request = if http2 { request.http2() } else { request };
            let reply = request.send(&lab).unwrap();
            let (expected, is_data) = if path == "/zstd/data" { (200, true) } else { (403, false) };
            assert_eq!(reply.status, expected, "{path} {http2}");
            assert!(!is_data || reply.body == passing, "{path} {http2}");
        }
    }
    let blocked = agent.activities(&[]).unwrap();
    assert!(blocked.iter().all(|record| record["decision"]["action"] == "block"), "{blocked:#?}");
}
